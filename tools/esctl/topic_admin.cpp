// topic create, topic alter, topic delete.
#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "cluster_client.h"
#include "commands.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_topics.h"
#include "esc/wire/api/incremental_alter_configs.h"
#include "json.h"
#include "outcome.h"

namespace esc::esctl {

namespace {

using Config = wire::CreateTopicsRequest::Config;

// The command line has been checked: every text is KEY=VALUE.
std::vector<Config> parse_configs(const std::vector<std::string>& texts) {
  std::vector<Config> configs;
  for (const std::string_view text : texts) {
    const auto equals = text.find('=');
    configs.push_back({text.substr(0, equals), text.substr(equals + 1)});
  }
  return configs;
}

void print_created(const Options& options, const TopicCreateOptions& topic, std::int32_t partitions,
                   bool existed) {
  const char* verb = existed ? "exists already" : topic.validate_only ? "can be created" : "created";
  if (options.output == Output::json) {
    Json json = Json::object();
    json.set("topic", topic.name).set("created", !existed && !topic.validate_only);
    json.set("validated_only", topic.validate_only).set("existed", existed);
    json.set("partitions", partitions >= 0 ? Json(partitions) : Json());
    fmt::print("{}\n", json.text());
    return;
  }
  if (partitions < 0) {
    fmt::print("Topic {} {}.\n", topic.name, verb);
  } else {
    fmt::print("Topic {} {}, {} partition{}.\n", topic.name, verb, partitions, partitions == 1 ? "" : "s");
  }
}

}  // namespace

Status topic_create(const Options& options, const TopicCreateOptions& topic) {
  const auto configs = parse_configs(topic.configs);
  auto client = connect_controller(options.addresses(), options.deadline());
  if (!client) return std::unexpected(client.error());
  const wire::CreateTopicsRequest::Topic wanted{.name = topic.name,
                                                .num_partitions = topic.partitions,
                                                .replication_factor = topic.replication_factor,
                                                .assignments = {},
                                                .configs = configs};
  const wire::CreateTopicsRequest request{
      .topics = {&wanted, 1}, .timeout_ms = options.timeout_ms(), .validate_only = topic.validate_only};
  const auto reply = client->call<wire::CreateTopicsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  if (reply->message.topics.size() != 1) return fail(Errc::corruption, "the answer names no topic");
  const auto& answer = reply->message.topics.front();
  const bool existed = answer.error_code == wire::ErrorCode::topic_already_exists;
  if (answer.error_code != wire::ErrorCode::none && !(existed && topic.if_not_exists)) {
    return std::unexpected(server_error(fmt::format("cannot create topic {}", topic.name), answer.error_code,
                                        answer.error_message.value_or("")));
  }
  print_created(options, topic, existed ? -1 : answer.num_partitions, existed);
  return {};
}

Status topic_alter(const Options& options, const TopicAlterOptions& topic) {
  using Request = wire::IncrementalAlterConfigsRequest;
  constexpr std::int8_t kTopic = 2;
  constexpr std::int8_t kDelete = 1;
  std::vector<Request::Resource::Config> configs;
  for (const Config& config : parse_configs(topic.set)) configs.push_back({config.name, 0, config.value});
  for (const std::string& key : topic.removed) configs.push_back({key, kDelete, std::nullopt});
  if (configs.empty()) return fail(Errc::invalid_argument, "nothing to change: give --set or --default");
  auto client = connect_controller(options.addresses(), options.deadline());
  if (!client) return std::unexpected(client.error());
  const Request::Resource wanted{.resource_type = kTopic, .resource_name = topic.name, .configs = configs};
  const Request request{.resources = {&wanted, 1}, .validate_only = topic.validate_only};
  const auto reply = client->call<wire::IncrementalAlterConfigsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  if (reply->message.responses.size() != 1) return fail(Errc::corruption, "the answer names no topic");
  const auto& answer = reply->message.responses.front();
  if (answer.error_code != wire::ErrorCode::none) {
    return std::unexpected(server_error(fmt::format("cannot change topic {}", topic.name), answer.error_code,
                                        answer.error_message.value_or("")));
  }
  if (options.output == Output::json) {
    Json json = Json::object();
    json.set("topic", topic.name).set("changed", !topic.validate_only);
    json.set("validated_only", topic.validate_only);
    fmt::print("{}\n", json.text());
  } else {
    fmt::print("Topic {} {}.\n", topic.name, topic.validate_only ? "can be changed" : "changed");
  }
  return {};
}

Status topic_delete(const Options& options, const TopicDeleteOptions& topics) {
  auto client = connect_controller(options.addresses(), options.deadline());
  if (!client) return std::unexpected(client.error());
  std::vector<wire::DeleteTopicsRequest::Topic> by_topic;
  std::vector<wire::String> by_name;
  for (const std::string& name : topics.names) {
    by_topic.push_back({.name = name, .topic_id = {}});
    by_name.push_back(name);
  }
  const wire::DeleteTopicsRequest request{
      .topics = by_topic, .topic_names = by_name, .timeout_ms = options.timeout_ms()};
  const auto reply = client->call<wire::DeleteTopicsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  Json deleted = Json::array();
  std::string text;
  std::optional<Error> failure;
  for (const auto& answer : reply->message.responses) {
    const std::string name(answer.name.value_or("?"));
    const bool missing = answer.error_code == wire::ErrorCode::unknown_topic_or_partition;
    if (missing && topics.if_exists) {
      text += fmt::format("Topic {} does not exist.\n", name);
    } else if (answer.error_code != wire::ErrorCode::none) {
      failure =
          server_error(fmt::format("cannot delete topic {}", name), answer.error_code,
                       answer.error_message.value_or(missing ? "esctl topic list shows what exists" : ""));
    } else {
      deleted.push(name);
      text += fmt::format("Topic {} deleted.\n", name);
    }
  }
  // What was deleted is reported even if a later name failed.
  if (options.output == Output::json) {
    text = failure ? "" : Json::object().set("deleted", std::move(deleted)).text() + "\n";
  }
  fmt::print("{}", text);
  if (failure) return std::unexpected(*failure);
  return {};
}

}  // namespace esc::esctl
