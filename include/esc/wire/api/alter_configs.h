// AlterConfigs (key 33), versions 0-2.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct AlterConfigsRequest {
  static constexpr ApiKey kApi = ApiKey::alter_configs;
  static constexpr bool kIsRequest = true;

  struct Resource {
    struct Config {
      String name{};
      NullableString value{};

      static void describe(auto& field, auto& self) {
        field("name", self.name);
        field("value", self.value, {.nullable_since = 0});
      }
    };
    std::int8_t resource_type = 0;
    String resource_name{};
    Array<Config> configs{};

    static void describe(auto& field, auto& self) {
      field("resource_type", self.resource_type);
      field("resource_name", self.resource_name);
      field("configs", self.configs);
    }
  };

  Array<Resource> resources{};
  bool validate_only = false;

  static void describe(auto& field, auto& self) {
    field("resources", self.resources);
    field("validate_only", self.validate_only);
  }
};

struct AlterConfigsResponse {
  static constexpr ApiKey kApi = ApiKey::alter_configs;
  static constexpr bool kIsRequest = false;

  struct Resource {
    ErrorCode error_code = ErrorCode::none;
    NullableString error_message{};
    std::int8_t resource_type = 0;
    String resource_name{};

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("error_message", self.error_message, {.nullable_since = 0});
      field("resource_type", self.resource_type);
      field("resource_name", self.resource_name);
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Resource> responses{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("responses", self.responses);
  }
};

}  // namespace esc::wire
