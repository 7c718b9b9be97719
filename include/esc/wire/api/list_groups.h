// ListGroups (key 16), versions 0-4.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct ListGroupsRequest {
  static constexpr ApiKey kApi = ApiKey::list_groups;
  static constexpr bool kIsRequest = true;

  Array<String> states_filter{};  // empty: all

  static void describe(auto& field, auto& self) { field("states_filter", self.states_filter, {.since = 4}); }
};

struct ListGroupsResponse {
  static constexpr ApiKey kApi = ApiKey::list_groups;
  static constexpr bool kIsRequest = false;

  struct Group {
    String group_id{};
    String protocol_type{};
    String group_state{};

    static void describe(auto& field, auto& self) {
      field("group_id", self.group_id);
      field("protocol_type", self.protocol_type);
      field("group_state", self.group_state, {.since = 4});
    }
  };

  std::int32_t throttle_time_ms = 0;
  ErrorCode error_code = ErrorCode::none;
  Array<Group> groups{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 1});
    field("error_code", self.error_code);
    field("groups", self.groups);
  }
};

}  // namespace esc::wire
