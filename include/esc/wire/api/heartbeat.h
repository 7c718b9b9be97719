// Heartbeat (key 12), versions 0-4.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct HeartbeatRequest {
  static constexpr ApiKey kApi = ApiKey::heartbeat;
  static constexpr bool kIsRequest = true;

  String group_id{};
  std::int32_t generation_id = 0;
  String member_id{};
  NullableString group_instance_id{};

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id);
    field("generation_id", self.generation_id);
    field("member_id", self.member_id);
    field("group_instance_id", self.group_instance_id, {.since = 3, .nullable_since = 3});
  }
};

struct HeartbeatResponse {
  static constexpr ApiKey kApi = ApiKey::heartbeat;
  static constexpr bool kIsRequest = false;

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
    field("error_code", self.error_code);
  }
};

}  // namespace esc::wire
