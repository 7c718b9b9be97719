// Fetch (key 1), versions 4-12. Fetch sessions (KIP-227) are carried, not interpreted.
#pragma once

#include <limits>

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct FetchRequest {
  static constexpr ApiKey kApi = ApiKey::fetch;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t partition = 0;
    std::int32_t current_leader_epoch = -1;
    std::int64_t fetch_offset = 0;
    std::int32_t last_fetched_epoch = -1;
    std::int64_t log_start_offset = -1;
    std::int32_t partition_max_bytes = 0;
    Uuid replica_directory_id{};  // tagged; followers of Kafka's own

    static void describe(auto& field, auto& self) {
      field("partition", self.partition);
      field("current_leader_epoch", self.current_leader_epoch, {.since = 9});
      field("fetch_offset", self.fetch_offset);
      field("last_fetched_epoch", self.last_fetched_epoch, {.since = 12});
      field("log_start_offset", self.log_start_offset, {.since = 5});
      field("partition_max_bytes", self.partition_max_bytes);
    }
    static void describe_tagged(auto& field, auto& self) {
      field(0, "replica_directory_id", self.replica_directory_id, {.since = 17});
    }
  };
  struct Topic {
    String topic{};
    Uuid topic_id{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("topic", self.topic, {.until = 12});
      field("topic_id", self.topic_id, {.since = 13});
      field("partitions", self.partitions);
    }
  };
  struct ForgottenTopic {
    String topic{};
    Uuid topic_id{};
    Array<std::int32_t> partitions{};

    static void describe(auto& field, auto& self) {
      field("topic", self.topic, {.since = 7, .until = 12});
      field("topic_id", self.topic_id, {.since = 13});
      field("partitions", self.partitions, {.since = 7});
    }
  };

  struct ReplicaState {
    std::int32_t replica_id = -1;
    std::int64_t replica_epoch = -1;

    friend bool operator==(const ReplicaState&, const ReplicaState&) = default;
    static void describe(auto& field, auto& self) {
      field("replica_id", self.replica_id, {.since = 15});
      field("replica_epoch", self.replica_epoch, {.since = 15});
    }
  };

  NullableString cluster_id{};   // tagged
  ReplicaState replica_state{};  // tagged
  std::int32_t replica_id = -1;
  std::int32_t max_wait_ms = 0;
  std::int32_t min_bytes = 0;
  std::int32_t max_bytes = std::numeric_limits<std::int32_t>::max();
  std::int8_t isolation_level = 0;  // 0 read uncommitted, 1 read committed
  std::int32_t session_id = 0;
  std::int32_t session_epoch = -1;
  Array<Topic> topics{};
  Array<ForgottenTopic> forgotten_topics_data{};
  String rack_id{};

  static void describe(auto& field, auto& self) {
    field("replica_id", self.replica_id, {.until = 14});
    field("max_wait_ms", self.max_wait_ms);
    field("min_bytes", self.min_bytes);
    field("max_bytes", self.max_bytes);
    field("isolation_level", self.isolation_level);
    field("session_id", self.session_id, {.since = 7});
    field("session_epoch", self.session_epoch, {.since = 7});
    field("topics", self.topics);
    field("forgotten_topics_data", self.forgotten_topics_data, {.since = 7});
    field("rack_id", self.rack_id, {.since = 11});
  }
  static void describe_tagged(auto& field, auto& self) {
    field(0, "cluster_id", self.cluster_id, {.since = 12, .nullable_since = 12});
    field(1, "replica_state", self.replica_state, {.since = 15});
  }
};

struct FetchResponse {
  static constexpr ApiKey kApi = ApiKey::fetch;
  static constexpr bool kIsRequest = false;

  struct EpochEndOffset {
    std::int32_t epoch = -1;
    std::int64_t end_offset = -1;

    friend bool operator==(const EpochEndOffset&, const EpochEndOffset&) = default;
    static void describe(auto& field, auto& self) {
      field("epoch", self.epoch, {.since = 12});
      field("end_offset", self.end_offset, {.since = 12});
    }
  };
  struct LeaderIdAndEpoch {
    std::int32_t leader_id = -1;
    std::int32_t leader_epoch = -1;

    friend bool operator==(const LeaderIdAndEpoch&, const LeaderIdAndEpoch&) = default;
    static void describe(auto& field, auto& self) {
      field("leader_id", self.leader_id, {.since = 12});
      field("leader_epoch", self.leader_epoch, {.since = 12});
    }
  };
  struct AbortedTransaction {
    std::int64_t producer_id = 0;
    std::int64_t first_offset = 0;

    static void describe(auto& field, auto& self) {
      field("producer_id", self.producer_id);
      field("first_offset", self.first_offset);
    }
  };
  struct Partition {
    std::int32_t partition_index = 0;
    ErrorCode error_code = ErrorCode::none;
    std::int64_t high_watermark = 0;
    std::int64_t last_stable_offset = -1;
    std::int64_t log_start_offset = -1;
    EpochEndOffset diverging_epoch{};   // tagged
    LeaderIdAndEpoch current_leader{};  // tagged
    NullableArray<AbortedTransaction> aborted_transactions{};
    std::int32_t preferred_read_replica = -1;
    Records records{};  // not copied by a gathering Writer

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("error_code", self.error_code);
      field("high_watermark", self.high_watermark);
      field("last_stable_offset", self.last_stable_offset);
      field("log_start_offset", self.log_start_offset, {.since = 5});
      field("aborted_transactions", self.aborted_transactions, {.nullable_since = 4});
      field("preferred_read_replica", self.preferred_read_replica, {.since = 11});
      field("records", self.records, {.nullable_since = 0});
    }
    static void describe_tagged(auto& field, auto& self) {
      field(0, "diverging_epoch", self.diverging_epoch, {.since = 12});
      field(1, "current_leader", self.current_leader, {.since = 12});
    }
  };
  struct Topic {
    String topic{};
    Uuid topic_id{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("topic", self.topic, {.until = 12});
      field("topic_id", self.topic_id, {.since = 13});
      field("partitions", self.partitions);
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  std::int32_t session_id = 0;
  Array<Topic> responses{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("error_code", self.error_code, {.since = 7});
    field("session_id", self.session_id, {.since = 7});
    field("responses", self.responses);
  }
};

}  // namespace esc::wire
