// JoinGroup (key 11), versions 0-9.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct JoinGroupRequest {
  static constexpr ApiKey kApi = ApiKey::join_group;
  static constexpr bool kIsRequest = true;

  struct Protocol {
    String name{};
    Bytes metadata{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("metadata", self.metadata);
    }
  };

  String group_id{};
  std::int32_t session_timeout_ms = 0;
  std::int32_t rebalance_timeout_ms = -1;
  String member_id{};
  NullableString group_instance_id{};
  String protocol_type{};
  Array<Protocol> protocols{};
  NullableString reason{};

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id);
    field("session_timeout_ms", self.session_timeout_ms);
    field("rebalance_timeout_ms", self.rebalance_timeout_ms, {.since = 1});
    field("member_id", self.member_id);
    field("group_instance_id", self.group_instance_id, {.since = 5, .nullable_since = 5});
    field("protocol_type", self.protocol_type);
    field("protocols", self.protocols);
    field("reason", self.reason, {.since = 8, .nullable_since = 8});
  }
};

struct JoinGroupResponse {
  static constexpr ApiKey kApi = ApiKey::join_group;
  static constexpr bool kIsRequest = false;

  struct Member {
    String member_id{};
    NullableString group_instance_id{};
    Bytes metadata{};

    static void describe(auto& field, auto& self) {
      field("member_id", self.member_id);
      field("group_instance_id", self.group_instance_id, {.since = 5, .nullable_since = 5});
      field("metadata", self.metadata);
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  std::int32_t generation_id = -1;
  NullableString protocol_type{};
  NullableString protocol_name{};
  String leader{};
  bool skip_assignment = false;
  String member_id{};
  Array<Member> members{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 2});
    field("error_code", self.error_code);
    field("generation_id", self.generation_id);
    field("protocol_type", self.protocol_type, {.since = 7, .nullable_since = 7});
    field("protocol_name", self.protocol_name, {.nullable_since = 7});
    field("leader", self.leader);
    field("skip_assignment", self.skip_assignment, {.since = 9});
    field("member_id", self.member_id);
    field("members", self.members);
  }
};

}  // namespace esc::wire
