// The file `incarnation` of a group's directory: which life of this node's data it holds, and what the node
// has promised when the cluster was founded (docs/formats/incarnation.md). Private to the group.
//
// Little-endian: magic u64, version u32, incarnation u64, flags u8 (1 founded, 2 lost, 4 seat wanted, 8 seat
// taken), members (as in a configuration entry; empty: nothing promised), only with a seat taken: through u64
// and term u64, CRC-32C of all before. Version 2 when one of the last two flags is set, 1 otherwise.
#pragma once

#include <string>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/prng.h"
#include "esc/base/result.h"
#include "esc/raft/configuration.h"

namespace esc::replica {

// These data alone are the group, whatever the log says up to `through`: they grew from a node that was
// alone, or an operator has given up the other members (docs/decisions/0024).
struct Seat {
  enum class State : std::uint8_t { none, wanted, taken };
  State state = State::none;  // wanted: from the next start on
  Index through{};            // configurations of the log up to here are void
  Term term{};                // the group has had at least this one
};

struct IncarnationFile {
  raft::Incarnation incarnation;
  // The first members, if this node has promised to be one of exactly these. Once in an incarnation.
  raft::Configuration pledged;
  bool lost = false;     // there were data here before: may join a cluster, never found one
  bool founded = false;  // all of them have promised: this is the configuration before the first entry
  Seat seat{};           // taken: `pledged` is this node alone
};

// Never 0.
[[nodiscard]] raft::Incarnation draw_incarnation(Prng& prng);

inline constexpr std::uint64_t kIncarnationFileBytesMax = 4096;

void encode_incarnation_file(const IncarnationFile& file, std::vector<std::byte>& out);
// `path` is for the message only.
[[nodiscard]] Result<IncarnationFile> decode_incarnation_file(ByteView bytes, const std::string& path);

}  // namespace esc::replica
