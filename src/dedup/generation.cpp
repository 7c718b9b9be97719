#include "esc/dedup/generation.h"

#include <algorithm>
#include <limits>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::dedup {
namespace {

constexpr std::size_t kCellsFirst = 256;
constexpr std::int64_t kDeltaMax = std::numeric_limits<std::uint32_t>::max();

static_assert(std::endian::native == std::endian::little, "entries are written as they lie in memory");

}  // namespace

std::uint64_t Generation::memory_bytes() const {
  const auto held =
      std::count_if(chunks_.begin(), chunks_.end(), [](const auto& chunk) { return chunk != nullptr; });
  return cells_.capacity() * (sizeof(std::uint64_t) + 1) + static_cast<std::uint64_t>(held) * sizeof(Chunk);
}

bool Generation::accepts(Offset offset, WallMs time) const {
  return count_ < kGenerationEntriesMax && offset >= base_offset_ && offset - base_offset_ <= kDeltaMax &&
         time >= base_time_ && time - base_time_ <= kDeltaMax;
}

void Generation::insert(Id id, Offset offset, WallMs time) {
  ESC_ASSERT(accepts(offset, time) && !id.none());
  const std::uint32_t position = count_++;
  if (position % kChunkEntries == 0) chunks_.push_back(std::make_unique<Chunk>());
  (*chunks_.back())[position % kChunkEntries] = {id, static_cast<std::uint32_t>(offset - base_offset_),
                                                 static_cast<std::uint32_t>(time - base_time_)};
  newest_time_ = time;
  index(id, position);
}

// A cell of the same id moves on to the new entry. The slice that is being filled has its entries in memory.
void Generation::index(Id id, std::uint32_t position) {
  if ((cells_used_ + 1) * 4 > cells_.size() * 3) grow();
  const std::uint64_t fragment = id.high >> kPositionBits;
  const std::uint64_t cell = (fragment << kPositionBits) | position;
  const std::uint8_t tag = tag_of(id);
  const std::size_t mask = cells_.size() - 1;
  for (std::size_t at = home(id.high);; at = (at + kGroup) & mask) {
    const __m128i tags = group(at);
    for (unsigned match = matching(tags, tag); match != 0; match &= match - 1) {
      std::uint64_t& here = cells_[at + static_cast<unsigned>(std::countr_zero(match))];
      if (here >> kPositionBits != fragment || entry(position_of(here))->id != id) continue;
      here = cell;
      return;
    }
    if (const unsigned free = free_cells(tags); free != 0) {
      const std::size_t slot = at + static_cast<unsigned>(std::countr_zero(free));
      tags_[slot] = tag;
      cells_[slot] = cell;
      ++cells_used_;
      return;
    }
  }
}

void Generation::place(std::uint64_t cell, std::uint8_t tag) {
  const std::size_t mask = cells_.size() - 1;
  std::size_t at = home(cell);
  while (free_cells(group(at)) == 0) at = (at + kGroup) & mask;
  at += static_cast<unsigned>(std::countr_zero(free_cells(group(at))));
  tags_[at] = tag;
  cells_[at] = cell;
}

// Homes keep their order when the index doubles, so this reads and writes in sequence.
void Generation::grow() {
  const std::size_t cells = cells_.empty() ? kCellsFirst : cells_.size() * 2;
  std::vector<std::uint64_t> old_cells(cells);
  std::vector<std::uint8_t> old_tags(cells, kFree);
  old_cells.swap(cells_);
  old_tags.swap(tags_);
  shift_ = 64U - static_cast<unsigned>(std::countr_zero(cells / kGroup));
  for (std::size_t at = 0; at < old_cells.size(); ++at) {
    if (old_tags[at] != kFree) place(old_cells[at], old_tags[at]);
  }
}

void Generation::prefetch(Id id) const {
  if (!cells_.empty()) __builtin_prefetch(&tags_[home(id.high)]);
}

void Generation::prefetch_for_insert(Id id) const {
  if (cells_.empty()) return;
  __builtin_prefetch(&tags_[home(id.high)], 1);
  __builtin_prefetch(&cells_[home(id.high)], 1);
}

void Generation::take_unflushed(std::vector<std::byte>& out) {
  while (flushed_ < count_) {
    const std::uint32_t first = flushed_ % kChunkEntries;
    const std::uint32_t some = std::min(count_ - flushed_, kChunkEntries - first);
    const ByteView bytes = std::as_bytes(std::span(*chunks_[flushed_ / kChunkEntries]).subspan(first, some));
    out.insert(out.end(), bytes.begin(), bytes.end());
    flushed_crc_ = crc32c(bytes, flushed_crc_);
    flushed_ += some;
  }
}

void Generation::load(std::span<const Entry> entries) {
  for (const Entry& loaded : entries) {
    const std::uint32_t position = count_++;
    if (position % kChunkEntries == 0) chunks_.push_back(std::make_unique<Chunk>());
    (*chunks_.back())[position % kChunkEntries] = loaded;
    newest_time_ = time_of(loaded);
    index(loaded.id, position);
  }
  flushed_ = count_;
  flushed_crc_ = crc32c(std::as_bytes(entries), flushed_crc_);
}

}  // namespace esc::dedup
