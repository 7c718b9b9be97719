// CreateTopics (key 19), versions 2-7.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct CreateTopicsRequest {
  static constexpr ApiKey kApi = ApiKey::create_topics;
  static constexpr bool kIsRequest = true;

  struct Assignment {
    std::int32_t partition_index = 0;
    Array<std::int32_t> broker_ids{};

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("broker_ids", self.broker_ids);
    }
  };
  struct Config {
    String name{};
    NullableString value{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("value", self.value, {.nullable_since = 0});
    }
  };
  struct Topic {
    String name{};
    std::int32_t num_partitions = 0;
    std::int16_t replication_factor = 0;
    Array<Assignment> assignments{};
    Array<Config> configs{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("num_partitions", self.num_partitions);
      field("replication_factor", self.replication_factor);
      field("assignments", self.assignments);
      field("configs", self.configs);
    }
  };

  Array<Topic> topics{};
  std::int32_t timeout_ms = 60000;
  bool validate_only = false;

  static void describe(auto& field, auto& self) {
    field("topics", self.topics);
    field("timeout_ms", self.timeout_ms);
    field("validate_only", self.validate_only);
  }
};

struct CreateTopicsResponse {
  static constexpr ApiKey kApi = ApiKey::create_topics;
  static constexpr bool kIsRequest = false;

  struct Config {
    String name{};
    NullableString value{};
    bool read_only = false;
    std::int8_t config_source = -1;
    bool is_sensitive = false;

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("value", self.value, {.nullable_since = 5});
      field("read_only", self.read_only);
      field("config_source", self.config_source);
      field("is_sensitive", self.is_sensitive);
    }
  };
  struct Topic {
    String name{};
    Uuid topic_id{};
    ErrorCode error_code = ErrorCode::none;
    NullableString error_message{};
    ErrorCode topic_config_error_code = ErrorCode::none;  // tagged
    std::int32_t num_partitions = -1;
    std::int16_t replication_factor = -1;
    NullableArray<Config> configs{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("topic_id", self.topic_id, {.since = 7});
      field("error_code", self.error_code);
      field("error_message", self.error_message, {.nullable_since = 0});
      field("num_partitions", self.num_partitions, {.since = 5});
      field("replication_factor", self.replication_factor, {.since = 5});
      field("configs", self.configs, {.since = 5, .nullable_since = 5});
    }
    static void describe_tagged(auto& field, auto& self) {
      field(0, "topic_config_error_code", self.topic_config_error_code, {.since = 5});
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
