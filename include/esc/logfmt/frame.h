// The bytes of the write-ahead log: the segment header block and the frame header.
//
// A segment is one 4 KiB header block, then frames, each starting on a 4 KiB boundary. A frame is
// FrameHeader (128 bytes), payload, zero padding to the next boundary. All integers little-endian.
// docs/formats/wal.md explains the fields and the argument why recovery is right.
//
// Pure: no I/O, no allocation, no state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/base/units.h"

namespace esc::logfmt {

inline constexpr std::uint32_t kFrameMagic = 0x46435345;    // "ESCF"
inline constexpr std::uint32_t kSegmentMagic = 0x53435345;  // "ESCS"
// Version 1 knew neither commit indexes nor resets; it is still read, what is written is version 2. A program
// that only knows version 1 refuses version 2.
inline constexpr std::uint16_t kFormatVersion = 2;
inline constexpr std::uint16_t kFormatVersionMin = 1;
inline constexpr std::uint32_t kFrameHeaderBytes = 128;
inline constexpr std::uint32_t kSegmentHeaderBytes = kBlockBytes;
// Bound of one payload: more is never written, so a larger length is damage.
inline constexpr std::uint32_t kPayloadBytesMax = 64U * 1024 * 1024;

// Which log a file belongs to. Every header carries it, so that a misdirected write, a file copied
// from elsewhere, or an older life of the same directory is recognised.
struct LogIdentity {
  std::uint64_t cluster_id = 0;
  std::uint64_t log_id = 0;  // drawn at random when the log is created
  NodeId node;
  GroupId group;
  bool operator==(const LogIdentity&) const = default;
};

enum class FrameKind : std::uint8_t {
  none = 0,
  entries = 1,     // payload holds entries [first_index, last_index] of `term`
  hard_state = 2,  // no payload: a new (vote_term, voted_for)
  watermark = 3,   // no payload: only a newer durable_lsn or commit_index
  reset = 4,       // no payload: everything before is void; the log goes on after index last_index of `term`
};

struct FrameHeader {
  std::uint32_t magic = kFrameMagic;
  std::uint16_t version = kFormatVersion;
  FrameKind kind = FrameKind::none;
  std::uint8_t flags = 0;
  std::uint64_t cluster_id = 0;
  std::uint64_t log_id = 0;
  std::uint32_t node = 0;
  std::uint32_t group = 0;
  std::uint64_t generation = 0;   // of the segment, as in its header
  std::uint32_t epoch = 0;        // times this log was opened for writing; never decreases along the log
  std::uint32_t block = 0;        // position in the segment, in 4 KiB blocks
  std::uint64_t lsn = 0;          // frame sequence number, dense from 1
  std::uint64_t term = 0;         // of the entries; reset: of entry last_index
  std::uint64_t first_index = 0;  // 0 without entries; reset: last_index + 1
  std::uint64_t last_index = 0;   // 0 without entries; reset: the log holds nothing up to here
  std::uint64_t durable_lsn = 0;  // every frame up to this one was durable when this one was sealed
  std::uint64_t vote_term = 0;    // hard state as of this frame, in every frame
  std::uint32_t voted_for = 0;
  std::uint32_t payload_bytes = 0;
  std::uint32_t payload_crc = 0;   // CRC32C of the payload
  std::uint32_t previous_crc = 0;  // header_crc of the frame with lsn - 1; 0 for the first of a log
  // Every entry up to this index is committed, and in the log that ends with this frame (or released
  // before); 0 = none known. Never falls along the log. Version 1: always 0.
  std::uint64_t commit_index = 0;
  std::uint32_t reserved = 0;
  std::uint32_t header_crc = 0;  // CRC32C of the 124 bytes before

  [[nodiscard]] LogIdentity identity() const { return {cluster_id, log_id, NodeId{node}, GroupId{group}}; }
};
static_assert(sizeof(FrameHeader) == kFrameHeaderBytes);
static_assert(offsetof(FrameHeader, cluster_id) == 8);
static_assert(offsetof(FrameHeader, node) == 24);
static_assert(offsetof(FrameHeader, generation) == 32);
static_assert(offsetof(FrameHeader, epoch) == 40);
static_assert(offsetof(FrameHeader, lsn) == 48);
static_assert(offsetof(FrameHeader, durable_lsn) == 80);
static_assert(offsetof(FrameHeader, voted_for) == 96);
static_assert(offsetof(FrameHeader, payload_crc) == 104);
static_assert(offsetof(FrameHeader, commit_index) == 112);
static_assert(offsetof(FrameHeader, header_crc) == 124);
static_assert(std::is_trivially_copyable_v<FrameHeader>);

// The first block of a segment file; the rest of the block is zero.
struct SegmentHeader {
  std::uint32_t magic = kSegmentMagic;
  std::uint16_t version = kFormatVersion;
  std::uint16_t flags = 0;
  std::uint64_t cluster_id = 0;
  std::uint64_t log_id = 0;
  std::uint32_t node = 0;
  std::uint32_t group = 0;
  std::uint64_t generation = 0;  // dense over the life of the log: order of use, renewed at recycling
  std::uint64_t number = 0;      // of the file, as in its name; does not change
  std::uint64_t segment_bytes = 0;
  std::uint32_t epoch = 0;       // of the log when this header was written
  std::uint32_t header_crc = 0;  // CRC32C of the 60 bytes before

  [[nodiscard]] LogIdentity identity() const { return {cluster_id, log_id, NodeId{node}, GroupId{group}}; }
};
static_assert(sizeof(SegmentHeader) == 64);
static_assert(offsetof(SegmentHeader, generation) == 32);
static_assert(offsetof(SegmentHeader, header_crc) == 60);
static_assert(std::is_trivially_copyable_v<SegmentHeader>);

// Bytes a frame takes in its segment, padding included.
[[nodiscard]] constexpr std::uint32_t frame_bytes(std::uint32_t payload_bytes) {
  return static_cast<std::uint32_t>(align_up(std::uint64_t{kFrameHeaderBytes} + payload_bytes, kBlockBytes));
}

// What a block looks like when a frame header is expected there.
enum class HeaderState : std::uint8_t {
  valid,
  absent,       // no magic: zeroes, or the middle of something else
  damaged,      // magic, but checksum or fields are wrong
  unsupported,  // checksum right, version not one of ours
};
[[nodiscard]] std::string_view to_string(HeaderState state);

// Reads and checks the header alone (not the payload, not the place in the log). `bytes` holds at
// least kFrameHeaderBytes.
[[nodiscard]] HeaderState read_frame_header(ByteView bytes, FrameHeader& header);
[[nodiscard]] bool payload_matches(const FrameHeader& header, ByteView payload);

// Computes payload_crc over frame[kFrameHeaderBytes, + payload_bytes), then header_crc, stores the
// header at `frame` and zeroes the padding up to frame_bytes(). `header` gets both checksums.
void seal_frame(std::byte* frame, FrameHeader& header);

// `block` has kSegmentHeaderBytes bytes.
void seal_segment_header(std::byte* block, SegmentHeader& header);
[[nodiscard]] HeaderState read_segment_header(ByteView block, SegmentHeader& header);

}  // namespace esc::logfmt
