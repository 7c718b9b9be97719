// The layout of entries inside the payload of a WAL frame. Shared by the log, the replica (which fills and
// applies them) and the peer protocol (which carries whole payloads).
//
//   payload := entry*            entry := EntryHeader, body[size], zero padding to a multiple of 8
//
// All integers little-endian. Entries of one frame have consecutive indexes and the frame's term.
// Source: docs/formats/wal.md. Pure: no I/O, no allocation.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <type_traits>

#include "esc/base/assert.h"
#include "esc/base/bytes.h"
#include "esc/base/ids.h"

namespace esc::logfmt {

inline constexpr std::uint32_t kEntryAlignment = 8;

// Values are on disk and on the wire: never renumber.
enum class EntryKind : std::uint8_t {
  none = 0,              // never written; an all-zero header is not an entry
  noop = 1,              // the first entry of a leader's term; empty body
  batch = 2,             // one Kafka record batch, offset and leader epoch stamped
  partition_create = 3,  //
  partition_delete = 4,  //
  partition_config = 5,  // how a partition's segments are rolled from here on
  metadata = 6,          // a command of group 0
  log_start = 7,         // moves a partition's log start offset
  configuration = 8,     // members of the group (raft::Configuration)
  coordinator = 9,       // a command of the consumer groups that this group coordinates
  producer_ids = 10,     // this group hands out a block of producer ids
  sequence = 11,         // an idempotent producer's sequence advances without a record
};
inline constexpr std::uint8_t kEntryKindMax = 11;

// EntryHeader::flags of a batch: the ids of its records lie behind it (esc/dedup/id_block.h).
inline constexpr std::uint8_t kEntryHasIds = 0x01;

struct EntryHeader {
  std::uint32_t size = 0;  // bytes of body, unpadded
  EntryKind kind = EntryKind::none;
  std::uint8_t flags = 0;
  std::uint16_t reserved0 = 0;
  std::uint32_t partition = 0;    // PartitionId value; 0 when the kind has none
  std::uint32_t dropped = 0;      // batch: records of the producer's batch that were left out as duplicates
  std::uint64_t index = 0;        // Raft log index
  std::int64_t timestamp_ms = 0;  // leader's wall clock at append; the only clock that apply may use
};
inline constexpr std::uint32_t kEntryHeaderBytes = 32;
static_assert(sizeof(EntryHeader) == kEntryHeaderBytes);
static_assert(offsetof(EntryHeader, kind) == 4);
static_assert(offsetof(EntryHeader, partition) == 8);
static_assert(offsetof(EntryHeader, dropped) == 12);
static_assert(offsetof(EntryHeader, index) == 16);
static_assert(offsetof(EntryHeader, timestamp_ms) == 24);
static_assert(std::is_trivially_copyable_v<EntryHeader>);
static_assert(kEntryHeaderBytes % kEntryAlignment == 0);

// Bytes that an entry with a body of `body_bytes` takes in a payload, padding included.
[[nodiscard]] constexpr std::uint64_t entry_bytes(std::uint64_t body_bytes) {
  return kEntryHeaderBytes + align_up(body_bytes, kEntryAlignment);
}

inline void store_entry_header(std::byte* to, const EntryHeader& header) {
  std::memcpy(to, &header, sizeof header);
}

// Zeroes the padding after a body of `header.size` bytes at `entry + kEntryHeaderBytes`.
inline void zero_entry_padding(std::byte* entry, std::uint32_t body_bytes) {
  const std::uint64_t used = std::uint64_t{kEntryHeaderBytes} + body_bytes;
  std::memset(entry + used, 0, entry_bytes(body_bytes) - used);
}

// One entry as read from a payload; `body` points into it.
struct EntryView {
  EntryHeader header;
  ByteView body;
  std::size_t position = 0;  // of the header, within the payload
};

// Iterates a payload; never reads outside of it whatever the bytes are.
//
//   EntryReader reader(payload);
//   while (auto entry = reader.next()) ...
//   if (reader.malformed()) ...
class EntryReader {
 public:
  explicit EntryReader(ByteView payload) : payload_(payload) {}

  // The next entry, or nothing at the end and when the bytes are malformed.
  [[nodiscard]] std::optional<EntryView> next() {
    if (malformed_ || position_ == payload_.size()) return std::nullopt;
    const std::size_t left = payload_.size() - position_;
    if (left < kEntryHeaderBytes) return reject();
    EntryView view;
    std::memcpy(&view.header, payload_.data() + position_, sizeof view.header);
    const auto kind = static_cast<std::uint8_t>(view.header.kind);
    if (kind == 0 || kind > kEntryKindMax) return reject();
    if (entry_bytes(view.header.size) > left) return reject();
    view.position = position_;
    view.body = payload_.subspan(position_ + kEntryHeaderBytes, view.header.size);
    position_ += static_cast<std::size_t>(entry_bytes(view.header.size));
    return view;
  }
  // True when next() stopped before the end of the payload; position() then is that of the bad entry.
  [[nodiscard]] bool malformed() const { return malformed_; }
  [[nodiscard]] std::size_t position() const { return position_; }

 private:
  std::optional<EntryView> reject() {
    malformed_ = true;
    return std::nullopt;
  }

  ByteView payload_;
  std::size_t position_ = 0;
  bool malformed_ = false;
};

}  // namespace esc::logfmt
