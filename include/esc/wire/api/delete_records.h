// DeleteRecords (key 21), versions 0-2.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DeleteRecordsRequest {
  static constexpr ApiKey kApi = ApiKey::delete_records;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t partition_index = 0;
    std::int64_t offset = 0;  // records below it go; -1: all up to the high watermark

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("offset", self.offset);
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

  Array<Topic> topics{};
  std::int32_t timeout_ms = 0;

  static void describe(auto& field, auto& self) {
    field("topics", self.topics);
    field("timeout_ms", self.timeout_ms);
  }
};

struct DeleteRecordsResponse {
  static constexpr ApiKey kApi = ApiKey::delete_records;
  static constexpr bool kIsRequest = false;

  struct Partition {
    std::int32_t partition_index = 0;
    std::int64_t low_watermark = -1;
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("low_watermark", self.low_watermark);
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

  std::int32_t throttle_time_ms = 0;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("topics", self.topics);
  }
};

}  // namespace esc::wire
