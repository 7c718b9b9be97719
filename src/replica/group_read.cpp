// Reads from the tail in memory, and small lookups.
#include <fmt/format.h>
#include <algorithm>
#include <cstring>

#include "checkpointer.h"
#include "esc/replica/group.h"

namespace esc::replica {

Partition* Group::find(PartitionId id) const {
  return id.value() < by_id_.size() ? by_id_[id.value()].get() : nullptr;
}

bool Group::in_tail(const Partition& partition, Offset offset) const {
  return partition.tail_oldest_ != kNoEntry && offset >= ring_.entry(partition.tail_oldest_).base_offset;
}

// The entry that contains `offset`. Consumers are mostly near the end, so the walk starts at the closer end.
std::uint64_t Group::tail_entry(const Partition& partition, Offset offset) const {
  const EntryRecord& oldest = ring_.entry(partition.tail_oldest_);
  const EntryRecord& newest = ring_.entry(partition.tail_newest_);
  if (offset - oldest.base_offset < newest.last_offset - offset) {
    std::uint64_t at = partition.tail_oldest_;
    while (ring_.entry(at).last_offset < offset) at = ring_.entry(at).newer;
    return at;
  }
  std::uint64_t at = partition.tail_newest_;
  while (ring_.entry(at).base_offset > offset) at = ring_.entry(at).older;
  return at;
}

Group::TailRead Group::read_tail(const Partition& partition, Offset offset, ByteSpan into) const {
  TailRead read;
  read.next = offset;
  if (offset >= partition.high_watermark_ || !in_tail(partition, offset)) return read;
  for (std::uint64_t at = tail_entry(partition, offset); at != kNoEntry && at < commit_sequence_;) {
    const EntryRecord& record = ring_.entry(at);
    if (read.needed == 0) read.needed = record.body_bytes;
    if (read.bytes + record.body_bytes > into.size()) break;
    std::memcpy(into.data() + read.bytes, record.body, record.body_bytes);
    read.bytes += record.body_bytes;
    read.next = record.last_offset.next();
    at = record.newer;
  }
  return read;
}

std::uint64_t Group::tail_bytes_from(const Partition& partition, Offset offset, std::uint64_t limit) const {
  if (offset >= partition.high_watermark_ || !in_tail(partition, offset)) return 0;
  std::uint64_t bytes = 0;
  for (std::uint64_t at = tail_entry(partition, offset);
       at != kNoEntry && at < commit_sequence_ && bytes < limit;) {
    bytes += ring_.entry(at).body_bytes;
    at = ring_.entry(at).newer;
  }
  return bytes;
}

const EntryRecord* Group::tail_at_time(const Partition& partition, WallMs timestamp) const {
  for (std::uint64_t at = partition.tail_oldest_; at != kNoEntry && at < commit_sequence_;) {
    const EntryRecord& record = ring_.entry(at);
    if (record.max_timestamp >= timestamp) return &record;
    at = record.newer;
  }
  return nullptr;
}

WallMs Group::max_timestamp(const Partition& partition) const {
  WallMs newest = partition.log().max_timestamp();
  for (std::uint64_t at = partition.tail_oldest_; at != kNoEntry && at < commit_sequence_;
       at = ring_.entry(at).newer) {
    newest = std::max(newest, ring_.entry(at).max_timestamp);
  }
  return newest;
}

// The number makes the name unique for ever; the topic's name makes it readable.
std::string Group::partition_directory(const PartitionIdentity& identity) const {
  constexpr std::size_t kTopicCharsMax = 200;  // NAME_MAX is 255
  return fmt::format("{}/partitions/{}-{}-{}", options_.data_directory, identity.id.value(),
                     identity.topic.substr(0, kTopicCharsMax), identity.index);
}

store::Options Group::store_options(const PartitionIdentity& identity) const {
  store::Options options = options_.store;
  options.segment_bytes = identity.segment_bytes;
  options.segment_ms = identity.segment_ms;
  return options;
}

}  // namespace esc::replica
