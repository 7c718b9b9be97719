// A bounded hash map from (partition, producer) to what is remembered, kept in order of use, and also
// chained by partition.
//
// Threading: the group's core. Memory: chunks of 256 places as they are needed, up to the capacity given; an
// insertion allocates only when it needs a new chunk, or names a partition number above all before.
#pragma once

#include <memory>
#include <vector>

#include "producer_state.h"

namespace esc::replica {

class ProducerMap {
 public:
  explicit ProducerMap(std::uint32_t capacity) : capacity_(capacity) {}

  [[nodiscard]] std::uint32_t size() const { return size_; }
  [[nodiscard]] std::uint32_t capacity() const { return capacity_; }
  [[nodiscard]] bool full() const { return size_ == capacity_; }

  [[nodiscard]] ProducerState* find(const ProducerKey& key);
  [[nodiscard]] const ProducerState* find(const ProducerKey& key) const {
    return const_cast<ProducerMap*>(this)->find(key);
  }
  // Requires: not there, not full. Becomes the newest.
  ProducerState& insert(const ProducerKey& key);
  // It is there; becomes the newest.
  void touch(const ProducerKey& key);
  void erase(const ProducerKey& key);
  void erase_partition(PartitionId partition);
  void clear();

  [[nodiscard]] bool any_of(PartitionId partition) const {
    return partition.value() < chains_.size() && chains_[partition.value()].first != kNone;
  }
  // The one that was inserted or touched longest ago; requires size() > 0.
  [[nodiscard]] ProducerKey oldest() const { return place(oldest_).key; }
  [[nodiscard]] ProducerKey newest() const { return place(newest_).key; }
  // fn(const ProducerKey&, const ProducerState&), oldest first.
  template <class F>
  void for_each(F&& fn) const {
    for (std::uint32_t at = oldest_; at != kNone; at = place(at).newer) fn(place(at).key, place(at).state);
  }
  // The same of one partition.
  template <class F>
  void for_each(PartitionId partition, F&& fn) const {
    if (partition.value() >= chains_.size()) return;
    for (std::uint32_t at = chains_[partition.value()].first; at != kNone; at = place(at).next)
      fn(place(at).key, place(at).state);
  }
  // Puts everything in the order of the newest log entries: after a load, partition by partition.
  void sort_by_index();

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  static constexpr std::uint32_t kChunkPlaces = 256;
  struct Place {
    ProducerKey key;
    ProducerState state;
    std::uint32_t bucket_next = kNone;  // also the list of free places
    std::uint32_t older = kNone;
    std::uint32_t newer = kNone;
    std::uint32_t previous = kNone;  // of the same partition
    std::uint32_t next = kNone;
  };
  struct Chain {
    std::uint32_t first = kNone;
    std::uint32_t last = kNone;
  };

  [[nodiscard]] Place& place(std::uint32_t at) { return chunks_[at / kChunkPlaces][at % kChunkPlaces]; }
  [[nodiscard]] const Place& place(std::uint32_t at) const {
    return chunks_[at / kChunkPlaces][at % kChunkPlaces];
  }
  [[nodiscard]] std::uint32_t& bucket(const ProducerKey& key);
  [[nodiscard]] std::uint32_t locate(const ProducerKey& key);
  [[nodiscard]] std::uint32_t take_place();
  void link(std::uint32_t at);
  void unlink(std::uint32_t at);
  void remove(std::uint32_t at);

  std::uint32_t capacity_;
  std::uint32_t size_ = 0;
  std::vector<std::unique_ptr<Place[]>> chunks_;
  std::vector<std::uint32_t> buckets_;
  std::vector<Chain> chains_;  // by partition
  std::uint32_t free_ = kNone;
  std::uint32_t oldest_ = kNone;
  std::uint32_t newest_ = kNone;
};

}  // namespace esc::replica
