// DeleteTopics (key 20), versions 1-6.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DeleteTopicsRequest {
  static constexpr ApiKey kApi = ApiKey::delete_topics;
  static constexpr bool kIsRequest = true;

  struct Topic {
    NullableString name{};
    Uuid topic_id{};

    static void describe(auto& field, auto& self) {
      field("name", self.name, {.nullable_since = 6});
      field("topic_id", self.topic_id);
    }
  };

  Array<Topic> topics{};
  Array<String> topic_names{};
  std::int32_t timeout_ms = 0;

  static void describe(auto& field, auto& self) {
    field("topics", self.topics, {.since = 6});
    field("topic_names", self.topic_names, {.until = 5});
    field("timeout_ms", self.timeout_ms);
  }
};

struct DeleteTopicsResponse {
  static constexpr ApiKey kApi = ApiKey::delete_topics;
  static constexpr bool kIsRequest = false;

  struct Topic {
    NullableString name{};
    Uuid topic_id{};
    ErrorCode error_code = ErrorCode::none;
    NullableString error_message{};

    static void describe(auto& field, auto& self) {
      field("name", self.name, {.nullable_since = 6});
      field("topic_id", self.topic_id, {.since = 6});
      field("error_code", self.error_code);
      field("error_message", self.error_message, {.since = 5, .nullable_since = 5});
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Topic> responses{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("responses", self.responses);
  }
};

}  // namespace esc::wire
