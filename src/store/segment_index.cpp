#include "segment_index.h"

#include <algorithm>
#include <limits>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::store {
namespace {

constexpr std::uint64_t kIndexMagic = 0x58444e4943534531ULL;  // "1ESCINDX" as little-endian bytes
constexpr std::uint32_t kIndexVersion = 1;
constexpr std::size_t kCrcAt = 64;

// Everything but the checksum's own 8 bytes.
std::uint32_t index_crc(ByteView file) {
  return crc32c(file.subspan(kIndexFileHeaderBytes), crc32c(file.first(kCrcAt)));
}

}  // namespace

SegmentIndex::SegmentIndex(std::uint32_t interval_bytes) : interval_bytes_(interval_bytes) {
  ESC_ASSERT(interval_bytes > 0);
}

void SegmentIndex::reserve(std::uint32_t entries) {
  ESC_ASSERT(entries <= kIndexEntriesMax);
  entries_.reserve(entries);
}

void SegmentIndex::note(const IndexEntry& batch) {
  const std::uint32_t last = entries_.empty() ? 0 : entries_.back().position;
  if (batch.position < std::uint64_t{last} + interval_bytes_) return;
  if (entries_.size() == entries_.capacity() || entries_.size() == kIndexEntriesMax) {
    if (entries_.empty()) return;  // no room was reserved: position 0 serves
    thin();
    // The interval has doubled; the batch may be too near now.
    const std::uint32_t kept = entries_.empty() ? 0 : entries_.back().position;
    if (batch.position < std::uint64_t{kept} + interval_bytes_) return;
  }
  entries_.push_back(batch);
}

void SegmentIndex::thin() {
  std::size_t kept = 0;
  for (std::size_t i = 1; i < entries_.size(); i += 2) entries_[kept++] = entries_[i];
  entries_.resize(kept);
  if (interval_bytes_ <= std::numeric_limits<std::uint32_t>::max() / 2) interval_bytes_ *= 2;
}

void SegmentIndex::seal() {
  while (entries_.size() > kIndexEntriesSealedMax) thin();
  entries_.shrink_to_fit();
}

IndexEntry SegmentIndex::floor_offset(std::uint32_t offset_delta) const {
  const auto after =
      std::upper_bound(entries_.begin(), entries_.end(), offset_delta,
                       [](std::uint32_t wanted, const IndexEntry& e) { return wanted < e.offset_delta; });
  if (after == entries_.begin()) return {0, 0, -1};
  return *std::prev(after);
}

IndexEntry SegmentIndex::floor_time(WallMs timestamp) const {
  const auto after = std::partition_point(entries_.begin(), entries_.end(), [timestamp](const IndexEntry& e) {
    return e.max_timestamp_before < timestamp;
  });
  if (after == entries_.begin()) return {0, 0, -1};
  return *std::prev(after);
}

void SegmentIndex::restore(std::span<const IndexEntry> entries, std::uint32_t interval_bytes,
                           std::uint64_t bytes) {
  entries_.clear();
  interval_bytes_ = std::max(interval_bytes_, interval_bytes);
  for (const IndexEntry& entry : entries) {
    if (entry.position >= bytes) break;
    if (entries_.size() == kIndexEntriesMax) thin();
    if (entries_.size() == entries_.capacity()) entries_.reserve(kIndexEntriesMax);
    entries_.push_back(entry);
  }
}

ByteView encode_index_file(const IndexFile& header, std::span<const IndexEntry> entries, ByteSpan into) {
  const std::size_t size = kIndexFileHeaderBytes + entries.size_bytes();
  ESC_ASSERT(entries.size() <= kIndexEntriesMax);
  ESC_ASSERT(into.size() >= size);
  std::byte* to = into.data();
  store_le(to, kIndexMagic);
  store_le(to + 8, kIndexVersion);
  store_le(to + 12, static_cast<std::uint32_t>(entries.size()));
  store_le(to + 16, header.base_offset.value());
  store_le(to + 24, header.covered_bytes);
  store_le(to + 32, header.next_offset.value());
  store_le(to + 40, header.max_timestamp);
  store_le(to + 48, header.epoch_min);
  store_le(to + 52, header.epoch_max);
  store_le(to + 56, header.interval_bytes);
  store_le(to + 60, std::uint32_t{0});
  store_le(to + kCrcAt + 4, std::uint32_t{0});
  std::byte* entry_to = to + kIndexFileHeaderBytes;
  for (const IndexEntry& entry : entries) {
    store_le(entry_to, entry.offset_delta);
    store_le(entry_to + 4, entry.position);
    store_le(entry_to + 8, entry.max_timestamp_before);
    entry_to += sizeof(IndexEntry);
  }
  store_le(to + kCrcAt, index_crc(into.first(size)));
  return into.first(size);
}

std::expected<std::span<const IndexEntry>, Errc> decode_index_file(ByteView bytes, Offset base_offset,
                                                                   IndexFile& header,
                                                                   std::span<IndexEntry> entries) {
  ESC_ASSERT(entries.size() >= kIndexEntriesMax);
  if (bytes.size() < kIndexFileHeaderBytes) return std::unexpected(Errc::corruption);
  const std::byte* from = bytes.data();
  if (load_le<std::uint64_t>(from) != kIndexMagic) return std::unexpected(Errc::corruption);
  if (load_le<std::uint32_t>(from + 8) != kIndexVersion) return std::unexpected(Errc::unsupported);
  const auto count = load_le<std::uint32_t>(from + 12);
  if (count > kIndexEntriesMax) return std::unexpected(Errc::corruption);
  const std::size_t size = kIndexFileHeaderBytes + count * sizeof(IndexEntry);
  if (bytes.size() < size) return std::unexpected(Errc::corruption);
  if (load_le<std::uint32_t>(from + kCrcAt) != index_crc(bytes.first(size)))
    return std::unexpected(Errc::corruption);

  header.base_offset = Offset(load_le<std::int64_t>(from + 16));
  header.covered_bytes = load_le<std::uint64_t>(from + 24);
  header.next_offset = Offset(load_le<std::int64_t>(from + 32));
  header.max_timestamp = load_le<std::int64_t>(from + 40);
  header.epoch_min = load_le<std::int32_t>(from + 48);
  header.epoch_max = load_le<std::int32_t>(from + 52);
  header.interval_bytes = load_le<std::uint32_t>(from + 56);
  if (header.base_offset != base_offset || base_offset < Offset(0) || header.next_offset < base_offset)
    return std::unexpected(Errc::corruption);
  if (header.interval_bytes == 0) return std::unexpected(Errc::corruption);

  IndexEntry before{0, 0, std::numeric_limits<WallMs>::min()};
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::byte* at = from + kIndexFileHeaderBytes + i * sizeof(IndexEntry);
    const IndexEntry entry{load_le<std::uint32_t>(at), load_le<std::uint32_t>(at + 4),
                           load_le<std::int64_t>(at + 8)};
    const bool ascends = entry.offset_delta > before.offset_delta && entry.position > before.position &&
                         entry.max_timestamp_before >= before.max_timestamp_before;
    if (!ascends || entry.position >= header.covered_bytes) return std::unexpected(Errc::corruption);
    if (header.next_offset.value() - base_offset.value() <= entry.offset_delta)
      return std::unexpected(Errc::corruption);
    entries[i] = entry;
    before = entry;
  }
  return entries.first(count);
}

}  // namespace esc::store
