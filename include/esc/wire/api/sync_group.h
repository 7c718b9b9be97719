// SyncGroup (key 14), versions 0-5.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct SyncGroupRequest {
  static constexpr ApiKey kApi = ApiKey::sync_group;
  static constexpr bool kIsRequest = true;

  struct Assignment {
    String member_id{};
    Bytes assignment{};

    static void describe(auto& field, auto& self) {
      field("member_id", self.member_id);
      field("assignment", self.assignment);
    }
  };

  String group_id{};
  std::int32_t generation_id = 0;
  String member_id{};
  NullableString group_instance_id{};
  NullableString protocol_type{};
  NullableString protocol_name{};
  Array<Assignment> assignments{};

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id);
    field("generation_id", self.generation_id);
    field("member_id", self.member_id);
    field("group_instance_id", self.group_instance_id, {.since = 3, .nullable_since = 3});
    field("protocol_type", self.protocol_type, {.since = 5, .nullable_since = 5});
    field("protocol_name", self.protocol_name, {.since = 5, .nullable_since = 5});
    field("assignments", self.assignments);
  }
};

struct SyncGroupResponse {
  static constexpr ApiKey kApi = ApiKey::sync_group;
  static constexpr bool kIsRequest = false;

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  NullableString protocol_type{};
  NullableString protocol_name{};
  Bytes assignment{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
    field("error_code", self.error_code);
    field("protocol_type", self.protocol_type, {.since = 5, .nullable_since = 5});
    field("protocol_name", self.protocol_name, {.since = 5, .nullable_since = 5});
    field("assignment", self.assignment);
  }
};

}  // namespace esc::wire
