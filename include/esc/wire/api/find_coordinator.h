// FindCoordinator (key 10), versions 0-4.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct FindCoordinatorRequest {
  static constexpr ApiKey kApi = ApiKey::find_coordinator;
  static constexpr bool kIsRequest = true;

  String key{};                      // up to v3
  std::int8_t key_type = 0;          // 0 group, 1 transaction
  Array<String> coordinator_keys{};  // from v4

  static void describe(auto& field, auto& self) {
    field("key", self.key, {.until = 3});
    field("key_type", self.key_type, {.since = 1});
    field("coordinator_keys", self.coordinator_keys, {.since = 4});
  }
};

struct FindCoordinatorResponse {
  static constexpr ApiKey kApi = ApiKey::find_coordinator;
  static constexpr bool kIsRequest = false;

  struct Coordinator {
    String key{};
    std::int32_t node_id = 0;
    String host{};
    std::int32_t port = 0;
    ErrorCode error_code = ErrorCode::none;
    NullableString error_message{};

    static void describe(auto& field, auto& self) {
      field("key", self.key);
      field("node_id", self.node_id);
      field("host", self.host);
      field("port", self.port);
      field("error_code", self.error_code);
      field("error_message", self.error_message, {.nullable_since = 4});
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  NullableString error_message{};
  std::int32_t node_id = 0;
  String host{};
  std::int32_t port = 0;
  Array<Coordinator> coordinators{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
    field("error_code", self.error_code, {.until = 3});
    field("error_message", self.error_message, {.since = 1, .until = 3, .nullable_since = 1});
    field("node_id", self.node_id, {.until = 3});
    field("host", self.host, {.until = 3});
    field("port", self.port, {.until = 3});
    field("coordinators", self.coordinators, {.since = 4});
  }
};

}  // namespace esc::wire
