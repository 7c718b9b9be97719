#include "cluster_client.h"

#include <fmt/format.h>

#include <thread>

#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_topics.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/api/produce.h"
#include "outcome.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;
using wire::ErrorCode;

constexpr auto kRetryPause = std::chrono::milliseconds(10);

// Trouble that passes by itself while a cluster elects, starts or applies.
bool passes(ErrorCode code) {
  return code == ErrorCode::not_controller || code == ErrorCode::request_timed_out ||
         code == ErrorCode::coordinator_not_available || code == ErrorCode::leader_not_available ||
         code == ErrorCode::not_leader_or_follower || code == ErrorCode::not_enough_replicas;
}

std::string address_of(const wire::MetadataResponse& metadata, std::int32_t node) {
  for (const auto& broker : metadata.brokers) {
    if (broker.node_id == node) return fmt::format("{}:{}", broker.host, broker.port);
  }
  return {};
}

Result<Reply<wire::MetadataResponse>> metadata_of(Client& client, std::string_view topic) {
  const wire::MetadataRequest::Topic wanted{.name = topic};
  wire::MetadataRequest request;
  request.topics = wire::Array<wire::MetadataRequest::Topic>(&wanted, topic.empty() ? 0 : 1);
  request.allow_auto_topic_creation = false;
  return client.call<wire::MetadataResponse>(request);
}

// Empty when the topic exists now.
Result<ErrorCode> create_once(const Bootstrap& bootstrap, const TopicWish& wish, Deadline deadline) {
  auto controller = connect_controller(bootstrap, deadline);
  if (!controller) return std::unexpected(controller.error());
  std::vector<wire::CreateTopicsRequest::Config> configs;
  for (const auto& [key, value] : wish.configs) configs.push_back({key, value});
  const wire::CreateTopicsRequest::Topic topic{.name = wish.name,
                                               .num_partitions = wish.partitions,
                                               .replication_factor = -1,
                                               .assignments = {},
                                               .configs = configs};
  const auto reply = controller->call<wire::CreateTopicsResponse>(
      wire::CreateTopicsRequest{.topics = {&topic, 1}, .timeout_ms = 2000, .validate_only = false});
  if (!reply) return std::unexpected(reply.error());
  if (reply->message.topics.size() != 1)
    return fail(Errc::corruption, fmt::format("{} did not answer for the topic", controller->address()));
  const auto& result = reply->message.topics[0];
  if (result.error_code == ErrorCode::topic_already_exists) return ErrorCode::none;
  if (result.error_code != ErrorCode::none && !passes(result.error_code)) {
    return std::unexpected(server_error(fmt::format("cannot create the topic {}", wish.name),
                                        result.error_code, result.error_message.value_or("")));
  }
  return result.error_code;
}

bool all_led(const std::vector<PartitionLeader>& leaders) {
  return std::all_of(leaders.begin(), leaders.end(), [](const auto& leader) { return leader.node >= 0; });
}

}  // namespace

Result<Client> connect_any(const Bootstrap& bootstrap, Deadline deadline) {
  Error last{Errc::invalid_argument, "no address was given"};
  for (std::size_t i = 0; i < bootstrap.size(); ++i) {
    const auto now = Clock::now();
    const auto part = (std::max(deadline, now) - now) / static_cast<std::int64_t>(bootstrap.size() - i);
    auto client = Client::connect(bootstrap[i], now + part);
    if (client) {
      client->set_deadline(deadline);
      return client;
    }
    last = client.error();
  }
  return std::unexpected(last);
}

Result<Client> connect_controller(const Bootstrap& bootstrap, Deadline deadline) {
  auto any = connect_any(bootstrap, deadline);
  if (!any) return any;
  const auto metadata = metadata_of(*any, {});
  if (!metadata) return std::unexpected(metadata.error());
  const std::string address = address_of(metadata->message, metadata->message.controller_id);
  if (address.empty() || address == any->address()) return any;
  return Client::connect(address, deadline);
}

Result<std::vector<PartitionLeader>> find_leaders(const Bootstrap& bootstrap, std::string_view topic,
                                                  Deadline deadline) {
  auto client = connect_any(bootstrap, deadline);
  if (!client) return std::unexpected(client.error());
  const auto metadata = metadata_of(*client, topic);
  if (!metadata) return std::unexpected(metadata.error());
  if (metadata->message.topics.size() != 1)
    return fail(Errc::corruption, fmt::format("{} did not answer for topic {}", client->address(), topic));
  const auto& found = metadata->message.topics[0];
  if (found.error_code != ErrorCode::none)
    return std::unexpected(server_error(fmt::format("topic {}", topic), found.error_code, ""));
  std::vector<PartitionLeader> leaders(found.partitions.size());
  for (const auto& partition : found.partitions) {
    const auto index = static_cast<std::size_t>(partition.partition_index);
    if (index >= leaders.size())
      return fail(Errc::corruption, fmt::format("{} numbers partitions wrongly", client->address()));
    if (partition.leader_id < 0) continue;
    leaders[index] = {partition.leader_id, partition.leader_epoch,
                      address_of(metadata->message, partition.leader_id)};
  }
  return leaders;
}

Result<std::vector<PartitionLeader>> ensure_topic(const Bootstrap& bootstrap, const TopicWish& wish,
                                                  Deadline deadline) {
  Error last{Errc::timeout, fmt::format("topic {} has no leaders yet", wish.name)};
  do {
    const auto leaders = find_leaders(bootstrap, wish.name, deadline);
    if (leaders && !leaders->empty() && all_led(*leaders)) return leaders;
    if (!leaders) last = leaders.error();
    if (!leaders && leaders.error().code == Errc::not_found) {
      const auto created = create_once(bootstrap, wish, deadline);
      if (!created) last = created.error();
      if (!created && created.error().code == Errc::invalid_argument) break;
      if (created && *created == ErrorCode::none) continue;
    }
    std::this_thread::sleep_for(kRetryPause);
  } while (Clock::now() < deadline);
  return std::unexpected(last);
}

void delete_topic(const Bootstrap& bootstrap, std::string_view topic, Deadline deadline) {
  auto controller = connect_controller(bootstrap, deadline);
  if (!controller) return;
  const wire::DeleteTopicsRequest::Topic by_topic{.name = topic, .topic_id = {}};
  const wire::String by_name = topic;
  (void)controller->call<wire::DeleteTopicsResponse>(
      wire::DeleteTopicsRequest{.topics = {&by_topic, 1}, .topic_names = {&by_name, 1}, .timeout_ms = 2000});
}

Result<Produced> produce(Client& client, const ProduceTarget& target, ByteView batch) {
  const wire::ProduceRequest::Partition partition{target.partition, batch};
  const wire::ProduceRequest::Topic topic{target.topic, {&partition, 1}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = target.timeout_ms;
  request.topic_data = {&topic, 1};
  const auto reply = client.call<wire::ProduceResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  const auto& topics = reply->message.responses;
  if (topics.size() != 1 || topics[0].partition_responses.size() != 1)
    return fail(Errc::corruption, fmt::format("{} did not answer for the partition", client.address()));
  const auto& answer = topics[0].partition_responses[0];
  return Produced{answer.error_code, answer.base_offset};
}

}  // namespace esc::esctl
