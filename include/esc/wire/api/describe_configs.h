// DescribeConfigs (key 32), versions 1-4.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DescribeConfigsRequest {
  static constexpr ApiKey kApi = ApiKey::describe_configs;
  static constexpr bool kIsRequest = true;

  struct Resource {
    std::int8_t resource_type = 0;  // 2 topic, 4 broker
    String resource_name{};
    NullableArray<String> configuration_keys{};  // null: all

    static void describe(auto& field, auto& self) {
      field("resource_type", self.resource_type);
      field("resource_name", self.resource_name);
      field("configuration_keys", self.configuration_keys, {.nullable_since = 0});
    }
  };

  Array<Resource> resources{};
  bool include_synonyms = false;
  bool include_documentation = false;

  static void describe(auto& field, auto& self) {
    field("resources", self.resources);
    field("include_synonyms", self.include_synonyms);
    field("include_documentation", self.include_documentation, {.since = 3});
  }
};

struct DescribeConfigsResponse {
  static constexpr ApiKey kApi = ApiKey::describe_configs;
  static constexpr bool kIsRequest = false;

  struct Synonym {
    String name{};
    NullableString value{};
    std::int8_t source = 0;

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("value", self.value, {.nullable_since = 0});
      field("source", self.source);
    }
  };
  struct Config {
    String name{};
    NullableString value{};
    bool read_only = false;
    std::int8_t config_source = -1;  // 1 topic, 4 static broker, 5 default
    bool is_sensitive = false;
    Array<Synonym> synonyms{};
    std::int8_t config_type =
        0;  // 1 boolean, 2 string, 3 int, 4 short, 5 long, 6 double, 7 list, 8 class, 9 password
    NullableString documentation{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("value", self.value, {.nullable_since = 0});
      field("read_only", self.read_only);
      field("config_source", self.config_source);
      field("is_sensitive", self.is_sensitive);
      field("synonyms", self.synonyms);
      field("config_type", self.config_type, {.since = 3});
      field("documentation", self.documentation, {.since = 3, .nullable_since = 0});
    }
  };
  struct Resource {
    ErrorCode error_code = ErrorCode::none;
    NullableString error_message{};
    std::int8_t resource_type = 0;
    String resource_name{};
    Array<Config> configs{};

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("error_message", self.error_message, {.nullable_since = 0});
      field("resource_type", self.resource_type);
      field("resource_name", self.resource_name);
      field("configs", self.configs);
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Resource> results{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("results", self.results);
  }
};

}  // namespace esc::wire
