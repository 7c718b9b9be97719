// The newest offset of each key of a part of a log, within a fixed amount of memory.
//
// Keys are 128-bit keyed hashes: at 2^32 keys the chance that any two different ones collide is 2^-65. Open
// addressing with linear probing, 24 bytes a slot, at most 3/4 full.
//
// Threading: one owner. Memory: taken in the constructor.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>

#include "esc/base/ids.h"
#include "esc/dedup/id.h"

namespace esc::store {

class KeyMap {
 public:
  // At most `memory_bytes`, and no more than `keys_max` keys need.
  KeyMap(std::uint64_t memory_bytes, std::uint64_t keys_max);

  // Offsets come in ascending order. False: the key is new and there is no room.
  [[nodiscard]] bool put(const dedup::Id& key, Offset offset);
  // -1: not here.
  [[nodiscard]] Offset find(const dedup::Id& key) const;
  [[nodiscard]] std::uint64_t keys() const { return used_; }
  [[nodiscard]] std::uint64_t capacity() const { return used_max_; }

 private:
  struct Slot {
    dedup::Id key;
    std::int64_t offset_plus_one = 0;  // 0: empty, so that fresh memory is an empty map
  };
  static_assert(sizeof(Slot) == 24);
  [[nodiscard]] Slot& slot(const dedup::Id& key) const;

  std::uint64_t slot_count_;
  std::uint64_t used_max_;
  // From calloc: the kernel's zero pages come as they are touched, instead of all at once on a busy core.
  struct Free {
    void operator()(Slot* slots) const { std::free(slots); }
  };
  std::unique_ptr<Slot[], Free> slots_;
  std::uint64_t used_ = 0;
};

}  // namespace esc::store
