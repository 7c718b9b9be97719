// DescribeLogDirs (key 35), versions 1-4.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DescribeLogDirsRequest {
  static constexpr ApiKey kApi = ApiKey::describe_log_dirs;
  static constexpr bool kIsRequest = true;

  struct Topic {
    String topic{};
    Array<std::int32_t> partitions{};

    static void describe(auto& field, auto& self) {
      field("topic", self.topic);
      field("partitions", self.partitions);
    }
  };

  NullableArray<Topic> topics{};  // null: all

  static void describe(auto& field, auto& self) { field("topics", self.topics, {.nullable_since = 0}); }
};

struct DescribeLogDirsResponse {
  static constexpr ApiKey kApi = ApiKey::describe_log_dirs;
  static constexpr bool kIsRequest = false;

  struct Partition {
    std::int32_t partition_index = 0;
    std::int64_t partition_size = 0;
    std::int64_t offset_lag = 0;
    bool is_future_key = false;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("partition_size", self.partition_size);
      field("offset_lag", self.offset_lag);
      field("is_future_key", self.is_future_key);
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
  struct Result {
    ErrorCode error_code = ErrorCode::none;
    String log_dir{};
    Array<Topic> topics{};
    std::int64_t total_bytes = -1;
    std::int64_t usable_bytes = -1;

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("log_dir", self.log_dir);
      field("topics", self.topics);
      field("total_bytes", self.total_bytes, {.since = 4});
      field("usable_bytes", self.usable_bytes, {.since = 4});
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  Array<Result> results{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("error_code", self.error_code, {.since = 3});
    field("results", self.results);
  }
};

}  // namespace esc::wire
