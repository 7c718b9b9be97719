// topic list, topic describe.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <span>

#include "cluster_client.h"
#include "commands.h"
#include "esc/wire/api/describe_configs.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/metadata.h"
#include "json.h"
#include "outcome.h"
#include "table.h"

namespace esc::esctl {

namespace {

using Metadata = Reply<wire::MetadataResponse>;
using Topic = wire::MetadataResponse::Topic;
using Offsets = std::vector<std::int64_t>;  // by position in the metadata; -1 = unknown

constexpr std::int8_t kTopicResource = 2;

// Null `name` asks for every topic.
Result<Metadata> fetch_metadata(Client& client, const std::string* name) {
  wire::MetadataRequest request;
  request.allow_auto_topic_creation = false;
  const wire::MetadataRequest::Topic wanted{.topic_id = {}, .name = name != nullptr ? *name : ""};
  if (name != nullptr) request.topics = std::span(&wanted, 1);
  return client.call<wire::MetadataResponse>(request);
}

std::string uuid_text(const wire::Uuid& id) {
  std::string text;
  for (std::size_t i = 0; i < id.bytes.size(); ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) text.push_back('-');
    fmt::format_to(std::back_inserter(text), "{:02x}", std::to_integer<unsigned>(id.bytes[i]));
  }
  return text;
}

std::string node_list(wire::Array<std::int32_t> nodes) {
  return fmt::format("{}", fmt::join(nodes, ","));
}

Json node_array(wire::Array<std::int32_t> nodes) {
  Json json = Json::array();
  for (const std::int32_t node : nodes) json.push(node);
  return json;
}

// Adds what one leader knows of its partitions to `offsets`.
Status ask_leader(Client& client, const Topic& topic, std::int32_t leader, std::int64_t timestamp,
                  Offsets& offsets) {
  std::vector<wire::ListOffsetsRequest::Partition> partitions;
  for (const auto& partition : topic.partitions) {
    if (partition.leader_id != leader) continue;
    partitions.push_back({.partition_index = partition.partition_index, .timestamp = timestamp});
  }
  const wire::ListOffsetsRequest::Topic wanted{.name = topic.name.value_or(""), .partitions = partitions};
  wire::ListOffsetsRequest request;
  request.topics = {&wanted, 1};
  const auto reply = client.call<wire::ListOffsetsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  for (const auto& answered : reply->message.topics) {
    for (const auto& partition : answered.partitions) {
      const auto at = std::ranges::find(topic.partitions, partition.partition_index,
                                        &wire::MetadataResponse::Partition::partition_index);
      if (at == topic.partitions.end() || partition.error_code != wire::ErrorCode::none) continue;
      offsets[static_cast<std::size_t>(at - topic.partitions.begin())] = partition.offset;
    }
  }
  return {};
}

// Only leaders know offsets. Those of a partition whose leader gives no answer stay unknown.
std::pair<Offsets, Offsets> fetch_offsets(const wire::MetadataResponse& metadata, const Topic& topic,
                                          Deadline deadline) {
  std::pair<Offsets, Offsets> offsets{Offsets(topic.partitions.size(), -1),
                                      Offsets(topic.partitions.size(), -1)};
  for (const auto& broker : metadata.brokers) {
    const bool leads = std::ranges::any_of(
        topic.partitions, [&](const auto& partition) { return partition.leader_id == broker.node_id; });
    if (!leads) continue;
    auto client = Client::connect(fmt::format("{}:{}", broker.host, broker.port), deadline);
    if (!client) continue;
    if (!ask_leader(*client, topic, broker.node_id, wire::kEarliestTimestamp, offsets.first)) continue;
    (void)ask_leader(*client, topic, broker.node_id, wire::kLatestTimestamp, offsets.second);
  }
  return offsets;
}

Result<Reply<wire::DescribeConfigsResponse>> fetch_configs(Client& client, const std::string& name) {
  const wire::DescribeConfigsRequest::Resource resource{
      .resource_type = kTopicResource, .resource_name = name, .configuration_keys = std::nullopt};
  wire::DescribeConfigsRequest request;
  request.resources = {&resource, 1};
  return client.call<wire::DescribeConfigsResponse>(request);
}

struct Description {
  const Topic& topic;
  const Offsets& earliest;
  const Offsets& latest;
  std::span<const wire::DescribeConfigsResponse::Config> configs;
};

const char* source_name(std::int8_t source) {
  switch (source) {
    case 1: return "topic";
    case 4: return "server";
    case 5: return "default";
    default: return "other";
  }
}

Json describe_json(const Description& description) {
  Json partitions = Json::array();
  for (std::size_t i = 0; i < description.topic.partitions.size(); ++i) {
    const auto& partition = description.topic.partitions[i];
    Json item = Json::object();
    item.set("partition", partition.partition_index).set("leader", partition.leader_id);
    item.set("leader_epoch", partition.leader_epoch).set("replicas", node_array(partition.replica_nodes));
    item.set("in_sync", node_array(partition.isr_nodes))
        .set("offline", node_array(partition.offline_replicas));
    item.set("earliest_offset", description.earliest[i]).set("latest_offset", description.latest[i]);
    partitions.push(std::move(item));
  }
  Json configs = Json::array();
  for (const auto& config : description.configs) {
    Json item = Json::object();
    item.set("name", config.name).set("value", config.value ? Json(*config.value) : Json());
    item.set("source", source_name(config.config_source)).set("read_only", config.read_only);
    configs.push(std::move(item));
  }
  Json json = Json::object();
  json.set("topic", description.topic.name.value_or("")).set("id", uuid_text(description.topic.topic_id));
  json.set("partitions", std::move(partitions)).set("configs", std::move(configs));
  return json;
}

std::string offset_text(std::int64_t offset) {
  return offset < 0 ? "?" : std::to_string(offset);
}

std::string describe_text(const Description& description) {
  using enum Table::Align;
  Table partitions({{"PARTITION", right},
                    {"LEADER", right},
                    {"EPOCH", right},
                    {"REPLICAS", left},
                    {"IN-SYNC", left},
                    {"OFFLINE", left},
                    {"EARLIEST", right},
                    {"LATEST", right},
                    {"RECORDS", right}});
  for (std::size_t i = 0; i < description.topic.partitions.size(); ++i) {
    const auto& partition = description.topic.partitions[i];
    const std::int64_t first = description.earliest[i];
    const std::int64_t end = description.latest[i];
    partitions.add({std::to_string(partition.partition_index), std::to_string(partition.leader_id),
                    std::to_string(partition.leader_epoch), node_list(partition.replica_nodes),
                    node_list(partition.isr_nodes), node_list(partition.offline_replicas), offset_text(first),
                    offset_text(end), first < 0 || end < 0 ? "?" : std::to_string(end - first)});
  }
  Table configs({{"CONFIG", left}, {"VALUE", left}, {"FROM", left}});
  for (const auto& config : description.configs) {
    configs.add({std::string(config.name), std::string(config.value.value_or("(none)")),
                 source_name(config.config_source)});
  }
  std::string text = fmt::format("Topic {}, id {}\n\n{}", description.topic.name.value_or(""),
                                 uuid_text(description.topic.topic_id), partitions.text());
  if (!configs.empty()) text += "\n" + configs.text();
  return text;
}

}  // namespace

Status topic_list(const Options& options, bool internal) {
  auto client = connect_any(options.addresses(), options.deadline());
  if (!client) return std::unexpected(client.error());
  const auto metadata = fetch_metadata(*client, nullptr);
  if (!metadata) return std::unexpected(metadata.error());
  std::vector<Topic> topics(metadata->message.topics.begin(), metadata->message.topics.end());
  if (!internal)
    std::erase_if(topics, [](const Topic& topic) { return topic.name.value_or("").starts_with("__"); });
  std::ranges::sort(topics, {}, &Topic::name);
  if (options.output == Output::json) {
    Json list = Json::array();
    for (const Topic& topic : topics) {
      Json item = Json::object();
      item.set("topic", topic.name.value_or("")).set("partitions", topic.partitions.size());
      list.push(item.set("id", uuid_text(topic.topic_id)).set("internal", topic.is_internal));
    }
    fmt::print("{}\n", Json::object().set("topics", std::move(list)).text());
    return {};
  }
  Table table(
      {{"TOPIC", Table::Align::left}, {"PARTITIONS", Table::Align::right}, {"ID", Table::Align::left}});
  for (const Topic& topic : topics) {
    table.add({std::string(topic.name.value_or("")), std::to_string(topic.partitions.size()),
               uuid_text(topic.topic_id)});
  }
  fmt::print("{}", table.text());
  return {};
}

Status topic_describe(const Options& options, const std::string& name) {
  auto client = connect_any(options.addresses(), options.deadline());
  if (!client) return std::unexpected(client.error());
  const auto metadata = fetch_metadata(*client, &name);
  if (!metadata) return std::unexpected(metadata.error());
  if (metadata->message.topics.size() != 1) return fail(Errc::corruption, "the answer names no topic");
  const Topic& topic = metadata->message.topics.front();
  if (topic.error_code != wire::ErrorCode::none) {
    return std::unexpected(server_error(fmt::format("cannot describe topic {}", name), topic.error_code,
                                        "esctl topic list shows what exists"));
  }
  const auto [earliest, latest] = fetch_offsets(metadata->message, topic, options.deadline());
  const auto configs = fetch_configs(*client, name);
  if (!configs) return std::unexpected(configs.error());
  Description description{.topic = topic, .earliest = earliest, .latest = latest, .configs = {}};
  if (!configs->message.results.empty()) description.configs = configs->message.results.front().configs;
  if (options.output == Output::json) {
    fmt::print("{}\n", describe_json(description).text());
  } else {
    fmt::print("{}", describe_text(description));
  }
  return {};
}

}  // namespace esc::esctl
