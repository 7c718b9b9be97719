// DeleteGroups (key 42), versions 0-2.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DeleteGroupsRequest {
  static constexpr ApiKey kApi = ApiKey::delete_groups;
  static constexpr bool kIsRequest = true;

  Array<String> groups_names{};

  static void describe(auto& field, auto& self) { field("groups_names", self.groups_names); }
};

struct DeleteGroupsResponse {
  static constexpr ApiKey kApi = ApiKey::delete_groups;
  static constexpr bool kIsRequest = false;

  struct Result {
    String group_id{};
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("group_id", self.group_id);
      field("error_code", self.error_code);
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Result> results{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms);
    field("results", self.results);
  }
};

}  // namespace esc::wire
