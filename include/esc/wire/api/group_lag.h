// GroupLag (key 20001), version 0: our own, for esctl. How far a consumer group is behind, as its
// coordinator's node knows it. docs/PROTOCOL.md says what the fields mean.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct GroupLagRequest {
  static constexpr ApiKey kApi = ApiKey::group_lag;
  static constexpr bool kIsRequest = true;

  String group_id{};

  static void describe(auto& field, auto& self) { field("group_id", self.group_id); }
};

struct GroupLagResponse {
  static constexpr ApiKey kApi = ApiKey::group_lag;
  static constexpr bool kIsRequest = false;

  struct Partition {
    ErrorCode error_code = ErrorCode::none;
    String topic{};
    std::int32_t partition_index = 0;
    std::int64_t committed_offset = -1;
    std::int64_t committed_ms = -1;  // when, log time
    std::int64_t log_start_offset = -1;
    std::int64_t log_end_offset = -1;  // one past the last committed record
    std::int64_t lag_events = -1;      // -1: unknown
    std::int64_t lag_ms = -1;          // since the first record not consumed was written; -1: unknown

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("topic", self.topic);
      field("partition_index", self.partition_index);
      field("committed_offset", self.committed_offset);
      field("committed_ms", self.committed_ms);
      field("log_start_offset", self.log_start_offset);
      field("log_end_offset", self.log_end_offset);
      field("lag_events", self.lag_events);
      field("lag_ms", self.lag_ms);
    }
  };

  ErrorCode error_code = ErrorCode::none;
  std::int32_t generation_id = 0;
  String group_state{};
  Array<Partition> partitions{};  // those with a committed offset, by topic and partition

  static void describe(auto& field, auto& self) {
    field("error_code", self.error_code);
    field("generation_id", self.generation_id);
    field("group_state", self.group_state);
    field("partitions", self.partitions);
  }
};

}  // namespace esc::wire
