// The service messages by which a member fetches a snapshot. Layouts: docs/PROTOCOL.md, "Snapshots".
//
// Pure. Bytes come from a peer: a decoder returns nothing when they make no sense.
#pragma once

#include <optional>

#include "esc/base/byte_codec.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"

namespace esc::replica {

// Values of peer::Service::kind. Those below 64 are the group's own.
inline constexpr std::uint16_t kSnapshotStateRequest = 1;
inline constexpr std::uint16_t kSnapshotState = 2;
inline constexpr std::uint16_t kSnapshotRecordsRequest = 3;
inline constexpr std::uint16_t kSnapshotRecords = 4;
inline constexpr std::uint16_t kSnapshotIdsRequest = 5;
inline constexpr std::uint16_t kSnapshotIds = 6;
inline constexpr std::uint16_t kMemberStatus = 7;  // see membership.h
inline constexpr std::uint16_t kLeadRequest = 8;   // no payload; the tag says why
inline constexpr std::uint16_t kFirstKindAbove = 64;

// Why a follower asks to lead.
inline constexpr std::uint64_t kDamagedHere = 0;   // repair.h
inline constexpr std::uint64_t kLeaderLeaves = 1;  // admission.h

// A part of the leader's checkpoint file, from `offset` on. Offset 0 takes the newest file.
struct SnapshotStateRequest {
  std::uint64_t offset = 0;
};

struct SnapshotState {
  std::uint64_t total_bytes = 0;  // 0: there is no checkpoint yet, ask again later
  std::uint64_t offset = 0;
  ByteView part;
};

// Whole batches of one partition, from `offset` on.
struct SnapshotRecordsRequest {
  PartitionId partition;
  Offset offset;
};

struct SnapshotRecords {
  PartitionId partition;
  Offset offset;
  // ok; not_found: the partition or the offset is gone, the snapshot must be taken anew.
  Errc code = Errc::ok;
  ByteView records;
};

// Event ids of one slice of a partition's window, from entry `position` on.
struct SnapshotIdsRequest {
  PartitionId partition;
  std::uint64_t generation = 0;
  std::uint32_t position = 0;
};

struct SnapshotIds {
  SnapshotIdsRequest asked;
  Errc code = Errc::ok;  // not_found: the slice is gone, the snapshot must be taken anew
  ByteView entries;      // whole ones
};

void encode(const SnapshotStateRequest& message, ByteWriter& writer);
void encode(const SnapshotState& message, ByteWriter& writer);
void encode(const SnapshotRecordsRequest& message, ByteWriter& writer);
void encode(const SnapshotRecords& message, ByteWriter& writer);
void encode(const SnapshotIdsRequest& message, ByteWriter& writer);
void encode(const SnapshotIds& message, ByteWriter& writer);
[[nodiscard]] std::optional<SnapshotStateRequest> decode_state_request(ByteView bytes);
[[nodiscard]] std::optional<SnapshotState> decode_state(ByteView bytes);
[[nodiscard]] std::optional<SnapshotRecordsRequest> decode_records_request(ByteView bytes);
[[nodiscard]] std::optional<SnapshotRecords> decode_records(ByteView bytes);
[[nodiscard]] std::optional<SnapshotIdsRequest> decode_ids_request(ByteView bytes);
[[nodiscard]] std::optional<SnapshotIds> decode_ids(ByteView bytes);

}  // namespace esc::replica
