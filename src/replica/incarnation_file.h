// The file `incarnation` of a group's directory: which life of this node's data it holds, and what the node
// has promised when the cluster was founded (docs/formats/incarnation.md). Private to the group.
//
// Little-endian: magic u64, version u32, incarnation u64, flags u8 (1 founded, 2 lost), members (as in a
// configuration entry; empty: nothing promised), CRC-32C of all before.
#pragma once

#include <string>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/raft/configuration.h"

namespace esc::replica {

struct IncarnationFile {
  raft::Incarnation incarnation;
  // The first members, if this node has promised to be one of exactly these. Once in an incarnation.
  raft::Configuration pledged;
  bool lost = false;     // there were data here before: may join a cluster, never found one
  bool founded = false;  // all of them have promised: this is the configuration before the first entry
};

inline constexpr std::uint64_t kIncarnationFileBytesMax = 4096;

void encode_incarnation_file(const IncarnationFile& file, std::vector<std::byte>& out);
// `path` is for the message only.
[[nodiscard]] Result<IncarnationFile> decode_incarnation_file(ByteView bytes, const std::string& path);

}  // namespace esc::replica
