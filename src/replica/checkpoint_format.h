// The checkpoint file of a group: everything up to `applied` that the WAL may then forget.
//
// One little-endian blob, written to a temporary name and renamed (docs/formats/checkpoint.md):
//   magic u64, version u32, body bytes u32, body, CRC-32C of all before
#pragma once

#include <optional>
#include <vector>

#include "esc/base/byte_codec.h"
#include "esc/base/result.h"
#include "esc/raft/configuration.h"
#include "esc/replica/partition.h"

namespace esc::replica {

struct CheckpointPartition {
  PartitionIdentity identity;
  store::PartitionState state;
  // What the partition remembers of its entries beside their records, as of `memory_through`: an entry at or
  // below that index does not change it again when it is replayed. See partition_memory.cpp.
  Index memory_through;
  std::vector<std::byte> memory;
};

struct Checkpoint {
  GroupId group;
  Index applied;
  Term applied_term;
  raft::Configuration configuration;  // in force at `applied`
  // The state came from another member: the log that lies beside it may be older, or another one, until it is
  // reset.
  bool installed = false;
  PartitionId partition_max{0};     // highest ever created in this group: ids are not used again
  std::uint64_t producer_ids = 0;   // handed out so far by this group
  std::vector<std::byte> metadata;  // of the listener
  std::vector<CheckpointPartition> partitions;
};

// Appends to `out`.
void encode_checkpoint(const Checkpoint& checkpoint, std::vector<std::byte>& out);
// `path` is for the message only.
[[nodiscard]] Result<Checkpoint> decode_checkpoint(ByteView bytes, const std::string& path);

// Also the body of a `configuration` entry: voters, then learners, each u32 count and per member node u32 and
// incarnation u64. No voters: not known yet (the checkpoint of a member that came late). Decoding reads from
// `reader`; nothing when it makes no sense.
void encode_configuration(const raft::Configuration& configuration, ByteWriter& writer);
[[nodiscard]] std::optional<raft::Configuration> decode_configuration(ByteReader& reader,
                                                                      bool incarnations = true);

inline constexpr std::uint64_t kCheckpointBytesMax = 256 * kMiB;

}  // namespace esc::replica
