// CreatePartitions (key 37), versions 0-3.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct CreatePartitionsRequest {
  static constexpr ApiKey kApi = ApiKey::create_partitions;
  static constexpr bool kIsRequest = true;

  struct Assignment {
    Array<std::int32_t> broker_ids{};

    static void describe(auto& field, auto& self) { field("broker_ids", self.broker_ids); }
  };
  struct Topic {
    String name{};
    std::int32_t count = 0;
    NullableArray<Assignment> assignments{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("count", self.count);
      field("assignments", self.assignments, {.nullable_since = 0});
    }
  };

  Array<Topic> topics{};
  std::int32_t timeout_ms = 0;
  bool validate_only = false;

  static void describe(auto& field, auto& self) {
    field("topics", self.topics);
    field("timeout_ms", self.timeout_ms);
    field("validate_only", self.validate_only);
  }
};

struct CreatePartitionsResponse {
  static constexpr ApiKey kApi = ApiKey::create_partitions;
  static constexpr bool kIsRequest = false;

  struct Topic {
    String name{};
    ErrorCode error_code = ErrorCode::none;
    NullableString error_message{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("error_code", self.error_code);
      field("error_message", self.error_message, {.nullable_since = 0});
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Topic> results{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("results", self.results);
  }
};

}  // namespace esc::wire
