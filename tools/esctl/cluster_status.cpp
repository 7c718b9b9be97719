// cluster status.
#include <fmt/format.h>

#include "commands.h"
#include "esc/wire/api/describe_cluster.h"
#include "esc/wire/api/metadata.h"
#include "json.h"
#include "outcome.h"
#include "table.h"

namespace esc::esctl {

namespace {

struct Counts {
  std::int64_t topics = 0;
  std::int64_t partitions = 0;
  std::int64_t without_leader = 0;
  std::int64_t under_replicated = 0;
};

Counts count(const wire::MetadataResponse& metadata) {
  Counts counts;
  for (const auto& topic : metadata.topics) {
    ++counts.topics;
    for (const auto& partition : topic.partitions) {
      ++counts.partitions;
      if (partition.leader_id < 0) ++counts.without_leader;
      if (partition.isr_nodes.size() < partition.replica_nodes.size()) ++counts.under_replicated;
    }
  }
  return counts;
}

Json status_json(const wire::DescribeClusterResponse& cluster, const Counts& counts) {
  Json nodes = Json::array();
  for (const auto& broker : cluster.brokers) {
    Json node = Json::object();
    node.set("id", broker.broker_id).set("host", broker.host).set("port", broker.port);
    node.set("rack", broker.rack ? Json(*broker.rack) : Json());
    nodes.push(node.set("controller", broker.broker_id == cluster.controller_id));
  }
  Json json = Json::object();
  json.set("cluster_id", cluster.cluster_id).set("healthy", counts.without_leader == 0);
  json.set("controller", cluster.controller_id).set("nodes", std::move(nodes)).set("topics", counts.topics);
  json.set("partitions", counts.partitions).set("partitions_without_leader", counts.without_leader);
  return json.set("partitions_under_replicated", counts.under_replicated);
}

std::string status_text(const wire::DescribeClusterResponse& cluster, const Counts& counts) {
  using enum Table::Align;
  Table nodes({{"NODE", right}, {"ADDRESS", left}, {"ROLE", left}});
  for (const auto& broker : cluster.brokers) {
    nodes.add({std::to_string(broker.broker_id), fmt::format("{}:{}", broker.host, broker.port),
               broker.broker_id == cluster.controller_id ? "controller" : ""});
  }
  return fmt::format(
      "Cluster {}: {}\n"
      "{} topics, {} partitions, {} without a leader, {} under-replicated\n\n{}",
      cluster.cluster_id, counts.without_leader == 0 ? "healthy" : "NOT HEALTHY", counts.topics,
      counts.partitions, counts.without_leader, counts.under_replicated, nodes.text());
}

}  // namespace

Status cluster_status(const Options& options) {
  auto client = Client::connect(options.bootstrap, options.deadline());
  if (!client) return std::unexpected(client.error());
  const auto cluster = client->call<wire::DescribeClusterResponse>(wire::DescribeClusterRequest{});
  if (!cluster) return std::unexpected(cluster.error());
  if (cluster->message.error_code != wire::ErrorCode::none) {
    return std::unexpected(server_error("cannot describe the cluster", cluster->message.error_code,
                                        cluster->message.error_message.value_or("")));
  }
  wire::MetadataRequest all;
  all.allow_auto_topic_creation = false;
  const auto metadata = client->call<wire::MetadataResponse>(all);
  if (!metadata) return std::unexpected(metadata.error());
  const Counts counts = count(metadata->message);
  if (options.output == Output::json) {
    fmt::print("{}\n", status_json(cluster->message, counts).text());
  } else {
    fmt::print("{}", status_text(cluster->message, counts));
  }
  if (counts.without_leader > 0) {
    return fail(
        Errc::not_leader,
        fmt::format("{} partitions have no leader; check that all nodes are running", counts.without_leader));
  }
  return {};
}

}  // namespace esc::esctl
