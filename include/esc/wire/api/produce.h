// Produce (key 0), versions 3-9.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct ProduceRequest {
  static constexpr ApiKey kApi = ApiKey::produce;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t index = 0;
    NullableBytes records{};  // exactly one record batch v2; see record_batch.h

    static void describe(auto& field, auto& self) {
      field("index", self.index);
      field("records", self.records, {.nullable_since = 0});
    }
  };
  struct Topic {
    String name{};
    Array<Partition> partition_data{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partition_data", self.partition_data);
    }
  };

  NullableString transactional_id{};
  std::int16_t acks = 0;  // 0, 1, or -1 for all
  std::int32_t timeout_ms = 0;
  Array<Topic> topic_data{};

  static void describe(auto& field, auto& self) {
    field("transactional_id", self.transactional_id, {.since = 3, .nullable_since = 3});
    field("acks", self.acks);
    field("timeout_ms", self.timeout_ms);
    field("topic_data", self.topic_data);
  }
};

struct ProduceResponse {
  static constexpr ApiKey kApi = ApiKey::produce;
  static constexpr bool kIsRequest = false;

  struct RecordError {
    std::int32_t batch_index = 0;
    NullableString batch_index_error_message{};

    static void describe(auto& field, auto& self) {
      field("batch_index", self.batch_index, {.since = 8});
      field("batch_index_error_message", self.batch_index_error_message, {.since = 8, .nullable_since = 8});
    }
  };
  struct Partition {
    std::int32_t index = 0;
    ErrorCode error_code = ErrorCode::none;
    std::int64_t base_offset = 0;
    std::int64_t log_append_time_ms = -1;  // -1 unless the topic stamps LogAppendTime
    std::int64_t log_start_offset = -1;
    Array<RecordError> record_errors{};
    NullableString error_message{};

    static void describe(auto& field, auto& self) {
      field("index", self.index);
      field("error_code", self.error_code);
      field("base_offset", self.base_offset);
      field("log_append_time_ms", self.log_append_time_ms, {.since = 2});
      field("log_start_offset", self.log_start_offset, {.since = 5});
      field("record_errors", self.record_errors, {.since = 8});
      field("error_message", self.error_message, {.since = 8, .nullable_since = 8});
    }
  };
  struct Topic {
    String name{};
    Array<Partition> partition_responses{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partition_responses", self.partition_responses);
    }
  };

  Array<Topic> responses{};
  std::int32_t throttle_time_ms = 0;

  static void describe(auto& field, auto& self) {
    field("responses", self.responses);
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
  }
};

}  // namespace esc::wire
