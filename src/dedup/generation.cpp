#include "esc/dedup/generation.h"

#include <algorithm>
#include <limits>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::dedup {
namespace {

constexpr std::int64_t kDeltaMax = std::numeric_limits<std::uint32_t>::max();

static_assert(std::endian::native == std::endian::little, "entries are written as they lie in memory");

}  // namespace

std::uint64_t Generation::memory_bytes() const {
  std::uint64_t bytes = 0;
  for (const Table& table : tables_) {
    if (table.buckets != nullptr) bytes += (std::uint64_t{table.mask} + 1) * sizeof(Bucket);
  }
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
  append(
      {id, static_cast<std::uint32_t>(offset - base_offset_), static_cast<std::uint32_t>(time - base_time_)});
}

// The checksum of a chunk is taken when the chunk is full: what a checkpoint has to sum up is short.
void Generation::append(const Entry& entry) {
  const std::uint32_t position = count_++;
  const std::uint32_t within = position % EntryChunk::kEntries;
  if (within == 0) chunks_.push_back(std::make_shared_for_overwrite<EntryChunk>());
  (*chunks_.back())[within] = entry;
  newest_time_ = time_of(entry);
  if (within + 1 == EntryChunk::kEntries) sum_up();
  index(entry.id, position);
}

void Generation::sum_up() {
  const std::uint32_t first = summed_ % EntryChunk::kEntries;
  crc_ = crc32c(chunks_.back()->bytes(first, count_ - summed_), crc_);
  summed_ = count_;
}

// A cell of the same id moves on to the new entry. The slice that is being filled has its entries in memory.
void Generation::index(Id id, std::uint32_t position) {
  Table& table = tables_[id.high >> (64 - kTableBits)];
  if (table.buckets == nullptr || table.full()) table.grow();
  const std::uint64_t fragment = id.high >> kPositionBits;
  const std::uint64_t cell = (fragment << kPositionBits) | position;
  const std::uint8_t tag = tag_of(id);
  for (std::size_t at = table.home(id.high);; at = (at + 1) & table.mask) {
    Bucket& bucket = table.buckets[at];
    for (unsigned match = bucket.matching(tag); match != 0; match &= match - 1) {
      std::uint64_t& here = bucket.cells[std::countr_zero(match)];
      if (here >> kPositionBits != fragment || entry(position_of(here))->id != id) continue;
      here = cell;
      return;
    }
    if (const unsigned free = bucket.free(); free != 0) {
      const int slot = std::countr_zero(free);
      bucket.tags[slot] = tag;
      bucket.cells[slot] = cell;
      ++table.used;
      return;
    }
  }
}

void Generation::Table::place(std::uint64_t cell, std::uint8_t tag) {
  std::size_t at = home(cell);
  while (buckets[at].free() == 0) at = (at + 1) & mask;
  const int slot = std::countr_zero(buckets[at].free());
  buckets[at].tags[slot] = tag;
  buckets[at].cells[slot] = cell;
}

// Homes keep their order when the table doubles, so this reads and writes in sequence.
void Generation::Table::grow() {
  const std::unique_ptr<Bucket[]> old = std::move(buckets);
  const std::uint32_t old_buckets = old == nullptr ? 0 : mask + 1;
  bits += old == nullptr ? 0 : 1;
  mask = (1U << bits) - 1;
  buckets = std::make_unique<Bucket[]>(mask + 1);
  for (std::uint32_t at = 0; at < old_buckets; ++at) {
    for (unsigned slot = 0; slot < kBucketCells; ++slot) {
      if (old[at].tags[slot] != kFree) place(old[at].cells[slot], old[at].tags[slot]);
    }
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
  for (const Entry& loaded : entries) append(loaded);
  if (summed_ < count_) sum_up();
  flushed_ = count_;
}

}  // namespace esc::dedup
