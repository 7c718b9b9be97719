// OffsetFetch (key 9), versions 1-8.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct OffsetFetchRequest {
  static constexpr ApiKey kApi = ApiKey::offset_fetch;
  static constexpr bool kIsRequest = true;

  struct Topic {
    String name{};
    Array<std::int32_t> partition_indexes{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partition_indexes", self.partition_indexes);
    }
  };
  struct GroupTopic {
    String name{};
    Array<std::int32_t> partition_indexes{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partition_indexes", self.partition_indexes);
    }
  };
  struct Group {
    String group_id{};
    NullableArray<GroupTopic> topics{};

    static void describe(auto& field, auto& self) {
      field("group_id", self.group_id);
      field("topics", self.topics, {.nullable_since = 8});
    }
  };

  String group_id{};              // up to v7
  NullableArray<Topic> topics{};  // up to v7; null from v2: all topics of the group
  Array<Group> groups{};          // from v8
  bool require_stable = false;

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id, {.until = 7});
    field("topics", self.topics, {.until = 7, .nullable_since = 2});
    field("groups", self.groups, {.since = 8});
    field("require_stable", self.require_stable, {.since = 7});
  }
};

struct OffsetFetchResponse {
  static constexpr ApiKey kApi = ApiKey::offset_fetch;
  static constexpr bool kIsRequest = false;

  struct Partition {
    std::int32_t partition_index = 0;
    std::int64_t committed_offset = 0;
    std::int32_t committed_leader_epoch = -1;
    NullableString metadata{};
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("committed_offset", self.committed_offset);
      field("committed_leader_epoch", self.committed_leader_epoch, {.since = 5});
      field("metadata", self.metadata, {.nullable_since = 0});
      field("error_code", self.error_code);
    }
  };
  struct Topic {
    String name{};
    Array<Partition> partitions{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partitions", self.partitions);
    }
  };
  struct GroupPartition {
    std::int32_t partition_index = 0;
    std::int64_t committed_offset = 0;
    std::int32_t committed_leader_epoch = -1;
    NullableString metadata{};
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("committed_offset", self.committed_offset);
      field("committed_leader_epoch", self.committed_leader_epoch);
      field("metadata", self.metadata, {.nullable_since = 8});
      field("error_code", self.error_code);
    }
  };
  struct GroupTopic {
    String name{};
    Array<GroupPartition> partitions{};

    static void describe(auto& field, auto& self) {
      field("name", self.name);
      field("partitions", self.partitions);
    }
  };
  struct Group {
    String group_id{};
    Array<GroupTopic> topics{};
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("group_id", self.group_id);
      field("topics", self.topics);
      field("error_code", self.error_code);
    }
  };

  std::int32_t throttle_time_ms = 0;
  Array<Topic> topics{};                   // up to v7
  ErrorCode error_code = ErrorCode::none;  // up to v7
  Array<Group> groups{};                   // from v8

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 3});
    field("topics", self.topics, {.until = 7});
    field("error_code", self.error_code, {.since = 2, .until = 7});
    field("groups", self.groups, {.since = 8});
  }
};

}  // namespace esc::wire
