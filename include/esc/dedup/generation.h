// A slice of the window: ids in the order in which they were committed, and an index of them.
//
//   entries   24 bytes each, in order of arrival: exactly the contents of the slice's file. Held in memory
//             until they are in the file and the slice is sealed.
//   index     open addressing in groups of 16 cells, filled to three quarters. A cell is a tag of 7 bits in
//   one
//             array and, in another, the upper 42 bits of the hash with the position of the entry. The upper
//             bits are the cell's home, so the index grows in one pass without looking at the entries.
//
// A miss compares 16 tags at once and touches one cache line; one time in ten a tag matches by chance, and
// the cell tells. A cell that matches an id it does not belong to is as rare as 2^-20 per lookup in a full
// slice; only a match looks at the entry, which may be in the file. (After Abseil's "Swiss tables".)
//
// Threading: one core. Memory: index 9 bytes per cell, entries in chunks; grows while the slice fills.
#pragma once

#include <emmintrin.h>

#include <array>
#include <bit>
#include <memory>
#include <span>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/dedup/id.h"

namespace esc::dedup {

// As in the file: little-endian, no padding.
struct Entry {
  Id id;
  std::uint32_t offset_delta = 0;  // from the slice's first offset
  std::uint32_t time_delta_ms = 0;
};
inline constexpr std::size_t kEntryBytes = 24;
static_assert(sizeof(Entry) == kEntryBytes);

// Entries move between memory and file in units of this many.
inline constexpr std::uint32_t kChunkEntries = 680;
// Bounds the time that growing an index takes, and what a slice keeps in memory until it is sealed.
inline constexpr std::uint32_t kGenerationEntriesMax = 3U << 18;

class Generation {
 public:
  Generation(std::uint64_t serial, Offset base_offset, WallMs base_time)
      : serial_(serial), base_offset_(base_offset), base_time_(base_time) {}

  // Numbers the slices of a partition, from 1; names the file.
  [[nodiscard]] std::uint64_t serial() const { return serial_; }
  [[nodiscard]] Offset base_offset() const { return base_offset_; }
  [[nodiscard]] WallMs base_time() const { return base_time_; }
  [[nodiscard]] std::uint32_t count() const { return count_; }
  // Log time of the newest entry.
  [[nodiscard]] WallMs newest_time() const { return newest_time_; }
  [[nodiscard]] std::uint64_t memory_bytes() const;

  // False: the deltas do not reach that far, or the slice is full; begin another.
  [[nodiscard]] bool accepts(Offset offset, WallMs time) const;
  // An id that is here already (its window had passed) is found at its new place from now on.
  void insert(Id id, Offset offset, WallMs time);

  void prefetch(Id id) const;
  void prefetch_for_insert(Id id) const;
  // Calls `try_position(position) -> bool` for each entry that may be this id's until it returns true.
  template <class F>
  bool probe(Id id, F&& try_position) const {
    if (cells_.empty()) return false;
    const std::size_t mask = cells_.size() - 1;
    const std::uint64_t fragment = id.high >> kPositionBits;
    const std::uint8_t tag = tag_of(id);
    for (std::size_t at = home(id.high);; at = (at + kGroup) & mask) {
      const __m128i tags = group(at);
      for (unsigned match = matching(tags, tag); match != 0; match &= match - 1) {
        const std::uint64_t cell = cells_[at + static_cast<unsigned>(std::countr_zero(match))];
        if (cell >> kPositionBits == fragment && try_position(position_of(cell))) return true;
      }
      if (free_cells(tags) != 0) return false;
    }
  }
  // Null when it is in the file only.
  [[nodiscard]] const Entry* entry(std::uint32_t position) const {
    const std::size_t chunk = position / kChunkEntries;
    return chunks_[chunk] == nullptr ? nullptr : &(*chunks_[chunk])[position % kChunkEntries];
  }
  [[nodiscard]] Offset offset_of(const Entry& entry) const { return base_offset_ + entry.offset_delta; }
  [[nodiscard]] WallMs time_of(const Entry& entry) const { return base_time_ + entry.time_delta_ms; }

  // --- the file ----------------------------------------------------------------------------------

  [[nodiscard]] std::uint32_t flushed() const { return flushed_; }
  // CRC-32C of the first flushed() entries as they are in the file.
  [[nodiscard]] std::uint32_t flushed_crc() const { return flushed_crc_; }
  // Appends the bytes of the entries from flushed() on to `out` and takes them for flushed.
  void take_unflushed(std::vector<std::byte>& out);
  // Sealed and in the file: the entries leave memory.
  void drop_entries() {
    for (auto& chunk : chunks_) chunk.reset();
  }
  // The next entries of the file, at recovery.
  void load(std::span<const Entry> entries);

 private:
  static constexpr unsigned kPositionBits = 22;
  static_assert(kGenerationEntriesMax < (1U << kPositionBits));
  using Chunk = std::array<Entry, kChunkEntries>;

  static constexpr std::size_t kGroup = 16;
  static constexpr std::uint8_t kFree = 0x80;

  [[nodiscard]] std::size_t home(std::uint64_t high) const { return (high >> shift_) * kGroup; }
  [[nodiscard]] static std::uint8_t tag_of(Id id) { return id.low & 0x7f; }
  [[nodiscard]] __m128i group(std::size_t at) const {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(tags_.data() + at));
  }
  [[nodiscard]] static unsigned matching(__m128i tags, std::uint8_t tag) {
    return static_cast<unsigned>(
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)))));
  }
  [[nodiscard]] static unsigned free_cells(__m128i tags) {
    return static_cast<unsigned>(_mm_movemask_epi8(tags));
  }
  [[nodiscard]] static std::uint32_t position_of(std::uint64_t cell) {
    return static_cast<std::uint32_t>(cell & ((std::uint64_t{1} << kPositionBits) - 1));
  }
  void place(std::uint64_t cell, std::uint8_t tag);
  void grow();
  void index(Id id, std::uint32_t position);

  std::uint64_t serial_;
  Offset base_offset_;
  WallMs base_time_;
  WallMs newest_time_ = 0;
  std::uint32_t count_ = 0;
  std::uint32_t cells_used_ = 0;
  unsigned shift_ = 64;  // of a hash to its home group
  std::vector<std::uint8_t> tags_;
  std::vector<std::uint64_t> cells_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::uint32_t flushed_ = 0;
  std::uint32_t flushed_crc_ = 0;
};

}  // namespace esc::dedup
