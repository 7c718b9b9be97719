// The APIs this server speaks. kApis is the single source for ApiVersions, for the header version of every
// request and response, and for the range a decoder accepts.
// Source: the message definitions of Apache Kafka (clients/src/main/resources/common/message).
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

namespace esc::wire {

enum class ApiKey : std::int16_t {
  produce = 0,
  fetch = 1,
  list_offsets = 2,
  metadata = 3,
  offset_commit = 8,
  offset_fetch = 9,
  find_coordinator = 10,
  join_group = 11,
  heartbeat = 12,
  leave_group = 13,
  sync_group = 14,
  describe_groups = 15,
  list_groups = 16,
  api_versions = 18,
  create_topics = 19,
  delete_topics = 20,
  delete_records = 21,
  init_producer_id = 22,
  offset_for_leader_epoch = 23,
  describe_configs = 32,
  alter_configs = 33,
  describe_log_dirs = 35,
  create_partitions = 37,
  delete_groups = 42,
  incremental_alter_configs = 44,
  offset_delete = 47,
  describe_cluster = 60,
  // From 20000 on: not Kafka's but our own, never advertised.
  node_status = 20000,
  group_lag = 20001,
  describe_nodes = 20002,
  alter_nodes = 20003,
};

// Of APIs without flexible versions.
inline constexpr std::int16_t kNeverFlexible = std::numeric_limits<std::int16_t>::max();

struct ApiInfo {
  ApiKey key;
  std::string_view name;
  std::int16_t min;             // lowest version the codecs speak
  std::int16_t max;             // highest
  std::int16_t flexible_from;   // first flexible version (KIP-482)
  std::int16_t min_advertised;  // what ApiVersions says; may be lower than min, see Produce

  [[nodiscard]] constexpr bool supports(std::int16_t version) const {
    return version >= min && version <= max;
  }
  [[nodiscard]] constexpr bool flexible(std::int16_t version) const { return version >= flexible_from; }
  // Header versions: requests v1 or v2, responses v0 or v1. The ApiVersions response header is always v0, so
  // that a client can read the answer to a version the server does not know (KIP-511).
  [[nodiscard]] constexpr int request_header_version(std::int16_t version) const {
    return flexible(version) ? 2 : 1;
  }
  [[nodiscard]] constexpr int response_header_version(std::int16_t version) const {
    return flexible(version) && key != ApiKey::api_versions ? 1 : 0;
  }
};

// Ordered by key. Produce advertises 0 although 0-2 are refused: librdkafka 2.0 turns compression off when
// the minimum is above 2. JoinGroup keeps 0 for the same kind of reason.
inline constexpr std::array kApis = {
    ApiInfo{ApiKey::produce, "Produce", 3, 9, 9, 0},
    ApiInfo{ApiKey::fetch, "Fetch", 4, 17, 12, 4},
    ApiInfo{ApiKey::list_offsets, "ListOffsets", 1, 9, 6, 1},
    ApiInfo{ApiKey::metadata, "Metadata", 0, 12, 9, 0},
    ApiInfo{ApiKey::offset_commit, "OffsetCommit", 2, 8, 8, 2},
    ApiInfo{ApiKey::offset_fetch, "OffsetFetch", 1, 8, 6, 1},
    ApiInfo{ApiKey::find_coordinator, "FindCoordinator", 0, 4, 3, 0},
    ApiInfo{ApiKey::join_group, "JoinGroup", 0, 9, 6, 0},
    ApiInfo{ApiKey::heartbeat, "Heartbeat", 0, 4, 4, 0},
    ApiInfo{ApiKey::leave_group, "LeaveGroup", 0, 5, 4, 0},
    ApiInfo{ApiKey::sync_group, "SyncGroup", 0, 5, 4, 0},
    ApiInfo{ApiKey::describe_groups, "DescribeGroups", 0, 5, 5, 0},
    ApiInfo{ApiKey::list_groups, "ListGroups", 0, 4, 3, 0},
    ApiInfo{ApiKey::api_versions, "ApiVersions", 0, 4, 3, 0},
    ApiInfo{ApiKey::create_topics, "CreateTopics", 2, 7, 5, 2},
    ApiInfo{ApiKey::delete_topics, "DeleteTopics", 1, 6, 4, 1},
    ApiInfo{ApiKey::delete_records, "DeleteRecords", 0, 2, 2, 0},
    ApiInfo{ApiKey::init_producer_id, "InitProducerId", 0, 4, 2, 0},
    ApiInfo{ApiKey::offset_for_leader_epoch, "OffsetForLeaderEpoch", 2, 4, 4, 2},
    ApiInfo{ApiKey::describe_configs, "DescribeConfigs", 1, 4, 4, 1},
    ApiInfo{ApiKey::alter_configs, "AlterConfigs", 0, 2, 2, 0},
    ApiInfo{ApiKey::describe_log_dirs, "DescribeLogDirs", 1, 4, 2, 1},
    ApiInfo{ApiKey::create_partitions, "CreatePartitions", 0, 3, 2, 0},
    ApiInfo{ApiKey::delete_groups, "DeleteGroups", 0, 2, 2, 0},
    ApiInfo{ApiKey::incremental_alter_configs, "IncrementalAlterConfigs", 0, 1, 1, 0},
    ApiInfo{ApiKey::offset_delete, "OffsetDelete", 0, 0, kNeverFlexible, 0},
    ApiInfo{ApiKey::describe_cluster, "DescribeCluster", 0, 1, 0, 0},
    ApiInfo{ApiKey::node_status, "NodeStatus", 0, 0, 0, 0},
    ApiInfo{ApiKey::group_lag, "GroupLag", 0, 0, 0, 0},
    ApiInfo{ApiKey::describe_nodes, "DescribeNodes", 0, 0, 0, 0},
    ApiInfo{ApiKey::alter_nodes, "AlterNodes", 0, 0, 0, 0},
};

// The entry of a key that came off the wire; null when this server does not know it.
[[nodiscard]] constexpr const ApiInfo* find_api(std::int16_t key) {
  for (const ApiInfo& api : kApis) {
    if (static_cast<std::int16_t>(api.key) == key) return &api;
  }
  return nullptr;
}
// The entry of a key that is known to be in the table.
[[nodiscard]] constexpr const ApiInfo& api_info(ApiKey key) {
  return *find_api(static_cast<std::int16_t>(key));
}

}  // namespace esc::wire
