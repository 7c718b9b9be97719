// OffsetDelete (key 47), version 0.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct OffsetDeleteRequest {
  static constexpr ApiKey kApi = ApiKey::offset_delete;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t partition_index = 0;

    static void describe(auto& field, auto& self) { field("partition_index", self.partition_index); }
  };
  struct Topic {
    String name{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partitions", self.partitions);
    }
  };

  String group_id{};
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id);
    field("topics", self.topics);
  }
};

struct OffsetDeleteResponse {
  static constexpr ApiKey kApi = ApiKey::offset_delete;
  static constexpr bool kIsRequest = false;

  struct Partition {
    std::int32_t partition_index = 0;
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("error_code", self.error_code);
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

  ErrorCode error_code = ErrorCode::none;
  std::int32_t throttle_time_ms = 0;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("error_code", self.error_code);
    field("throttle_time_ms", self.throttle_time_ms);
    field("topics", self.topics);
  }
};

}  // namespace esc::wire
