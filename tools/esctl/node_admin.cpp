// node list, node add, node remove.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <thread>

#include "cluster_client.h"
#include "commands.h"
#include "esc/wire/api/alter_nodes.h"
#include "esc/wire/api/describe_nodes.h"
#include "json.h"
#include "node_status.h"
#include "outcome.h"
#include "table.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;
using Request = wire::AlterNodesRequest;

constexpr auto kLookEvery = std::chrono::milliseconds(100);
constexpr auto kPatience = std::chrono::seconds(3);  // of one attempt, elections included

struct Address {
  std::string host;
  std::int32_t port = 0;
};

// The command line has been checked: HOST:PORT.
Address parse_address(const std::string& text) {
  const auto colon = text.rfind(':');
  Address address{.host = text.substr(0, colon), .port = 0};
  std::from_chars(text.data() + colon + 1, text.data() + text.size(), address.port);
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']')
    address.host = address.host.substr(1, address.host.size() - 2);
  return address;
}

bool passes(wire::ErrorCode code) {
  return code == wire::ErrorCode::not_controller || code == wire::ErrorCode::coordinator_not_available;
}

// At the controller, which may be moving.
Status alter(const Options& options, const std::string& what, const Request& request) {
  const Deadline deadline = options.deadline();
  for (;;) {
    auto client = connect_controller(options.addresses(), std::min(deadline, Clock::now() + kPatience));
    if (!client) return std::unexpected(client.error());
    const auto reply = client->call_private<wire::AlterNodesResponse>(request);
    if (!reply) return std::unexpected(reply.error());
    const wire::AlterNodesResponse& answer = reply->message;
    if (answer.error_code == wire::ErrorCode::none) return {};
    if (!passes(answer.error_code) || Clock::now() >= deadline) {
      Error error = server_error(what, answer.error_code, answer.error_message);
      if (answer.error_code == wire::ErrorCode::resource_not_found) error.code = Errc::not_found;
      return std::unexpected(std::move(error));
    }
    std::this_thread::sleep_for(kLookEvery);
  }
}

struct Listed {
  wire::DescribeNodesResponse::Node node;
  std::string state;
  std::size_t votes = 0;   // in how many groups
  std::size_t learns = 0;  // likewise
  std::size_t leads = 0;
};

bool names(const std::vector<std::int32_t>& members, std::int32_t node) {
  return std::ranges::find(members, node) != members.end();
}

// What the leaders say of a node's part in their groups.
void count_groups(const ClusterReport& report, Listed& listed) {
  for (std::size_t group = 0; group < report.groups(); ++group) {
    const NodeReport* leader = report.leader_of(group);
    if (leader == nullptr) continue;
    const GroupReport& lead = leader->groups[group];
    listed.votes += names(lead.voters, listed.node.node_id) ? 1 : 0;
    listed.learns += names(lead.learners, listed.node.node_id) ? 1 : 0;
    listed.leads += leader->id == listed.node.node_id ? 1 : 0;
  }
}

std::string state_of(const ClusterReport& report, const Listed& listed) {
  const auto found = std::ranges::find(report.nodes, listed.node.node_id, &NodeReport::id);
  const bool answers = found != report.nodes.end() && found->answered();
  if (listed.node.leaving) return answers ? "leaving" : "leaving, NO ANSWER";
  if (!answers) return "NO ANSWER";
  // A single node is a member of its groups without saying so to anybody.
  return listed.votes == report.groups()    ? "up"
         : listed.votes + listed.learns > 0 ? "joining"
                                            : "not taken in";
}

struct Listing {
  Reply<wire::DescribeNodesResponse> reply;  // the texts are in it
  std::vector<Listed> nodes;
  std::size_t groups = 0;
};

Result<Listing> list_nodes(const Options& options) {
  const Deadline deadline = std::max(options.deadline(), Clock::now() + std::chrono::milliseconds(500));
  auto client = connect_any(options.addresses(), deadline);
  if (!client) return std::unexpected(client.error());
  auto reply = client->call_private<wire::DescribeNodesResponse>(wire::DescribeNodesRequest{});
  if (!reply) return std::unexpected(reply.error());
  const auto report = report_cluster(options.addresses(), deadline);
  if (!report) return std::unexpected(report.error());
  Listing listing{.reply = std::move(*reply), .nodes = {}, .groups = report->groups()};
  for (const auto& node : listing.reply.message.nodes) {
    Listed& listed = listing.nodes.emplace_back(Listed{.node = node, .state = {}});
    count_groups(*report, listed);
    listed.state = state_of(*report, listed);
  }
  return listing;
}

const Listed* find(const Listing& listing, std::int32_t id) {
  const auto found =
      std::ranges::find_if(listing.nodes, [id](const Listed& each) { return each.node.node_id == id; });
  return found == listing.nodes.end() ? nullptr : &*found;
}

Json node_json(const Listed& listed) {
  const auto& node = listed.node;
  Json json = Json::object();
  json.set("id", node.node_id).set("state", listed.state).set("gone", node.gone);
  json.set("leaving", node.leaving).set("host", std::string(node.host)).set("port", node.port);
  json.set("peer_host", std::string(node.peer_host)).set("peer_port", node.peer_port);
  json.set("rack", std::string(node.rack)).set("votes_in", listed.votes);
  return json.set("learns_in", listed.learns).set("leads", listed.leads);
}

void print_outcome(const Options& options, std::int32_t id, const char* done, const std::string& text) {
  if (options.output == Output::json) {
    fmt::print("{}\n", Json::object().set("node", id).set(done, true).text());
  } else {
    fmt::print("{}\n", text);
  }
}

}  // namespace

Status node_list(const Options& options) {
  const auto listing = list_nodes(options);
  if (!listing) return std::unexpected(listing.error());
  if (options.output == Output::json) {
    Json nodes = Json::array();
    for (const Listed& listed : listing->nodes) nodes.push(node_json(listed));
    Json json = Json::object();
    json.set("recorded", listing->reply.message.recorded).set("groups", listing->groups);
    fmt::print("{}\n", json.set("nodes", std::move(nodes)).text());
    return {};
  }
  using enum Table::Align;
  Table table({{"NODE", right},
               {"CLIENTS", left},
               {"PEERS", left},
               {"RACK", left},
               {"STATE", left},
               {"VOTES IN", right},
               {"LEADS", right}});
  for (const Listed& listed : listing->nodes) {
    const auto& node = listed.node;
    table.add({std::to_string(node.node_id), fmt::format("{}:{}", node.host, node.port),
               node.peer_host.empty() ? "" : fmt::format("{}:{}", node.peer_host, node.peer_port),
               std::string(node.rack), listed.state, fmt::format("{} of {}", listed.votes, listing->groups),
               std::to_string(listed.leads)});
  }
  fmt::print("{}", table.text());
  return {};
}

Status node_add(const Options& options, const NodeAddOptions& node) {
  const Address clients = parse_address(node.kafka);
  const Address peers = parse_address(node.peer);
  const Request request{.action = Request::kAdd,
                        .node_id = node.id,
                        .host = clients.host,
                        .port = clients.port,
                        .peer_host = peers.host,
                        .peer_port = peers.port,
                        .rack = node.rack};
  if (Status status = alter(options, fmt::format("cannot add node {}", node.id), request); !status)
    return status;
  const Deadline deadline = options.deadline();
  while (!node.no_wait) {
    const auto listing = list_nodes(options);
    const Listed* listed = listing ? find(*listing, node.id) : nullptr;
    if (listed != nullptr && listing->groups > 0 && listed->votes == listing->groups) break;
    if (Clock::now() >= deadline) {
      const std::string where =
          listed == nullptr ? ""
                            : fmt::format(", it votes in {} of {} groups", listed->votes, listing->groups);
      return fail(Errc::timeout,
                  fmt::format("node {} is added and goes on being taken in{}: start it with the "
                              "same cluster.id and secret and cluster.join = true; see esctl node "
                              "list",
                              node.id, where));
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  print_outcome(options, node.id, "added",
                node.no_wait ? fmt::format("Node {} added; it is taken in when it runs.", node.id)
                             : fmt::format("Node {} added, it votes in every group.", node.id));
  return {};
}

Status node_remove(const Options& given, std::int32_t id, bool no_wait) {
  // The removed node answers to the end, but soon does not hear what the others decide: they are asked.
  Options options = given;
  if (const auto listing = list_nodes(given)) {
    std::string others;
    for (const Listed& listed : listing->nodes) {
      if (listed.node.node_id == id || listed.state.ends_with("NO ANSWER")) continue;
      others += fmt::format("{}{}:{}", others.empty() ? "" : ",", listed.node.host, listed.node.port);
    }
    if (!others.empty()) options.bootstrap = others;
  }
  const Request request{.action = Request::kRemove, .node_id = id};
  if (Status status = alter(options, fmt::format("cannot remove node {}", id), request); !status)
    return status;
  const Deadline deadline = options.deadline();
  while (!no_wait) {
    const auto listing = list_nodes(options);
    if (listing && find(*listing, id) == nullptr) break;
    if (Clock::now() >= deadline) {
      return fail(Errc::timeout,
                  fmt::format("node {} is being removed, which goes on by itself: see esctl node list", id));
    }
    std::this_thread::sleep_for(kLookEvery);
  }
  print_outcome(options, id, "removed",
                no_wait ? fmt::format("Node {} is being removed.", id)
                        : fmt::format("Node {} removed: stop it, and leave it out of cluster.nodes.", id));
  return {};
}

}  // namespace esc::esctl
