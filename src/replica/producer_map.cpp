#include "producer_map.h"

#include <algorithm>
#include <bit>

namespace esc::replica {
namespace {

// Ids of one group are consecutive; the multiplier spreads them (Knuth, The Art of Computer Programming 6.4).
std::uint64_t hash(const ProducerKey& key) {
  const auto mixed = static_cast<std::uint64_t>(key.producer) ^ (std::uint64_t{key.partition.value()} << 32);
  return (mixed * 0x9e3779b97f4a7c15ULL) >> 32;
}

}  // namespace

std::uint32_t& ProducerMap::bucket(const ProducerKey& key) {
  return buckets_[hash(key) & (buckets_.size() - 1)];
}

std::uint32_t ProducerMap::locate(const ProducerKey& key) {
  if (size_ == 0) return kNone;
  std::uint32_t at = bucket(key);
  while (at != kNone && !(place(at).key == key)) at = place(at).bucket_next;
  return at;
}

ProducerState* ProducerMap::find(const ProducerKey& key) {
  const std::uint32_t at = locate(key);
  return at == kNone ? nullptr : &place(at).state;
}

std::uint32_t ProducerMap::take_place() {
  if (free_ == kNone) {
    const auto first = static_cast<std::uint32_t>(chunks_.size()) * kChunkPlaces;
    chunks_.push_back(std::make_unique<Place[]>(kChunkPlaces));
    for (std::uint32_t i = kChunkPlaces; i-- > 0;) {
      place(first + i).bucket_next = free_;
      free_ = first + i;
    }
  }
  const std::uint32_t at = free_;
  free_ = place(at).bucket_next;
  return at;
}

ProducerState& ProducerMap::insert(const ProducerKey& key) {
  ESC_ASSERT(!full());
  if (buckets_.empty()) buckets_.assign(std::bit_ceil(capacity_), kNone);
  if (chains_.size() <= key.partition.value()) chains_.resize(std::size_t{key.partition.value()} + 1);
  const std::uint32_t at = take_place();
  Place& added = place(at);
  added = Place{};
  added.key = key;
  added.bucket_next = bucket(key);
  bucket(key) = at;
  ++size_;
  link(at);
  return added.state;
}

// At the new end of both orders.
void ProducerMap::link(std::uint32_t at) {
  Place& added = place(at);
  added.older = newest_;
  added.newer = kNone;
  (newest_ == kNone ? oldest_ : place(newest_).newer) = at;
  newest_ = at;
  Chain& chain = chains_[added.key.partition.value()];
  added.previous = chain.last;
  added.next = kNone;
  (chain.last == kNone ? chain.first : place(chain.last).next) = at;
  chain.last = at;
}

void ProducerMap::unlink(std::uint32_t at) {
  const Place& gone = place(at);
  (gone.older == kNone ? oldest_ : place(gone.older).newer) = gone.newer;
  (gone.newer == kNone ? newest_ : place(gone.newer).older) = gone.older;
  Chain& chain = chains_[gone.key.partition.value()];
  (gone.previous == kNone ? chain.first : place(gone.previous).next) = gone.next;
  (gone.next == kNone ? chain.last : place(gone.next).previous) = gone.previous;
}

void ProducerMap::touch(const ProducerKey& key) {
  const std::uint32_t at = locate(key);
  ESC_ASSERT(at != kNone);
  if (at == newest_) return;  // then it is the last of its partition, too
  unlink(at);
  link(at);
}

void ProducerMap::remove(std::uint32_t at) {
  unlink(at);
  std::uint32_t* from = &bucket(place(at).key);
  while (*from != at) from = &place(*from).bucket_next;
  *from = place(at).bucket_next;
  place(at).bucket_next = free_;
  free_ = at;
  --size_;
}

void ProducerMap::erase(const ProducerKey& key) {
  const std::uint32_t at = locate(key);
  if (at != kNone) remove(at);
}

void ProducerMap::erase_partition(PartitionId partition) {
  if (partition.value() >= chains_.size()) return;
  while (chains_[partition.value()].first != kNone) remove(chains_[partition.value()].first);
}

void ProducerMap::clear() {
  while (size_ > 0) remove(oldest_);
}

void ProducerMap::sort_by_index() {
  std::vector<std::uint32_t> all;
  all.reserve(size_);
  for (std::uint32_t at = oldest_; at != kNone; at = place(at).newer) all.push_back(at);
  std::sort(all.begin(), all.end(), [this](std::uint32_t a, std::uint32_t b) {
    return place(a).state.batches.back().index < place(b).state.batches.back().index;
  });
  for (const std::uint32_t at : all) {
    unlink(at);
    link(at);
  }
}

}  // namespace esc::replica
