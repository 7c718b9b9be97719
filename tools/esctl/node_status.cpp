#include "node_status.h"

#include <fmt/format.h>

#include <algorithm>

#include "canary.h"
#include "esc/wire/api/describe_nodes.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/api/node_status.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kNodePatience = std::chrono::milliseconds(1000);
constexpr std::int8_t kReplicating = 1;         // raft::ProgressState::replicate
constexpr std::int64_t kEntriesBehindMax = 16;  // what is under way in a drill
constexpr std::int64_t kContactMsMax = 1000;

GroupReport group_report(const wire::NodeStatusResponse::Group& group) {
  GroupReport report{.role = group.role,
                     .serving = group.serving,
                     .term = group.term,
                     .leader = group.leader_id,
                     .commit = group.commit_index,
                     .last = group.last_index,
                     .durable = group.durable_index,
                     .applied = group.applied_index,
                     .records = group.records,
                     .elected_ms = group.elected_ms,
                     .previous_leader = group.previous_leader_id,
                     .peers = {},
                     .voters = {group.voters.begin(), group.voters.end()},
                     .learners = {group.learners.begin(), group.learners.end()}};
  for (const auto& peer : group.peers)
    report.peers.push_back({peer.node_id, peer.state, peer.match_index, peer.last_contact_ms});
  return report;
}

NodeReport report_node(std::int32_t id, const std::string& address, Deadline deadline) {
  NodeReport node{.id = id, .address = address};
  auto client = Client::connect(address, std::min(deadline, Clock::now() + kNodePatience));
  if (!client) {
    node.trouble = client.error().message;
    return node;
  }
  const auto reply = client->call_private<wire::NodeStatusResponse>(wire::NodeStatusRequest{});
  if (!reply) {
    node.trouble = reply.error().message;
    return node;
  }
  node.version = reply->message.version;
  node.uptime_ms = reply->message.uptime_ms;
  for (const auto& group : reply->message.groups) node.groups.push_back(group_report(group));
  return node;
}

}  // namespace

std::size_t ClusterReport::groups() const {
  std::size_t count = 0;
  for (const NodeReport& node : nodes) count = std::max(count, node.groups.size());
  return count;
}

const NodeReport* ClusterReport::leader_of(std::size_t group) const {
  const NodeReport* leader = nullptr;
  for (const NodeReport& node : nodes) {
    if (group >= node.groups.size() || node.groups[group].leader != node.id) continue;
    if (leader == nullptr || node.groups[group].term > leader->groups[group].term) leader = &node;
  }
  return leader;
}

Result<ClusterReport> report_cluster(const Bootstrap& bootstrap, Deadline deadline) {
  auto client = connect_any(bootstrap, deadline);
  if (!client) return std::unexpected(client.error());
  wire::MetadataRequest all;
  all.allow_auto_topic_creation = false;
  const auto metadata = client->call<wire::MetadataResponse>(all);
  if (!metadata) return std::unexpected(metadata.error());
  ClusterReport report;
  report.cluster_id = metadata->message.cluster_id.value_or("");
  report.controller = metadata->message.controller_id;
  for (const auto& topic : metadata->message.topics) {
    if (topic.name != kCanaryTopic) ++report.topics;
    for (const auto& partition : topic.partitions) {
      if (topic.name != kCanaryTopic) ++report.partitions;
      if (partition.leader_id < 0) ++report.without_leader;
    }
  }
  // Metadata leave out nodes that are gone.
  const auto nodes = client->call_private<wire::DescribeNodesResponse>(wire::DescribeNodesRequest{});
  if (!nodes) return std::unexpected(nodes.error());
  for (const auto& node : nodes->message.nodes)
    report.nodes.push_back(report_node(node.node_id, fmt::format("{}:{}", node.host, node.port), deadline));
  std::ranges::sort(report.nodes, {}, &NodeReport::id);
  return report;
}

bool caught_up(const ClusterReport& report) {
  if (!std::ranges::all_of(report.nodes, &NodeReport::answered)) return false;
  for (std::size_t group = 0; group < report.groups(); ++group) {
    const NodeReport* leader = report.leader_of(group);
    if (leader == nullptr || !leader->groups[group].serving) return false;
    const GroupReport& lead = leader->groups[group];
    if (lead.peers.size() + 1 != report.nodes.size()) return false;
    for (const PeerReport& peer : lead.peers) {
      if (peer.state != kReplicating || peer.match + kEntriesBehindMax < lead.last) return false;
      if (peer.last_contact_ms < 0 || peer.last_contact_ms > kContactMsMax) return false;
    }
  }
  return report.groups() > 0;
}

}  // namespace esc::esctl
