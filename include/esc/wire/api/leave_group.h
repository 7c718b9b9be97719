// LeaveGroup (key 13), versions 0-5.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct LeaveGroupRequest {
  static constexpr ApiKey kApi = ApiKey::leave_group;
  static constexpr bool kIsRequest = true;

  struct Member {
    String member_id{};
    NullableString group_instance_id{};
    NullableString reason{};

    static void describe(auto& field, auto& self) {
      field("member_id", self.member_id);
      field("group_instance_id", self.group_instance_id, {.nullable_since = 3});
      field("reason", self.reason, {.since = 5, .nullable_since = 5});
    }
  };

  String group_id{};
  String member_id{};
  Array<Member> members{};

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id);
    field("member_id", self.member_id, {.until = 2});
    field("members", self.members, {.since = 3});
  }
};

struct LeaveGroupResponse {
  static constexpr ApiKey kApi = ApiKey::leave_group;
  static constexpr bool kIsRequest = false;

  struct Member {
    String member_id{};
    NullableString group_instance_id{};
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("member_id", self.member_id);
      field("group_instance_id", self.group_instance_id, {.nullable_since = 3});
      field("error_code", self.error_code);
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  Array<Member> members{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
    field("error_code", self.error_code);
    field("members", self.members, {.since = 3});
  }
};

}  // namespace esc::wire
