// The decoded form of a command, and what commands and saved state have in common as bytes.
#pragma once

#include <string>
#include <vector>

#include "esc/base/byte_codec.h"
#include "esc/coord/state.h"

namespace esc::coord {

// Values are in the log: never renumber.
enum class CommandKind : std::uint8_t {
  members = 1,
  commit = 2,
  forget = 3,
  remove = 4,
  expire = 5,
  nothing = 6  // of earlier versions, which proposed it before they told offsets
};

// The smallest encodings, which array counts are held against.
inline constexpr std::size_t kMemberBytesMin = 4 + 1 + 4 + 4 + 4 + 4 + 4 + 4;
inline constexpr std::size_t kOffsetBytesMin = 4 + 16 + 8 + 4 + 8 + 4 + 4;

struct State::Decoded {
  struct Offset {
    std::string topic;
    wire::Uuid topic_id;
    std::uint64_t known_at = 0;
    std::int32_t partition = 0;
    CommittedOffset value;
  };
  CommandKind kind = CommandKind::nothing;
  std::string group;
  StoredGroup members;  // of `members`: everything but offsets
  std::vector<Offset> offsets;
  std::int64_t until_ms = 0;
};

void put_member(ByteWriter& writer, const Member& member);
[[nodiscard]] Member get_member(ByteReader& reader);
[[nodiscard]] wire::Uuid get_uuid(ByteReader& reader);

}  // namespace esc::coord
