#include "node_admin.h"

#include <algorithm>

#include "esc/raft/core.h"
#include "every_core.h"

namespace esc::broker {
namespace {

constexpr Nanos kCheckInterval = 50 * kMillisecond;
constexpr Nanos kHeardOf = kSecond;  // a voter that counts as alive; its link is up, too
constexpr std::size_t kHostBytesMax = 255;

std::string name_of(NodeId node) {
  return "node " + std::to_string(node.value());
}

bool numeric(const std::string& host) {
  return host.find(':') != std::string::npos || host.find_first_not_of("0123456789.") == std::string::npos;
}

bool usable(const std::string& host, std::uint16_t port) {
  return !host.empty() && host.size() <= kHostBytesMax && port != 0 && host != "0.0.0.0" && host != "::";
}

// Whether a group of this core may still count the node as a member.
bool counts(Broker& broker, NodeId node) {
  for (std::uint32_t id = 0; id < broker.options().groups; ++id) {
    const replica::Group* group = broker.group(GroupId(id));
    if (group != nullptr && group->may_count(node)) return true;
  }
  return false;
}

}  // namespace

NodeAdmin::NodeAdmin(Broker& broker) : broker_(broker) {}

NodeAdmin::~NodeAdmin() {
  while (!orders_.empty()) orders_.pop_front();
}

replica::NodeList NodeAdmin::current(const replica::Catalog& master, const BrokerOptions& options) {
  if (!master.nodes().nodes.empty()) return master.nodes();
  return {.nodes = options.nodes, .removed = {}};
}

std::uint32_t NodeAdmin::do_work(Nanos now, const replica::Catalog& master, Index known) {
  const replica::Group& group = *broker_.group(GroupId(0));
  if (!group.leading() || group.term() != term_) {
    // What was proposed and is not committed may be lost with the leadership.
    pending_ = Index(0);
    nobody_counts_ = NodeId(0);
    term_ = group.leading() ? group.term() : Term(0);
    if (!orders_.empty() && orders_.front().index > master.applied()) {
      orders_.front().index = Index(0);
      orders_.front().code = wire::ErrorCode::not_controller;
      orders_.front().message = "group 0 has another leader: look whether the change was made";
    }
  }
  const std::uint32_t work = answer(master, known);
  if (group.leading() && pending_ <= master.applied()) finish_removal(now, master);
  return work;
}

std::uint32_t NodeAdmin::answer(const replica::Catalog& master, Index known) {
  std::uint32_t work = 0;
  while (!orders_.empty()) {
    NodeOrder& order = orders_.front();
    if (order.index == Index(0) && order.code == wire::ErrorCode::none) {
      if (pending_ > master.applied() || !carry_out(order, master)) return work;
    }
    if (order.index > known && broker_.options().plant != Plant::nodes_changed_early) return work;
    orders_.pop_front();
    broker_.router().reply(order);
    ++work;
  }
  return work;
}

bool NodeAdmin::carry_out(NodeOrder& order, const replica::Catalog& master) {
  if (!broker_.group(GroupId(0))->leading()) {
    order.code = wire::ErrorCode::not_controller;
    order.message = "another node leads group 0: see controller_id in the metadata";
    return true;
  }
  if (broker_.options().nodes.size() < 2) {
    order.code = wire::ErrorCode::invalid_request;
    order.message = "this node runs without others: write [cluster] with cluster.id = \"" +
                    broker_.options().cluster_id +
                    "\" and all nodes, the new ones with cluster.join = true and groups = " +
                    std::to_string(broker_.options().groups) +
                    ", and restart it; they are taken in then (docs/PLAYBOOK.md, \"Grow a single node\")";
    return true;
  }
  replica::NodeList nodes = current(master, broker_.options());
  if (order.remove) {
    order_remove(order, nodes);
  } else {
    order_add(order, nodes);
  }
  // What is as it was asked for is committed once more: only a leader that was not deposed meanwhile may say
  // so.
  return order.code != wire::ErrorCode::none || propose(nodes, order.index);
}

std::string NodeAdmin::refuse_add(const replica::NodeList& nodes, const replica::NodeRecord& added) {
  if (nodes.find(added.node) != nullptr)
    return name_of(added.node) +
           " is there already, with other addresses: remove it first, or give another id";
  if (nodes.nodes.size() >= raft::kVotersMax)
    return "there are " + std::to_string(nodes.nodes.size()) + " nodes, which is the most a cluster can have";
  if (!usable(added.host, added.port) || !usable(added.peer_host, added.peer_port))
    return "an address that others can connect to is needed, host and port, for clients and for nodes";
  if (!numeric(added.peer_host)) return "the peer address must be numeric: nodes do not ask a name server";
  const auto same = [](const std::string& a, std::uint16_t p, const std::string& b, std::uint16_t q) {
    return a == b && p == q;
  };
  if (same(added.host, added.port, added.peer_host, added.peer_port))
    return "the addresses for clients and for nodes are the same: give each a port of its own";
  for (const replica::NodeRecord& other : nodes.nodes) {
    for (const auto& [host, port] :
         {std::pair(other.host, other.port), std::pair(other.peer_host, other.peer_port)}) {
      if (same(added.host, added.port, host, port) || same(added.peer_host, added.peer_port, host, port))
        return host + ":" + std::to_string(port) + " is an address of " + name_of(other.node);
    }
  }
  return {};
}

void NodeAdmin::order_add(NodeOrder& order, replica::NodeList& nodes) {
  const auto known = std::ranges::find(nodes.nodes, order.record.node, &replica::NodeRecord::node);
  if (known != nodes.nodes.end() && *known == order.record) return;  // asked again
  replica::NodeRecord staying = order.record;
  staying.leaving = true;
  if (known != nodes.nodes.end() && *known == staying) {  // it was to be removed, and stays
    known->leaving = false;
    return;
  }
  if (std::string problem = refuse_add(nodes, order.record); !problem.empty()) {
    order.code = wire::ErrorCode::invalid_request;
    order.message = std::move(problem);
    return;
  }
  nodes.nodes.push_back(order.record);
  std::ranges::sort(nodes.nodes, {}, &replica::NodeRecord::node);
  std::erase(nodes.removed, order.record.node);
}

std::string NodeAdmin::refuse_remove(const replica::NodeList& nodes, NodeId node) const {
  for (const replica::NodeRecord& other : nodes.nodes) {
    if (other.leaving) return name_of(other.node) + " is being removed: wait until it is gone";
  }
  if (nodes.nodes.size() == 1) return "it is the only node";
  // As its leader sees group 0, and all groups have the same members.
  const replica::Group& group = *broker_.group(GroupId(0));
  const raft::Core& core = group.core();
  const Nanos now = broker_.env().clock.now();
  std::size_t remaining = 0;
  std::size_t alive = 0;
  for (const NodeId voter : core.configuration().voters) {
    if (voter == node) continue;
    ++remaining;
    const auto peer = std::ranges::find(core.peers(), voter, &raft::Progress::node);
    const bool heard =
        voter == broker_.options().node || (group.linked(voter) && peer != core.peers().end() &&
                                            peer->last_contact > 0 && now - peer->last_contact < kHeardOf);
    alive += heard ? 1 : 0;
  }
  if (remaining == 0) return "it is the only node that votes";
  if (alive >= remaining / 2 + 1) return {};
  return "without it " + std::to_string(alive) + " of the " + std::to_string(remaining) +
         " nodes that vote would be up, which is no majority: start the others, or add one, first";
}

void NodeAdmin::order_remove(NodeOrder& order, replica::NodeList& nodes) {
  const auto found = std::ranges::find(nodes.nodes, order.record.node, &replica::NodeRecord::node);
  if (found == nodes.nodes.end()) {
    order.code = wire::ErrorCode::resource_not_found;
    order.message = "no such node";
    return;
  }
  if (found->leaving) return;  // asked again
  if (std::string problem = refuse_remove(nodes, order.record.node); !problem.empty()) {
    order.code = wire::ErrorCode::policy_violation;
    order.message = std::move(problem);
    return;
  }
  found->leaving = true;
}

bool NodeAdmin::propose(const replica::NodeList& nodes, Index& index) {
  std::vector<std::byte> command;
  replica::Catalog::encode_set_nodes(nodes, command);
  const auto proposed =
      broker_.group(GroupId(0))->append_command(logfmt::EntryKind::metadata, PartitionId(0), command);
  if (!proposed) return false;  // no room now; not the leader any more: the next turn sees it
  index = pending_ = *proposed;
  return true;
}

// --- the second half of a removal -----------------------------------------------------------------------

void NodeAdmin::finish_removal(Nanos now, const replica::Catalog& master) {
  const auto& nodes = master.nodes().nodes;
  const auto leaving = std::ranges::find_if(nodes, &replica::NodeRecord::leaving);
  if (leaving == nodes.end() || checking_) return;
  if (nobody_counts_ == leaving->node) {
    replica::NodeList rest = master.nodes();
    std::erase_if(rest.nodes, &replica::NodeRecord::leaving);
    rest.removed.push_back(leaving->node);
    std::ranges::sort(rest.removed);
    Index index;
    if (propose(rest, index)) nobody_counts_ = NodeId(0);
  } else if (now >= next_check_) {
    next_check_ = now + kCheckInterval;
    check_leaving(leaving->node);
  }
}

// Every node has a copy of every group: those here tell whether the change is committed there.
void NodeAdmin::check_leaving(NodeId node) {
  checking_ = true;
  ask_every_core(
      broker_, [node](Broker& target) { return counts(target, node); },
      [this, node](Broker&, const auto& cores) {
        checking_ = false;
        const bool somewhere = std::ranges::any_of(cores, [](const auto& core) { return core.answer; });
        nobody_counts_ = somewhere ? NodeId(0) : node;
      });
}

}  // namespace esc::broker
