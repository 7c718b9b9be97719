// The sparse index of one segment, by offset and by time, in at most kIndexEntriesMax entries of 16
// bytes: when it is full every second entry is dropped and the interval doubles, so the cost of a
// segment in memory is bounded whatever its size, and appending never allocates.
//
// A lookup gives the position of a batch at or before the wanted one; the reader walks batch headers
// from there. Position 0 is always known and needs no entry.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"

namespace esc::store {

inline constexpr std::uint32_t kIndexEntriesMax = 256;        // of a segment that is being written
inline constexpr std::uint32_t kIndexEntriesSealedMax = 128;  // of one that no longer grows
inline constexpr std::uint32_t kIndexEntriesFresh =
    32;  // of a partition's first segment, until it has some size

struct IndexEntry {
  std::uint32_t offset_delta = 0;   // of the batch's base offset, from the segment's
  std::uint32_t position = 0;       // of the batch, in bytes
  WallMs max_timestamp_before = 0;  // largest of all batches before it
};
static_assert(sizeof(IndexEntry) == 16);

class SegmentIndex {
 public:
  explicit SegmentIndex(std::uint32_t interval_bytes);

  // Cold: makes room for `entries` in all.
  void reserve(std::uint32_t entries);
  // A batch was appended. Adds an entry when the last one is an interval away. Never allocates.
  void note(const IndexEntry& batch);
  // Cold: the segment will not grow any more; gives memory back.
  void seal();

  // The last entry whose batch starts at or before `offset_delta`.
  [[nodiscard]] IndexEntry floor_offset(std::uint32_t offset_delta) const;
  // The last entry before which every record is older than `timestamp`.
  [[nodiscard]] IndexEntry floor_time(WallMs timestamp) const;

  // Cold, for recovery: replaces the entries, keeping those below `bytes`, as many as fit.
  void restore(std::span<const IndexEntry> entries, std::uint32_t interval_bytes, std::uint64_t bytes);
  [[nodiscard]] std::span<const IndexEntry> entries() const { return entries_; }
  [[nodiscard]] std::uint32_t interval_bytes() const { return interval_bytes_; }
  [[nodiscard]] std::uint32_t capacity() const { return static_cast<std::uint32_t>(entries_.capacity()); }

 private:
  void thin();
  std::vector<IndexEntry> entries_;  // ascending in every field; capacity is managed by hand
  std::uint32_t interval_bytes_;
};

// The file beside a segment; docs/formats/segments.md has the bytes.
struct IndexFile {
  Offset base_offset;
  std::uint64_t covered_bytes = 0;  // of the segment, when this was written; the rest describes exactly these
  Offset next_offset;
  WallMs max_timestamp = -1;
  std::int32_t epoch_min = 0;
  std::int32_t epoch_max = 0;
  std::uint32_t interval_bytes = 0;
};
inline constexpr std::size_t kIndexFileHeaderBytes = 72;
inline constexpr std::size_t kIndexFileBytesMax =
    kIndexFileHeaderBytes + kIndexEntriesMax * sizeof(IndexEntry);

// Cold. Writes into `into` (kIndexFileBytesMax) and returns the part used.
[[nodiscard]] ByteView encode_index_file(const IndexFile& header, std::span<const IndexEntry> entries,
                                         ByteSpan into);
// Any bytes. Errc::corruption (or unsupported) when they are not a whole, consistent index of the
// segment at `base_offset`; bytes after it are ignored. `entries` has room for kIndexEntriesMax.
[[nodiscard]] std::expected<std::span<const IndexEntry>, Errc> decode_index_file(
    ByteView bytes, Offset base_offset, IndexFile& header, std::span<IndexEntry> entries);

}  // namespace esc::store
