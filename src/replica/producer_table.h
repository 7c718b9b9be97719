// The idempotent producers of a group's partitions.
//
// `ProducerTable` is what the committed log says: every member has the same after the same entry, because it
// changes by entries only, and time is that of the entries. A producer of a partition is forgotten 24 hours
// of log time after its last batch, and the one that was silent longest when the table is full.
//
// `ProducerOverlay` is the leader's: what it has appended and is not committed yet. It begins empty with
// every leadership, because a leader appends only after everything before its term is committed.
//
// Threading: the group's core. Memory: see ProducerMap; about 250 bytes for each (partition, producer).
#pragma once

#include <optional>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/replica/frame_ring.h"
#include "producer_map.h"

namespace esc::replica {

// Pairs of partition and producer, for each group. Every member must have the same: it is no setting.
inline constexpr std::uint32_t kProducersMax = 65'536;
inline constexpr std::uint32_t kPendingProducersMax = 8'192;
inline constexpr WallMs kProducerExpiryMs = 24 * 3600 * WallMs{1000};

class ProducerTable {
 public:
  explicit ProducerTable(std::uint32_t capacity = kProducersMax) : map_(capacity) {}

  [[nodiscard]] const ProducerState* find(const ProducerKey& key) const { return map_.find(key); }
  // A committed batch, in log order.
  void apply(ProducerBatch batch);
  void forget(PartitionId partition);
  void clear();

  [[nodiscard]] bool remembers(PartitionId partition) const { return map_.any_of(partition); }
  // Appends what is remembered of a partition: docs/formats/checkpoint.md.
  void save(PartitionId partition, std::vector<std::byte>& out) const;
  // Adds to a table that has nothing of `partition`; finish_load() after the last one. False: the bytes make
  // no sense; the table is to be cleared.
  [[nodiscard]] bool load(PartitionId partition, ByteView bytes);
  void finish_load();

  [[nodiscard]] std::uint32_t size() const { return map_.size(); }
  // Forgotten before their time, because the table was full.
  [[nodiscard]] std::uint64_t evicted() const { return evicted_; }

 private:
  void expire();

  ProducerMap map_;
  WallMs time_ = 0;  // of the log, as far as producers have moved it
  std::uint64_t evicted_ = 0;
};

class ProducerOverlay {
 public:
  explicit ProducerOverlay(std::uint32_t capacity = kPendingProducersMax) : map_(capacity) {}

  // What is known of a producer, appended batches included.
  [[nodiscard]] const ProducerState* find(const ProducerTable& committed, const ProducerKey& key) const {
    const ProducerState* pending = map_.find(key);
    return pending != nullptr ? pending : committed.find(key);
  }
  [[nodiscard]] bool has_room(const ProducerKey& key) const {
    return !map_.full() || map_.find(key) != nullptr;
  }
  // Appended; requires room.
  void add(const ProducerTable& committed, const ProducerBatch& batch);
  // Everything of the producer up to `index` is in the table.
  void committed(const ProducerKey& key, Index index);
  void forget(PartitionId partition) { map_.erase_partition(partition); }
  void clear() { map_.clear(); }
  [[nodiscard]] std::uint32_t size() const { return map_.size(); }

 private:
  ProducerMap map_;
};

// The header of a valid batch as producers are concerned; nothing when it is not of an idempotent producer.
[[nodiscard]] std::optional<ProducerBatch> producer_batch(PartitionId partition, ByteView batch);
// Its place in the log, taken from the entry that holds it.
void place(ProducerBatch& batch, const EntryRecord& record);

}  // namespace esc::replica
