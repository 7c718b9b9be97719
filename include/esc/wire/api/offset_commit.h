// OffsetCommit (key 8), versions 2-8.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct OffsetCommitRequest {
  static constexpr ApiKey kApi = ApiKey::offset_commit;
  static constexpr bool kIsRequest = true;

  struct Partition {
    std::int32_t partition_index = 0;
    std::int64_t committed_offset = 0;
    std::int32_t committed_leader_epoch = -1;
    NullableString committed_metadata{};

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
      field("committed_offset", self.committed_offset);
      field("committed_leader_epoch", self.committed_leader_epoch, {.since = 6});
      field("committed_metadata", self.committed_metadata, {.nullable_since = 0});
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

  String group_id{};
  std::int32_t generation_id_or_member_epoch = -1;
  String member_id{};
  NullableString group_instance_id{};
  std::int64_t retention_time_ms = -1;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("group_id", self.group_id);
    field("generation_id_or_member_epoch", self.generation_id_or_member_epoch);
    field("member_id", self.member_id);
    field("group_instance_id", self.group_instance_id, {.since = 7, .nullable_since = 7});
    field("retention_time_ms", self.retention_time_ms, {.until = 4});
    field("topics", self.topics);
  }
};

struct OffsetCommitResponse {
  static constexpr ApiKey kApi = ApiKey::offset_commit;
  static constexpr bool kIsRequest = false;

  struct Partition {
    std::int32_t partition_index = 0;
    ErrorCode error_code = ErrorCode::none;

    static void describe(auto& field, auto& self) {
      field("partition_index", self.partition_index);
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

  std::int32_t throttle_time_ms = 0;
  Array<Topic> topics{};

  static void describe(auto& field, auto& self) {
    field("throttle_time_ms", self.throttle_time_ms, {.since = 3});
    field("topics", self.topics);
  }
};

}  // namespace esc::wire
