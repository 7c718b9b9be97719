#include "esc/dedup/generation.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <utility>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::dedup {
namespace {

constexpr std::int64_t kDeltaMax = std::numeric_limits<std::uint32_t>::max();

static_assert(std::endian::native == std::endian::little, "entries are written as they lie in memory");

}  // namespace

std::uint64_t Generation::memory_bytes() const {
  std::uint64_t bytes = 0;
  for (const Table& table : tables_) bytes += table.size() * (sizeof(std::uint64_t) + sizeof(std::uint8_t));
  const auto held =
      std::count_if(chunks_.begin(), chunks_.end(), [](const auto& chunk) { return chunk != nullptr; });
  return bytes + static_cast<std::uint64_t>(held) * sizeof(EntryChunk);
}

bool Generation::accepts(Offset offset, WallMs time) const {
  return count_ < kGenerationEntriesMax && offset >= base_offset_ && offset - base_offset_ <= kDeltaMax &&
         time >= base_time_ && time - base_time_ <= kDeltaMax;
}

void Generation::insert(Id id, Offset offset, WallMs time) {
  ESC_ASSERT(accepts(offset, time) && !id.none());
  append(id.high, id.low, static_cast<std::uint32_t>(offset - base_offset_),
         static_cast<std::uint32_t>(time - base_time_));
}

// Numbers in registers, and not inlined: out of an Id the compiler makes one store of 16 bytes, by way of the
// stack, and a load of 16 bytes that were stored in two halves waits until all stores before it are done.
// Those wait for the cells of other ids, which miss the caches: half of what an id costs was that.
// The checksum of a chunk is taken when the chunk is full: what a checkpoint has to sum up is short.
[[gnu::noinline]] void Generation::append(std::uint64_t high, std::uint64_t low, std::uint32_t offset_delta,
                                          std::uint32_t time_delta_ms) {
  const std::uint32_t position = count_++;
  const std::uint32_t within = position % EntryChunk::kEntries;
  if (within == 0) chunks_.push_back(std::make_shared_for_overwrite<EntryChunk>());
  (*chunks_.back())[within] = {{high, low}, offset_delta, time_delta_ms};
  newest_time_ = base_time_ + time_delta_ms;
  if (within + 1 == EntryChunk::kEntries) sum_up();
  index({high, low}, position);
}

void Generation::sum_up() {
  const std::uint32_t first = summed_ % EntryChunk::kEntries;
  crc_ = crc32c(chunks_.back()->bytes(first, count_ - summed_), crc_);
  summed_ = count_;
}

// A cell of the same id moves on to the new entry. The slice that is being filled has its entries in memory.
void Generation::index(Id id, std::uint32_t position) {
  Table& table = tables_[id.high >> (64 - kTableBits)];
  if (table.full()) table.grow();
  const std::uint64_t fragment = id.high >> kPositionBits;
  const std::uint64_t cell = (fragment << kPositionBits) | position;
  const std::uint8_t tag = tag_of(id);
  for (std::size_t at = table.home(id.high);; at = table.next(at)) {
    const __m128i tags = table.group(at);
    for (unsigned match = matching(tags, tag); match != 0; match &= match - 1) {
      std::uint64_t& here = table.cells[at + static_cast<unsigned>(std::countr_zero(match))];
      if (here >> kPositionBits != fragment || entry(position_of(here))->id != id) continue;
      here = cell;
      return;
    }
    if (const unsigned free = free_cells(tags); free != 0) {
      table.put(at + static_cast<unsigned>(std::countr_zero(free)), cell, tag);
      ++table.used;
      return;
    }
  }
}

// Homes keep their order when the table doubles, so this reads and writes in sequence.
void Generation::Table::grow() {
  const std::size_t old_size = size();
  bits += old_size == 0 ? 0 : 1;
  const auto old_cells =
      std::exchange(cells, std::make_unique_for_overwrite<std::uint64_t[]>(kGroup << bits));
  const auto old_tags = std::exchange(tags, std::make_unique_for_overwrite<std::uint8_t[]>(kGroup << bits));
  std::memset(tags.get(), kFree, kGroup << bits);
  for (std::size_t from = 0; from < old_size; ++from) {
    if (old_tags[from] == kFree) continue;
    std::size_t at = home(old_cells[from]);
    while (free_cells(group(at)) == 0) at = next(at);
    put(at + static_cast<unsigned>(std::countr_zero(free_cells(group(at)))), old_cells[from], old_tags[from]);
  }
}

void Generation::take_unflushed(std::vector<Unflushed>& out) {
  if (summed_ < count_) sum_up();
  while (flushed_ < count_) {
    const std::uint32_t first = flushed_ % EntryChunk::kEntries;
    const std::uint32_t some = std::min(count_ - flushed_, EntryChunk::kEntries - first);
    const auto& chunk = chunks_[flushed_ / EntryChunk::kEntries];
    out.push_back({serial_, std::uint64_t{flushed_} * kEntryBytes, chunk, chunk->bytes(first, some)});
    flushed_ += some;
  }
}

void Generation::load(std::span<const Entry> entries) {
  for (const Entry& loaded : entries)
    append(loaded.id.high, loaded.id.low, loaded.offset_delta, loaded.time_delta_ms);
  if (summed_ < count_) sum_up();
  flushed_ = count_;
}

}  // namespace esc::dedup
