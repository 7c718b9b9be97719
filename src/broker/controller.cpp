#include "controller.h"

#include <algorithm>

#include "esc/base/byte_codec.h"
#include "esc/broker/lifecycle.h"
#include "every_core.h"
#include "topic_orders.h"

namespace esc::broker {
namespace {

constexpr std::size_t kWishesMax = 256;
constexpr Nanos kWishValid = 500 * kMillisecond;
constexpr Nanos kWatchInterval = 10 * kMillisecond;

}  // namespace

// One change on its way to every core.
struct Controller::BroadcastCall : Call {
  Broadcast* broadcast = nullptr;
  std::uint64_t version = 0;  // of the receiving core's directory, with the change
};

struct Controller::Broadcast {
  Change change;
  std::uint32_t outstanding = 0;
  std::vector<BroadcastCall> calls;
};

Controller::Controller(Broker& broker)
    : broker_(broker),
      reconciler_(broker),
      watch_(broker.options().node),
      node_admin_(broker),
      relay_(relay_hooks(), static_cast<std::uint64_t>(broker.env().clock.wall_ms()) << 16) {}

Controller::~Controller() {
  while (!queue_.empty()) queue_.pop_front();
}

void submit_admin_call(Broker& broker, std::unique_ptr<AdminCall> call) {
  AdminCall& sent = *call.release();
  // It may take long, and has copies of what was asked; Metadata reads its request again.
  if (sent.request != nullptr && !sent.automatic) broker.release_frame(*sent.request);
  sent.target = broker.core_of(GroupId(0));
  sent.run = [](Call& base, Broker& target) { target.controller().enqueue(static_cast<AdminCall&>(base)); };
  sent.done = [](Call& base, Broker& origin) {
    std::unique_ptr<AdminCall> owned(&static_cast<AdminCall&>(base));
    owned->finish(origin, *owned);
  };
  broker.router().send(sent);
}

// --- the core of group 0 ------------------------------------------------------------------------------

void Controller::on_metadata(Index index, ByteView command) {
  (void)master_.apply(index, command);
  // Broadcast from do_work: we are inside the group's commit here.
  if (live_) changes_.push_back({index, std::vector<std::byte>(command.begin(), command.end()), false});
}

Status Controller::load(ByteView state) {
  Status status = master_.load(state);
  // At runtime it comes with a snapshot from the leader.
  if (status && live_) {
    changes_.push_back({master_.applied(), std::vector<std::byte>(state.begin(), state.end()), true});
  }
  return status;
}

void Controller::start() {
  ESC_ASSERT(!live_);
  live_ = true;
  started_at_ = broker_.env().clock.now();
  compare_nodes();
  Change all{master_.applied(), {}, true};
  master_.save(all.bytes);
  broadcast(std::move(all));
}

void Controller::broadcast(Change change) {
  broadcasts_.push_back(std::make_unique<Broadcast>());
  Broadcast& sent = *broadcasts_.back();
  sent.change = std::move(change);
  sent.outstanding = broker_.router().cores();
  sent.calls = std::vector<BroadcastCall>(sent.outstanding);
  for (std::uint32_t core = 0; core < broker_.router().cores(); ++core) {
    BroadcastCall& call = sent.calls[core];
    call.broadcast = &sent;
    call.target = CoreId(core);
    call.run = [](Call& base, Broker& target) {
      target.controller().receive(static_cast<BroadcastCall&>(base));
    };
    call.done = [](Call& base, Broker& origin) {
      origin.controller().broadcast_done(static_cast<BroadcastCall&>(base));
    };
    broker_.router().send(call);
  }
}

void Controller::broadcast_done(BroadcastCall& call) {
  Broadcast& sent = *call.broadcast;
  if (--sent.outstanding > 0) return;
  if (sent.change.whole) ready_ = true;
  finished_ = std::max(finished_, sent.change.index);
  std::erase_if(broadcasts_, [&](const auto& each) { return each.get() == &sent; });
}

std::uint32_t Controller::do_work(Nanos now) {
  std::uint32_t work = 0;
  watch_nodes(now);
  while (!changes_.empty()) {
    Change change = std::move(changes_.front());
    changes_.pop_front();
    broadcast(std::move(change));
    ++work;
  }
  work += reconciler_.do_work();
  while (!received_.empty() && reconciler_.settled(received_.front()->version)) {
    BroadcastCall& call = *received_.front();
    received_.pop_front();
    broker_.router().reply(call);
    ++work;
  }
  if (live_) work += node_admin_.do_work(now, master_, finished_);
  return work + advance_queue() + relay_work(now);
}

AdminRelay::Hooks Controller::relay_hooks() {
  return {
      .send = [this](
                  NodeId to, peer::Service service,
                  ByteView payload) { return broker_.group(GroupId(0))->send_service(to, service, payload); },
      .linked = [this](NodeId node) { return broker_.group(GroupId(0))->linked(node); },
      .carry_out =
          [this](AdminCall& call) {
            call.cursor = call.committed = 0;
            call.term = Term(0);
            queue_.push_back(call);
          },
      .reply = [this](AdminCall& call) { broker_.router().reply(call); },
  };
}

std::uint32_t Controller::relay_work(Nanos now) {
  if (!live_) return 0;
  const replica::Group& group = *broker_.group(GroupId(0));
  const NodeId leader = group.leader();
  return relay_.do_work({.now = now,
                         .leader = leader == broker_.options().node ? NodeId(0) : leader,
                         .leading = group.leading(),
                         .shutting_down = broker_.shutting_down(),
                         .known = finished_});
}

// Tells every core which nodes are gone, whenever that changes.
void Controller::watch_nodes(Nanos now) {
  if (!live_ || now < next_watch_) return;
  next_watch_ = now + kWatchInterval;
  const replica::Group& group = *broker_.group(GroupId(0));
  watched_.clear();
  for (const NodeView& node : broker_.directory().nodes()) watched_.push_back(node.record.node);
  if (!watch_.look(now, watched_, [&](NodeId node) { return group.linked(node); })) return;
  tell_every_core(broker_, [gone = watch_.gone()](Broker& target) { target.directory().set_gone(gone); });
}

std::uint32_t Controller::advance_queue() {
  if (!live_ || queue_.empty()) return 0;
  AdminCall& call = queue_.front();
  const replica::Group& group = *broker_.group(GroupId(0));
  if (!call.carried_out) {
    const bool ours = call.term == Term(0) || call.term == group.term();
    if (!group.leading() || !ours) {
      if (hand_over(call)) return 1;
      if (call.automatic) pass_on(call);
      refuse_rest(call);
    } else {
      call.term = group.term();
      if (!propose(call)) return 0;
    }
    call.carried_out = true;
  }
  if (call.last_index > finished_) return 0;
  queue_.pop_front();
  broker_.router().reply(call);
  return 1;
}

// A client's call is for the node that leads group 0, unless something of it that must not be done twice may
// have been done already.
bool Controller::hand_over(AdminCall& call) {
  const bool proposed = call.term != Term(0);
  const bool repeatable = std::ranges::all_of(
      call.orders, [](const TopicOrder& order) { return order.kind == TopicOrder::Kind::configure; });
  if (call.automatic || call.for_node != NodeId(0) || (proposed && !repeatable)) return false;
  for (std::size_t i = 0; i < call.committed; ++i) call.orders[i].settled = true;
  call.last_index = Index(0);
  queue_.pop_front();
  relay_.take(call, broker_.env().clock.now());
  return true;
}

// This node does not, or no longer, lead group 0. What was proposed last may still come true: the client asks
// the new controller.
void Controller::refuse_rest(AdminCall& call) {
  for (std::size_t i = call.committed; i < call.orders.size(); ++i) {
    TopicOrder& order = call.orders[i];
    if (order.settled || order.code != wire::ErrorCode::none) continue;
    order.code = wire::ErrorCode::not_controller;
    order.message = "another node leads group 0: see controller_id in the metadata";
  }
  call.last_index = Index(0);
}

// Topics that clients want on first use, asked of the node that leads group 0. Best effort: the client is
// told to come again, and its next request asks again if nothing has come of this one.
void Controller::pass_on(const AdminCall& call) {
  replica::Group& group = *broker_.group(GroupId(0));
  const NodeId leader = group.leader();
  if (leader == NodeId(0) || leader == broker_.options().node) return;
  const Nanos now = broker_.env().clock.now();
  std::erase_if(wishes_, [now](const auto& wish) { return wish.second <= now; });
  std::vector<std::string_view> names;
  for (const TopicOrder& order : call.orders) {
    if (wishes_.size() + names.size() == kWishesMax) break;
    if (order.kind == TopicOrder::Kind::create && !wishes_.contains(order.name)) names.push_back(order.name);
  }
  if (names.empty()) return;
  std::vector<std::byte> payload;
  ByteWriter writer(payload);
  writer.number(static_cast<std::uint32_t>(names.size()));
  for (const std::string_view name : names) writer.text(name);
  if (!group.send_service(leader, {.kind = kServiceCreateTopics, .tag = 0}, payload)) return;
  for (const std::string_view name : names) wishes_.emplace(name, now + kWishValid);
}

void Controller::on_service(NodeId from, peer::Service service, ByteView payload) {
  if (!live_) return;
  switch (service.kind) {
    case kServiceCreateTopics: return on_wishes(payload);
    case kServiceAdminDone: return relay_.on_outcomes(service.tag, payload);
    case kServiceAdmin: break;
    default: return;
  }
  std::unique_ptr<AdminCall> call = relay_.accept(from, service.tag, payload);
  if (call == nullptr) return;
  call->finish = [](Broker& origin, AdminCall& done) { origin.controller().relay_.answer(done); };
  submit_admin_call(broker_, std::move(call));
}

void Controller::on_wishes(ByteView payload) {
  if (!broker_.options().auto_create_topics) return;
  if (!broker_.group(GroupId(0))->leading() || wishes_in_queue_ == kWishesMax) return;
  ByteReader reader(payload);
  const std::uint32_t count = reader.count(sizeof(std::uint32_t));
  auto call = std::make_unique<AdminCall>();
  for (std::uint32_t i = 0; i < count && i < kWishesMax; ++i) {
    std::string name = reader.text();
    if (master_.find(std::string_view(name)) == nullptr) call->orders.emplace_back().name = std::move(name);
  }
  if (!reader.at_end() || call->orders.empty()) return;
  ++wishes_in_queue_;
  call->finish = [](Broker& origin, AdminCall&) { --origin.controller().wishes_in_queue_; };
  submit_admin_call(broker_, std::move(call));
}

// Proposes the orders of a call one by one, each against the state that the one before has led to.
bool Controller::propose(AdminCall& call) {
  while (call.cursor < call.orders.size()) {
    if (master_.applied() < call.last_index) return false;  // the order before is not committed yet
    call.committed = call.cursor;
    TopicOrder& order = call.orders[call.cursor];
    if (order.settled) {
      ++call.cursor;
      continue;
    }
    std::vector<std::byte> command;
    encode_order(broker_, master_, order, command);
    if (!command.empty() && order.code == wire::ErrorCode::none && !call.validate_only) {
      const auto index =
          broker_.group(GroupId(0))->append_command(logfmt::EntryKind::metadata, PartitionId(0), command);
      if (!index && index.error() == Errc::busy) return false;  // try again next turn
      if (!index) {
        order.code = wire::ErrorCode::not_controller;
        order.message = "group 0 does not accept changes: " + std::string(to_string(index.error()));
      } else {
        call.last_index = *index;
      }
    }
    ++call.cursor;
  }
  return master_.applied() >= call.last_index;
}

// --- every core -----------------------------------------------------------------------------------------

void Controller::announce_leader(GroupId group, NodeId leader, Term term) {
  GroupView view = broker_.directory().group(group);
  if (leader != NodeId(0) && (leader != view.last_leader || view.leader == NodeId(0))) {
    view.previous_leader = view.last_leader;
    view.last_leader = leader;
    view.elected_at = broker_.env().clock.now();
  }
  view.leader = leader;
  view.term = term;
  tell_every_core(broker_, [group, view](Broker& target) { target.directory().set_group(group, view); });
}

void Controller::on_partition(GroupId, replica::Partition& partition) {
  if (partition.deleted()) return;
  if (const TopicView* view = broker_.directory().find(partition.identity().topic_id)) {
    apply_to(view->settings, partition);
  }
}

// Every member compacts on its own, so not only the leader's partitions must know the topic's settings.
void Controller::tell_partitions(const TopicView& view) {
  for (const replica::PartitionAssignment& assignment : view.topic->partitions) {
    replica::Group* const group = broker_.group(assignment.group);
    replica::Partition* const partition = group == nullptr ? nullptr : group->find(assignment.id);
    if (partition != nullptr) apply_to(view.settings, *partition);
  }
}

void Controller::receive(BroadcastCall& call) {
  const Change& change = call.broadcast->change;
  if (change.whole) {
    const Status status = broker_.directory().load(change.bytes);
    ESC_ASSERT_MSG(status.has_value(), "the directory that this process encoded decodes");
    for (const auto& [name, view] : broker_.directory().topics()) tell_partitions(view);
  } else if (const TopicView* view = broker_.directory().apply(change.index, change.bytes)) {
    tell_partitions(*view);
  }
  adopt_nodes();
  reconciler_.directory_changed();
  call.version = reconciler_.version();
  received_.push_back(&call);
}

// --- nodes ----------------------------------------------------------------------------------------------

// The groups of this core are told of other nodes.
void Controller::adopt_nodes() {
  if (broker_.directory().nodes_version() == nodes_version_) return;
  nodes_version_ = broker_.directory().nodes_version();
  const replica::NodeList& nodes = broker_.directory().catalog().nodes();
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    if (replica::Group* group = broker_.group(GroupId(id))) group->set_nodes(nodes);
  }
  const replica::NodeRecord* own = nodes.find(broker_.options().node);
  if (broker_.router().self() != broker_.core_of(GroupId(0)) || (own != nullptr && !own->leaving)) return;
  broker_.log().error(own != nullptr ? "node_leaves" : "node_removed",
                      {{"node", broker_.options().node},
                       {"cause", own != nullptr ? "this node is being removed from the cluster"
                                                : "this node was removed from the cluster"},
                       {"fix",
                        "stop it when esctl node list names it no more; to take it in again: esctl node "
                        "add"}});
}

// Once, at the start: what the log says counts, whatever is in the file.
void Controller::compare_nodes() {
  if (master_.nodes().nodes.empty()) return;
  const auto list = [](const std::vector<replica::NodeRecord>& nodes) {
    std::string text;
    for (const replica::NodeRecord& node : nodes) {
      text += (text.empty() ? "" : " ") + std::to_string(node.node.value()) + "=" + node.peer_host + ":" +
              std::to_string(node.peer_port) + "/" + node.host + ":" + std::to_string(node.port);
    }
    return text;
  };
  const std::string configured = list(broker_.options().nodes);
  const std::string in_force = list(master_.nodes().nodes);
  if (configured == in_force) return;
  broker_.log().warn("nodes_differ",
                     {{"configured", std::string_view(configured)},
                      {"in_force", std::string_view(in_force)},
                      {"cause", "esctl node has changed the nodes; what the cluster remembers counts"},
                      {"fix", "nothing; write cluster.nodes anew when the file is changed next"}});
}

}  // namespace esc::broker
