// The few header fields of a record batch that the segment files need, readable when only the first
// bytes of a batch are in memory (wire::BatchView wants all of it).
#pragma once

#include "esc/base/bytes.h"
#include "esc/base/crc32c.h"
#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/wire/record_batch.h"

namespace esc::store {

using wire::kBatchHeaderBytes;

struct BatchHeader {
  Offset base_offset;
  Offset last_offset;
  std::uint64_t bytes = 0;  // the whole batch
  std::int32_t leader_epoch = 0;
  std::int8_t magic = 0;
  std::uint32_t crc = 0;
  std::int16_t attributes = 0;
  WallMs base_timestamp = 0;
  WallMs max_timestamp = 0;
  std::int32_t record_count = 0;
};

// `from` has at least kBatchHeaderBytes. Any bytes give some header; see follows().
[[nodiscard]] inline BatchHeader load_batch_header(const std::byte* from) {
  BatchHeader header;
  const auto base = load_be<std::int64_t>(from);
  const auto delta = load_be<std::int32_t>(from + 23);
  // Unsigned addition: damaged bytes must not overflow.
  const auto last =
      static_cast<std::uint64_t>(base) + static_cast<std::uint64_t>(static_cast<std::int64_t>(delta));
  header.base_offset = Offset(base);
  header.last_offset = Offset(static_cast<std::int64_t>(last));
  header.bytes = std::uint64_t{load_be<std::uint32_t>(from + 8)} + wire::kBatchLengthEnd;
  header.leader_epoch = load_be<std::int32_t>(from + 12);
  header.magic = load_be<std::int8_t>(from + 16);
  header.crc = load_be<std::uint32_t>(from + 17);
  header.attributes = load_be<std::int16_t>(from + 21);
  header.base_timestamp = load_be<std::int64_t>(from + 27);
  header.max_timestamp = load_be<std::int64_t>(from + 35);
  header.record_count = load_be<std::int32_t>(from + 57);
  return header;
}

// Offsets are dense: a batch starts exactly where the one before it ended, and lies wholly within
// the `bytes_left` of its segment. Catches damage in the fields that the batch's CRC does not cover.
[[nodiscard]] inline bool follows(const BatchHeader& header, Offset expected, std::uint64_t bytes_left) {
  return header.magic == wire::kBatchMagic && header.base_offset == expected &&
         header.bytes >= kBatchHeaderBytes && header.bytes <= bytes_left &&
         header.last_offset >= header.base_offset;
}

// `batch` is the whole batch.
[[nodiscard]] inline bool crc_matches(const BatchHeader& header, ByteView batch) {
  return crc32c(batch.subspan(wire::kBatchCrcFrom)) == header.crc;
}

}  // namespace esc::store
