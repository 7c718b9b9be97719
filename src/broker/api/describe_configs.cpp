// DescribeConfigs: the real values, with where they come from.
#include "esc/wire/api/describe_configs.h"

#include <algorithm>
#include <charconv>

#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

constexpr std::int8_t kResourceTopic = 2;
constexpr std::int8_t kResourceBroker = 4;
constexpr std::int8_t kSourceTopic = 1;
constexpr std::int8_t kSourceStaticBroker = 4;
constexpr std::int8_t kSourceDefault = 5;

struct Described {
  std::vector<ConfigDescription> configs;
  std::vector<std::int8_t> sources;
  std::vector<wire::DescribeConfigsResponse::Config> answers;
  std::vector<wire::DescribeConfigsResponse::Synonym> synonyms;
  std::string message;
};

void describe_topic(const TopicView& view, Described& described) {
  described.configs = describe(view.settings);
  for (const ConfigDescription& config : described.configs) {
    const bool overridden = std::any_of(view.topic->overrides.begin(), view.topic->overrides.end(),
                                        [&](const auto& pair) { return pair.first == config.key; });
    described.sources.push_back(overridden ? kSourceTopic : kSourceDefault);
  }
}

void describe_broker(const BrokerOptions& options, std::size_t replicas, Described& described) {
  const TopicSettings& defaults = options.topic_defaults;
  const auto add = [&](std::string_view key, std::string value, ConfigType type,
                       std::string_view documentation) {
    described.configs.push_back({key, std::move(value), type, true, documentation});
    described.sources.push_back(kSourceStaticBroker);
  };
  add("auto.create.topics.enable", options.auto_create_topics ? "true" : "false", ConfigType::boolean,
      "Unknown topics are created when a client asks for them");
  add("default.replication.factor", std::to_string(replicas), ConfigType::int32, "Replicas of a new topic");
  add("log.retention.bytes", std::to_string(defaults.retention_bytes), ConfigType::int64,
      "Default of retention.bytes");
  add("log.retention.ms", std::to_string(defaults.retention_ms), ConfigType::int64,
      "Default of retention.ms");
  add("log.roll.ms", std::to_string(defaults.segment_ms), ConfigType::int64, "Default of segment.ms");
  add("log.segment.bytes", std::to_string(defaults.segment_bytes), ConfigType::int32,
      "Default of segment.bytes");
  add("message.max.bytes", std::to_string(defaults.max_message_bytes), ConfigType::int32,
      "Default of max.message.bytes");
  add("num.partitions", std::to_string(options.default_partitions), ConfigType::int32,
      "Partitions of a topic created without a count");
}

void select_and_encode(const wire::DescribeConfigsRequest& asked,
                       const wire::DescribeConfigsRequest::Resource& resource, Described& described) {
  described.synonyms.reserve(described.configs.size());
  for (std::size_t i = 0; i < described.configs.size(); ++i) {
    const ConfigDescription& config = described.configs[i];
    if (resource.configuration_keys) {
      const auto& keys = *resource.configuration_keys;
      if (std::find(keys.begin(), keys.end(), config.key) == keys.end()) continue;
    }
    wire::DescribeConfigsResponse::Config& answer = described.answers.emplace_back();
    answer.name = config.key;
    answer.value = std::string_view(config.value);
    answer.read_only = config.read_only;
    answer.config_source = described.sources[i];
    answer.config_type = static_cast<std::int8_t>(config.type);
    if (asked.include_documentation) answer.documentation = config.documentation;
    if (asked.include_synonyms) {
      described.synonyms.push_back({config.key, std::string_view(config.value), described.sources[i]});
      answer.synonyms = {&described.synonyms.back(), 1};
    }
  }
}

}  // namespace

void handle_describe_configs(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::DescribeConfigsRequest>(request);
  if (asked == nullptr) return;
  std::vector<Described> described(asked->resources.size());
  std::vector<wire::DescribeConfigsResponse::Resource> results(asked->resources.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    const auto& resource = asked->resources[i];
    results[i].resource_type = resource.resource_type;
    results[i].resource_name = resource.resource_name;
    if (resource.resource_type == kResourceTopic) {
      if (const TopicView* view = broker.directory().find(resource.resource_name)) {
        describe_topic(*view, described[i]);
      } else {
        results[i].error_code = wire::ErrorCode::unknown_topic_or_partition;
        described[i].message = "no such topic";
      }
    } else if (resource.resource_type == kResourceBroker) {
      std::uint32_t node = 0;
      const std::string_view name = resource.resource_name;
      std::from_chars(name.data(), name.data() + name.size(), node);
      if (name.empty() || NodeId(node) == broker.options().node) {
        describe_broker(broker.options(), broker.replication_factor(), described[i]);
      } else {
        results[i].error_code = wire::ErrorCode::invalid_request;
        described[i].message = "this is node " + std::to_string(broker.options().node.value());
      }
    } else {
      results[i].error_code = wire::ErrorCode::invalid_request;
      described[i].message = "only topics (2) and brokers (4) have configurations here";
    }
    if (!described[i].message.empty()) results[i].error_message = std::string_view(described[i].message);
    select_and_encode(*asked, resource, described[i]);
    results[i].configs = described[i].answers;
  }
  wire::DescribeConfigsResponse response;
  response.results = results;
  broker.respond(request, response);
}

}  // namespace esc::broker
