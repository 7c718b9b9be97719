// A slice of the window: ids in the order in which they were committed, and an index of them.
//
//   entries   24 bytes each, in order of arrival: exactly the contents of the slice's file. Held in memory
//             until they are in the file and the slice is sealed.
//   index     256 tables by the first byte of the hash, each open addressing in groups of 16 cells, filled to
//             three quarters. A cell is a tag of 8 bits in one array and, in another, the upper 42 bits of
//             the hash with the position of the entry. The upper bits are the cell's home, so a table grows
//             in one pass without looking at the entries, and one of 256 grows in some microseconds.
//
// A miss compares 16 tags at once and touches one cache line, of an array that is a byte per cell; one time
// in twenty a tag matches by chance, and the cell tells. A cell that matches an id it does not belong to is
// as rare as 2^-20 per lookup in a full slice; only a match looks at the entry, which may be in the file.
// (After Abseil's "Swiss tables". Tags and cells in one line, as in Folly's F14, make a miss two to three
// times as slow: the lines of all cells do not stay in the caches.)
//
// Threading: one core; chunks of entries that take_unflushed() has handed out may be read by the device.
// Memory: index 9 bytes per cell, entries in chunks.
#pragma once

#include <emmintrin.h>

#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <span>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/prefetch.h"
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

// Bounds what a slice keeps in memory until it is sealed.
inline constexpr std::uint32_t kGenerationEntriesMax = 11U << 16;

// Entries in memory, contiguous as in the file.
class EntryChunk {
 public:
  static constexpr std::uint32_t kEntries = 2720;  // nearly 64 KiB
  Entry& operator[](std::uint32_t at) { return reinterpret_cast<Entry*>(bytes_)[at]; }
  const Entry& operator[](std::uint32_t at) const { return reinterpret_cast<const Entry*>(bytes_)[at]; }
  [[nodiscard]] ByteView bytes(std::uint32_t first, std::uint32_t count) const {
    return ByteView(bytes_).subspan(first * kEntryBytes, count * kEntryBytes);
  }

 private:
  alignas(Entry) std::byte bytes_[kEntries * kEntryBytes];  // memory that is not used yet is not touched
};

// A part of a slice's file that lies in memory.
struct Unflushed {
  std::uint64_t generation = 0;
  std::uint64_t file_offset = 0;
  std::shared_ptr<const EntryChunk> chunk;  // holds `bytes`
  ByteView bytes;
};

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

  void prefetch(Id id) const {
    const Table& table = table_of(id);
    if (table.cells != nullptr) esc::prefetch(&table.tags[table.home(id.high)]);
  }
  void prefetch_for_insert(Id id) const {
    const Table& table = table_of(id);
    if (table.cells == nullptr) return;
    esc::prefetch(&table.tags[table.home(id.high)]);
    esc::prefetch(&table.cells[table.home(id.high)]);  // the cells of a group are two lines
    esc::prefetch(&table.cells[table.home(id.high) + kGroup / 2]);
  }
  // Calls `try_position(position) -> bool` for each entry that may be this id's until it returns true.
  template <class F>
  bool probe(Id id, F&& try_position) const {
    const Table& table = table_of(id);
    if (table.cells == nullptr) return false;
    const std::uint64_t fragment = id.high >> kPositionBits;
    const std::uint8_t tag = tag_of(id);
    for (std::size_t at = table.home(id.high);; at = table.next(at)) {
      const __m128i tags = table.group(at);
      for (unsigned match = matching(tags, tag); match != 0; match &= match - 1) {
        const std::uint64_t cell = table.cells[at + static_cast<unsigned>(std::countr_zero(match))];
        if (cell >> kPositionBits == fragment && try_position(position_of(cell))) return true;
      }
      if (free_cells(tags) != 0) return false;
    }
  }
  // Null when it is in the file only.
  [[nodiscard]] const Entry* entry(std::uint32_t position) const {
    const std::size_t chunk = position / EntryChunk::kEntries;
    return chunks_[chunk] == nullptr ? nullptr : &(*chunks_[chunk])[position % EntryChunk::kEntries];
  }
  [[nodiscard]] Offset offset_of(const Entry& entry) const { return base_offset_ + entry.offset_delta; }
  [[nodiscard]] WallMs time_of(const Entry& entry) const { return base_time_ + entry.time_delta_ms; }

  // --- the file ----------------------------------------------------------------------------------

  [[nodiscard]] std::uint32_t flushed() const { return flushed_; }
  // CRC-32C of the flushed() entries as they are in the file; right after they were taken or loaded.
  [[nodiscard]] std::uint32_t flushed_crc() const { return crc_; }
  // Appends the entries from flushed() on to `out` and takes them for flushed.
  void take_unflushed(std::vector<Unflushed>& out);
  // Sealed and in the file: the entries leave memory.
  void drop_entries() {
    for (auto& chunk : chunks_) chunk.reset();
  }
  // The next entries of the file, at recovery.
  void load(std::span<const Entry> entries);

 private:
  static constexpr unsigned kPositionBits = 22;
  static_assert(kGenerationEntriesMax < (1U << kPositionBits));
  static constexpr unsigned kTableBits = 8;
  static constexpr std::size_t kGroup = 16;
  static constexpr std::uint8_t kFree = 0xff;

  struct Table {
    std::unique_ptr<std::uint8_t[]> tags;
    std::unique_ptr<std::uint64_t[]> cells;
    std::uint32_t used = 0;
    unsigned bits = 0;  // 2^bits groups

    [[nodiscard]] std::size_t size() const { return cells == nullptr ? 0 : kGroup << bits; }
    [[nodiscard]] std::size_t home(std::uint64_t high) const {
      return static_cast<std::size_t>(((high << kTableBits) >> 1) >> (63 - bits)) * kGroup;
    }
    [[nodiscard]] std::size_t next(std::size_t at) const { return (at + kGroup) & ((kGroup << bits) - 1); }
    [[nodiscard]] __m128i group(std::size_t at) const {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(&tags[at]));
    }
    [[nodiscard]] bool full() const { return (std::size_t{used} + 1) * 4 > size() * 3; }
    void put(std::size_t slot, std::uint64_t cell, std::uint8_t tag) {
      tags[slot] = tag;
      cells[slot] = cell;
    }
    void grow();
  };

  [[nodiscard]] const Table& table_of(Id id) const { return tables_[id.high >> (64 - kTableBits)]; }
  [[nodiscard]] static unsigned matching(__m128i tags, std::uint8_t tag) {
    return static_cast<unsigned>(
        _mm_movemask_epi8(_mm_cmpeq_epi8(tags, _mm_set1_epi8(static_cast<char>(tag)))));
  }
  [[nodiscard]] static unsigned free_cells(__m128i tags) { return matching(tags, kFree); }
  [[nodiscard]] static std::uint8_t tag_of(Id id) { return std::min<std::uint8_t>(id.low & 0xff, kFree - 1); }
  [[nodiscard]] static std::uint32_t position_of(std::uint64_t cell) {
    return static_cast<std::uint32_t>(cell & ((std::uint64_t{1} << kPositionBits) - 1));
  }
  void append(std::uint64_t high, std::uint64_t low, std::uint32_t offset_delta, std::uint32_t time_delta_ms);
  void sum_up();
  void index(Id id, std::uint32_t position);

  std::uint64_t serial_;
  Offset base_offset_;
  WallMs base_time_;
  WallMs newest_time_ = 0;
  std::uint32_t count_ = 0;
  std::array<Table, 1 << kTableBits> tables_;
  std::vector<std::shared_ptr<EntryChunk>> chunks_;
  std::uint32_t summed_ = 0;  // entries in crc_
  std::uint32_t crc_ = 0;
  std::uint32_t flushed_ = 0;
};

}  // namespace esc::dedup
