// DescribeGroups (key 15), versions 0-5.
#pragma once

#include <limits>

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DescribeGroupsRequest {
  static constexpr ApiKey kApi = ApiKey::describe_groups;
  static constexpr bool kIsRequest = true;

  Array<String> groups{};
  bool include_authorized_operations = false;

  static void describe(auto& field, auto& self) {
    field("groups", self.groups);
    field("include_authorized_operations", self.include_authorized_operations, {.since = 3});
  }
};

struct DescribeGroupsResponse {
  static constexpr ApiKey kApi = ApiKey::describe_groups;
  static constexpr bool kIsRequest = false;

  struct Member {
    String member_id{};
    NullableString group_instance_id{};
    String client_id{};
    String client_host{};
    Bytes member_metadata{};
    Bytes member_assignment{};

    static void describe(auto& field, auto& self) {
      field("member_id", self.member_id);
      field("group_instance_id", self.group_instance_id, {.since = 4, .nullable_since = 4});
      field("client_id", self.client_id);
      field("client_host", self.client_host);
      field("member_metadata", self.member_metadata);
      field("member_assignment", self.member_assignment);
    }
  };
  struct Group {
    ErrorCode error_code = ErrorCode::none;
    String group_id{};
    String group_state{};
    String protocol_type{};
    String protocol_data{};
    Array<Member> members{};
    std::int32_t authorized_operations = std::numeric_limits<std::int32_t>::min();  // not asked for

    static void describe(auto& field, auto& self) {
      field("error_code", self.error_code);
      field("group_id", self.group_id);
      field("group_state", self.group_state);
      field("protocol_type", self.protocol_type);
      field("protocol_data", self.protocol_data);
      field("members", self.members);
      field("authorized_operations", self.authorized_operations, {.since = 3});
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Group> groups{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
    field("groups", self.groups);
  }
};

}  // namespace esc::wire
