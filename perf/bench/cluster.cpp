#include "cluster.h"

#include <algorithm>

#include "clocks.h"
#include "esc/base/assert.h"
#include "esc/wire/api/api_versions.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/metadata.h"

namespace esc::bench {

namespace {

constexpr Nanos kConnectTimeout = 5 * kSecond;
constexpr Nanos kCallTimeout = 30 * kSecond;
constexpr std::size_t kRequestBytesMax = 4 * kMiB;
constexpr std::size_t kArenaBytes = 32 * kMiB;

Error kafka_error(std::string_view what, wire::ErrorCode code, wire::NullableString message = std::nullopt) {
  std::string text = std::string(what) + ": " + std::string(wire::to_string(code)) + " (" +
                     std::to_string(static_cast<int>(code)) + ")";
  if (message && !message->empty()) text += ": " + std::string(*message);
  const bool unknown = code == wire::ErrorCode::unknown_topic_or_partition;
  return Error{unknown ? Errc::not_found : Errc::invalid_argument, std::move(text)};
}

}  // namespace

const ClusterMap::Broker* ClusterMap::broker(std::int32_t id) const {
  const auto found =
      std::find_if(brokers.begin(), brokers.end(), [id](const Broker& b) { return b.id == id; });
  return found == brokers.end() ? nullptr : &*found;
}

bool ClusterMap::complete() const {
  return !leaders.empty() && std::all_of(leaders.begin(), leaders.end(),
                                         [this](std::int32_t id) { return broker(id) != nullptr; });
}

ClusterClient::ClusterClient(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)),
      request_(std::make_unique_for_overwrite<std::byte[]>(kRequestBytesMax)),
      memory_(std::make_unique_for_overwrite<std::byte[]>(kArenaBytes)),
      arena_(ByteSpan(memory_.get(), kArenaBytes)) {}

Result<std::unique_ptr<ClusterClient>> ClusterClient::open(const Address& bootstrap) {
  auto connection = Connection::open(bootstrap, kConnectTimeout);
  if (!connection) return std::unexpected(connection.error());
  std::unique_ptr<ClusterClient> client(new ClusterClient(std::move(*connection)));
  if (const Status status = client->learn_versions(); !status) return std::unexpected(status.error());
  return client;
}

// The highest version both sides speak.
std::int16_t ClusterClient::version_of(wire::ApiKey key) const {
  const wire::ApiInfo& api = wire::api_info(key);
  const auto found = server_max_.find(static_cast<std::int16_t>(key));
  if (found == server_max_.end()) return api.min;
  // Nothing newer is needed of ListOffsets, and librdkafka's mock broker gets the newer ones wrong.
  const std::int16_t ours = key == wire::ApiKey::list_offsets ? std::int16_t{3} : api.max;
  return std::min(ours, found->second);
}

template <class Response, class Request>
Result<Response> ClusterClient::call(const Request& request) {
  const std::int16_t version = version_of(Request::kApi);
  wire::Writer writer(ByteSpan(request_.get(), kRequestBytesMax));
  wire::encode_request(writer, request, version, ++correlation_, kClientId);
  if (writer.overflowed()) return fail(Errc::too_large, "request does not fit");
  const auto frame = connection_->round_trip(writer.written(), kCallTimeout);
  const std::string name(wire::api_info(Request::kApi).name);
  if (!frame) return fail(frame.error().code, name + ": " + frame.error().message);
  const auto response = wire::parse_response(*frame, Request::kApi, version);
  if (!response || response->correlation_id != correlation_) {
    return fail(Errc::corruption, name + ": the server's answer has no valid header");
  }
  arena_.reset();
  const auto body = wire::decode<Response>(response->body, version, arena_);
  if (!body)
    return fail(body.error().code, name + ": the server's answer is malformed: " + body.error().reason);
  return *body;
}

Status ClusterClient::learn_versions() {
  const auto response = call<wire::ApiVersionsResponse>(wire::ApiVersionsRequest{});
  if (!response) return std::unexpected(response.error());
  if (response->error_code != wire::ErrorCode::none) {
    return std::unexpected(kafka_error("ApiVersions", response->error_code));
  }
  for (const auto& api : response->api_keys) server_max_[api.api_key] = api.max_version;
  return {};
}

Result<ClusterMap> ClusterClient::metadata(std::string_view topic) {
  const wire::MetadataRequest::Topic wanted[] = {{.topic_id = {}, .name = topic}};
  wire::MetadataRequest request;
  request.topics = wire::Array<wire::MetadataRequest::Topic>(wanted);
  request.allow_auto_topic_creation = false;
  const auto response = call<wire::MetadataResponse>(request);
  if (!response) return std::unexpected(response.error());
  ClusterMap map;
  for (const auto& broker : response->brokers) {
    map.brokers.push_back({.id = broker.node_id,
                           .address = {std::string(broker.host), static_cast<std::uint16_t>(broker.port)}});
  }
  if (response->topics.size() != 1)
    return fail(Errc::corruption, "Metadata: asked for one topic, got another number");
  const auto& found = response->topics.front();
  if (found.error_code != wire::ErrorCode::none &&
      found.error_code != wire::ErrorCode::leader_not_available) {
    return std::unexpected(kafka_error("topic '" + std::string(topic) + "'", found.error_code));
  }
  map.leaders.assign(found.partitions.size(), -1);
  for (const auto& partition : found.partitions) {
    const auto index = static_cast<std::size_t>(partition.partition_index);
    if (index < map.leaders.size()) map.leaders[index] = partition.leader_id;
  }
  return map;
}

// Topics are created by the controller; from here on this client talks to it.
Status ClusterClient::go_to_controller() {
  wire::MetadataRequest request;
  request.topics = wire::Array<wire::MetadataRequest::Topic>{};
  request.allow_auto_topic_creation = false;
  const auto response = call<wire::MetadataResponse>(request);
  if (!response) return std::unexpected(response.error());
  for (const auto& broker : response->brokers) {
    if (broker.node_id != response->controller_id) continue;
    auto connection = Connection::open({std::string(broker.host), static_cast<std::uint16_t>(broker.port)},
                                       kConnectTimeout);
    if (!connection) return std::unexpected(connection.error());
    connection_ = std::move(*connection);
    return {};
  }
  return {};  // none named: whoever is asked will say so
}

Status ClusterClient::create_topic(const Options& options) {
  const std::string& topic = options.topic;
  std::vector<wire::CreateTopicsRequest::Config> configs;
  for (const std::string& config : options.topic_configs) {
    const std::size_t equals = config.find('=');
    if (equals == std::string::npos)
      return fail(Errc::invalid_argument, "--topic-config " + config + ": KEY=VALUE is expected");
    configs.push_back({.name = std::string_view(config).substr(0, equals),
                       .value = std::string_view(config).substr(equals + 1)});
  }
  if (const Status status = go_to_controller(); !status) return status;
  wire::CreateTopicsRequest::Topic wanted[] = {{}};
  wanted[0].name = topic;
  wanted[0].num_partitions = static_cast<std::int32_t>(options.partitions);
  wanted[0].replication_factor = options.replication;
  wanted[0].configs = configs;
  wire::CreateTopicsRequest request;
  request.topics = wanted;
  const auto response = call<wire::CreateTopicsResponse>(request);
  if (!response) return std::unexpected(response.error());
  for (const auto& made : response->topics) {
    if (made.error_code == wire::ErrorCode::none || made.error_code == wire::ErrorCode::topic_already_exists)
      continue;
    return std::unexpected(
        kafka_error("cannot create topic '" + std::string(topic) + "'", made.error_code, made.error_message));
  }
  return {};
}

Result<ClusterMap> ClusterClient::wait_for_leaders(std::string_view topic, Nanos timeout) {
  const Nanos deadline = monotonic_nanos() + timeout;
  while (true) {
    auto map = metadata(topic);
    if (map && map->complete()) return map;
    if (!map && map.error().code != Errc::not_found) return map;
    if (monotonic_nanos() > deadline) {
      if (!map) return map;
      return fail(Errc::timeout, "topic '" + std::string(topic) + "' has partitions without a leader");
    }
    sleep_until(monotonic_nanos() + 20 * kMillisecond);
  }
}

Result<std::vector<std::int64_t>> ClusterClient::list_offsets(const ClusterMap& map, std::string_view topic,
                                                              std::int64_t timestamp) {
  std::vector<std::int64_t> offsets(map.leaders.size(), -1);
  for (const ClusterMap::Broker& broker : map.brokers) {
    std::vector<wire::ListOffsetsRequest::Partition> partitions;
    for (std::size_t i = 0; i < map.leaders.size(); ++i) {
      if (map.leaders[i] != broker.id) continue;
      partitions.push_back({.partition_index = static_cast<std::int32_t>(i), .timestamp = timestamp});
    }
    if (partitions.empty()) continue;
    auto client = open(broker.address);
    if (!client) return std::unexpected(client.error());
    const wire::ListOffsetsRequest::Topic topics[] = {{.name = topic, .partitions = partitions}};
    wire::ListOffsetsRequest request;
    request.topics = topics;
    const auto response = (*client)->call<wire::ListOffsetsResponse>(request);
    if (!response) return std::unexpected(response.error());
    for (const auto& answered : response->topics) {
      for (const auto& partition : answered.partitions) {
        if (partition.error_code != wire::ErrorCode::none) {
          return std::unexpected(kafka_error("ListOffsets", partition.error_code));
        }
        const auto index = static_cast<std::size_t>(partition.partition_index);
        if (index < offsets.size()) offsets[index] = partition.offset;
      }
    }
  }
  return offsets;
}

}  // namespace esc::bench
