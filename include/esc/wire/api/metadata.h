// Metadata (key 3), versions 0-12.
#pragma once

#include <limits>

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

// "Not asked for" in the authorized-operations bit fields (KIP-430).
inline constexpr std::int32_t kNoAuthorizedOperations = std::numeric_limits<std::int32_t>::min();

struct MetadataRequest {
  static constexpr ApiKey kApi = ApiKey::metadata;
  static constexpr bool kIsRequest = true;

  struct Topic {
    Uuid topic_id{};
    NullableString name{};

    static void describe(auto& field, auto& self) {
      field("topic_id", self.topic_id, {.since = 10});
      field("name", self.name, {.nullable_since = 10});
    }
  };

  // v0: an empty array asks for all topics. v1 and later: null asks for all, empty for none.
  NullableArray<Topic> topics{};
  bool allow_auto_topic_creation = true;
  bool include_cluster_authorized_operations = false;
  bool include_topic_authorized_operations = false;

  static void describe(auto& field, auto& self) {
    field("topics", self.topics, {.nullable_since = 1});
    field("allow_auto_topic_creation", self.allow_auto_topic_creation, {.since = 4});
    field("include_cluster_authorized_operations", self.include_cluster_authorized_operations,
          {.since = 8, .until = 10});
    field("include_topic_authorized_operations", self.include_topic_authorized_operations, {.since = 8});
  }
};

struct MetadataResponse {
  static constexpr ApiKey kApi = ApiKey::metadata;
  static constexpr bool kIsRequest = false;

  struct Broker {
    std::int32_t node_id = 0;
    String host{};
    std::int32_t port = 0;
    NullableString rack{};

    static void describe(auto& field, auto& self) {
      field("node_id", self.node_id);
      field("host", self.host);
      field("port", self.port);
      field("rack", self.rack, {.since = 1, .nullable_since = 1});
    }
  };
  struct Partition {
    ErrorCode error_code = ErrorCode::none;
    std::int32_t partition_index = 0;
    std::int32_t leader_id = 0;
    std::int32_t leader_epoch = -1;
    Array<std::int32_t> replica_nodes{};
    Array<std::int32_t> isr_nodes{};
    Array<std::int32_t> offline_replicas{};

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("partition_index", self.partition_index);
      field("leader_id", self.leader_id);
      field("leader_epoch", self.leader_epoch, {.since = 7});
      field("replica_nodes", self.replica_nodes);
      field("isr_nodes", self.isr_nodes);
      field("offline_replicas", self.offline_replicas, {.since = 5});
    }
  };
  struct Topic {
    ErrorCode error_code = ErrorCode::none;
    NullableString name{};  // null from v12, for an unknown topic id
    Uuid topic_id{};
    bool is_internal = false;
    Array<Partition> partitions{};
    std::int32_t topic_authorized_operations = kNoAuthorizedOperations;

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("name", self.name, {.nullable_since = 12});
      field("topic_id", self.topic_id, {.since = 10});
      field("is_internal", self.is_internal, {.since = 1});
      field("partitions", self.partitions);
      field("topic_authorized_operations", self.topic_authorized_operations, {.since = 8});
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Broker> brokers{};
  NullableString cluster_id{};
  std::int32_t controller_id = -1;  // must be one of `brokers`, or clients keep asking
  Array<Topic> topics{};
  std::int32_t cluster_authorized_operations = kNoAuthorizedOperations;

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 3});
    field("brokers", self.brokers);
    field("cluster_id", self.cluster_id, {.since = 2, .nullable_since = 2});
    field("controller_id", self.controller_id, {.since = 1});
    field("topics", self.topics);
    field("cluster_authorized_operations", self.cluster_authorized_operations, {.since = 8, .until = 10});
  }
};

}  // namespace esc::wire
