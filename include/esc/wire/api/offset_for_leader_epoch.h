// OffsetForLeaderEpoch (key 23), versions 2-4.
// Source: KIP-101, KIP-320.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct OffsetForLeaderEpochRequest {
  static constexpr ApiKey kApi = ApiKey::offset_for_leader_epoch;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t partition = 0;
    std::int32_t current_leader_epoch = -1;  // as the client believes; -1: it does not say
    std::int32_t leader_epoch = 0;           // whose end is asked for

    static void describe(auto& field, auto& self) {
      field("partition", self.partition);
      field("current_leader_epoch", self.current_leader_epoch);
      field("leader_epoch", self.leader_epoch);
    }
  };
  struct Topic {
    String topic{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("topic", self.topic);
      field("partitions", self.partitions);
    }
  };

  std::int32_t replica_id = -2;  // a client
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("replica_id", self.replica_id, {.since = 3});
    field("topics", self.topics);
  }
};

struct OffsetForLeaderEpochResponse {
  static constexpr ApiKey kApi = ApiKey::offset_for_leader_epoch;
  static constexpr bool kIsRequest = false;

  struct Partition {
    ErrorCode error_code = ErrorCode::none;
    std::int32_t partition = 0;
    std::int32_t leader_epoch = -1;
    std::int64_t end_offset = -1;

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("partition", self.partition);
      field("leader_epoch", self.leader_epoch);
      field("end_offset", self.end_offset);
    }
  };
  struct Topic {
    String topic{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("topic", self.topic);
      field("partitions", self.partitions);
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("topics", self.topics);
  }
};

}  // namespace esc::wire
