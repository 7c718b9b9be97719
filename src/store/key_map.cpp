#include "key_map.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::store {

KeyMap::KeyMap(std::uint64_t memory_bytes, std::uint64_t keys_max)
    : slot_count_(std::clamp<std::uint64_t>(
          std::min(memory_bytes / sizeof(Slot), keys_max + keys_max / 3 + 2), 4, std::uint64_t{1} << 32)),
      used_max_(slot_count_ / 4 * 3),
      slots_(static_cast<Slot*>(std::calloc(slot_count_, sizeof(Slot)))) {
  ESC_ASSERT(slots_ != nullptr);
}

KeyMap::Slot& KeyMap::slot(const dedup::Id& key) const {
  // The hash scaled to the number of slots, which is no power of two (Lemire's multiply-shift).
  std::uint64_t at = ((key.low >> 32) * slot_count_) >> 32;
  while (slots_[at].offset_plus_one != 0 && slots_[at].key != key) {
    if (++at == slot_count_) at = 0;
  }
  return slots_[at];
}

bool KeyMap::put(const dedup::Id& key, Offset offset) {
  Slot& found = slot(key);
  if (found.offset_plus_one == 0) {
    if (used_ == used_max_) return false;
    ++used_;
    found.key = key;
  }
  found.offset_plus_one = offset.value() + 1;
  return true;
}

Offset KeyMap::find(const dedup::Id& key) const {
  return Offset(slot(key).offset_plus_one - 1);
}

}  // namespace esc::store
