// Consumer groups as the log knows them: a deterministic function of the committed commands of one Raft
// group.
//
// Every replica applies the same commands and holds the same state; a new leader starts from it. Time is the
// commands' timestamps (log time). Applying is idempotent per log index.
//
//   members   a generation with its members and assignments; no members: the group is empty
//   commit    offsets of a group                      forget    some offsets of a group go
//   remove    the whole group goes                    expire    what nobody has used since a point in time
//
// Threading: one core per instance. Errors: commands are validated before they are proposed; a committed
// command that does not decode is a broken invariant.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/wire/types.h"

namespace esc::coord {

struct Protocol {
  std::string name;
  std::vector<std::byte> metadata;
  bool operator==(const Protocol&) const = default;
};

struct Member {
  std::string id;
  std::optional<std::string> instance;  // group.instance.id: a static member
  std::string client_id;
  std::string client_host;
  std::int32_t session_timeout_ms = 0;
  std::int32_t rebalance_timeout_ms = 0;
  std::vector<Protocol> protocols;  // in the member's order of preference
  std::vector<std::byte> assignment;
  bool operator==(const Member&) const = default;
};

struct CommittedOffset {
  std::int64_t offset = -1;
  std::int32_t leader_epoch = -1;
  std::string metadata;
  std::int64_t committed_ms = 0;  // log time
};

struct TopicOffsets {
  wire::Uuid topic_id;         // of the topic that the offsets are of: a topic created anew has none
  std::uint64_t known_at = 0;  // index of the catalog that knew the topic when its offsets were committed
  std::map<std::int32_t, CommittedOffset> partitions;
};

struct StoredGroup {
  std::int32_t generation = 0;
  std::string protocol_type;  // empty: only ever used to keep offsets
  std::string protocol_name;
  std::string leader;
  std::map<std::string, Member, std::less<>> members;
  std::int64_t empty_since_ms = 0;  // log time; counts while there are no members
  std::map<std::string, TopicOffsets, std::less<>> topics;
};

// --- commands, appended to `out` -------------------------------------------------------------------------

struct Generation {
  std::string_view group;
  std::int32_t generation = 0;
  std::string_view protocol_type;
  std::string_view protocol_name;
  std::string_view leader;
  std::vector<const Member*> members;
};
void encode_members(const Generation& generation, std::vector<std::byte>& out);

struct OffsetToCommit {
  std::string_view topic;
  wire::Uuid topic_id;
  std::uint64_t known_at = 0;
  std::int32_t partition = 0;
  std::int64_t offset = -1;
  std::int32_t leader_epoch = -1;
  std::string_view metadata;
};
void encode_commit(std::string_view group, const std::vector<OffsetToCommit>& offsets,
                   std::vector<std::byte>& out);

struct OffsetName {
  std::string_view topic;
  std::int32_t partition = 0;  // kAllPartitions: of the topic
};
inline constexpr std::int32_t kAllPartitions = -1;
void encode_forget(std::string_view group, const std::vector<OffsetName>& offsets,
                   std::vector<std::byte>& out);
void encode_remove(std::string_view group, std::vector<std::byte>& out);
// Offsets of empty groups that were neither committed nor guarded by a member after `until_ms`.
void encode_expire(std::int64_t until_ms, std::vector<std::byte>& out);

// Whether bytes are a command that apply() accepts.
[[nodiscard]] bool valid_command(ByteView command);
// A command in words, for tools and tests. "?" when it does not decode.
[[nodiscard]] std::string describe_command(ByteView command);

class State {
 public:
  void apply(Index index, WallMs timestamp, ByteView command);

  void save(std::vector<std::byte>& out) const;
  [[nodiscard]] Status load(ByteView state);

  [[nodiscard]] const StoredGroup* find(std::string_view group) const;
  [[nodiscard]] const std::map<std::string, StoredGroup, std::less<>>& groups() const { return groups_; }
  [[nodiscard]] Index applied() const { return applied_; }
  // Of all groups, about: what limits are held against.
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  struct Decoded;
  friend bool valid_command(ByteView command);
  friend std::string describe_command(ByteView command);
  [[nodiscard]] static std::optional<Decoded> decode(ByteView command);
  void set_members(Decoded& command, std::int64_t now_ms);
  void commit(Decoded& command, std::int64_t now_ms);
  void forget(Decoded& command);
  void expire(std::int64_t until_ms);
  void drop(std::map<std::string, StoredGroup, std::less<>>::iterator group);

  std::map<std::string, StoredGroup, std::less<>> groups_;
  Index applied_;
  std::uint64_t bytes_ = 0;
  std::int64_t log_time_ms_ = 0;
};

}  // namespace esc::coord
