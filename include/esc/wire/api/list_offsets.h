// ListOffsets (key 2), versions 1-7.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

// Special timestamps of a ListOffsets request.
inline constexpr std::int64_t kLatestTimestamp = -1;
inline constexpr std::int64_t kEarliestTimestamp = -2;
inline constexpr std::int64_t kEarliestLocalTimestamp = -4;  // v8 and later (KIP-405): all is local here
inline constexpr std::int64_t kMaxTimestamp = -3;            // v7 and later (KIP-734)

struct ListOffsetsRequest {
  static constexpr ApiKey kApi = ApiKey::list_offsets;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t partition_index = 0;
    std::int32_t current_leader_epoch = -1;
    std::int64_t timestamp = 0;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("current_leader_epoch", self.current_leader_epoch, {.since = 4});
      field("timestamp", self.timestamp);
    }
  };
  struct Topic {
    String name{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partitions", self.partitions);
    }
  };

  std::int32_t replica_id = -1;
  std::int8_t isolation_level = 0;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("replica_id", self.replica_id);
    field("isolation_level", self.isolation_level, {.since = 2});
    field("topics", self.topics);
  }
};

struct ListOffsetsResponse {
  static constexpr ApiKey kApi = ApiKey::list_offsets;
  static constexpr bool kIsRequest = false;

  struct Partition {
    std::int32_t partition_index = 0;
    ErrorCode error_code = ErrorCode::none;
    std::int64_t timestamp = -1;
    std::int64_t offset = -1;
    std::int32_t leader_epoch = -1;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("error_code", self.error_code);
      field("timestamp", self.timestamp);
      field("offset", self.offset);
      field("leader_epoch", self.leader_epoch, {.since = 4});
    }
  };
  struct Topic {
    String name{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partitions", self.partitions);
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 2});
    field("topics", self.topics);
  }
};

}  // namespace esc::wire
