// The 64 bits a completion carries back: what kind of request it was, and whose.
//
// Layout: kind in the top 8 bits; below it either a pointer (user addresses fit in 56 bits) or a
// 24-bit slot and a 32-bit generation.
#pragma once

#include <cstdint>

#include "esc/base/assert.h"

namespace esc::io {

enum class RequestKind : std::uint8_t {
  ignored,       // nobody waits for it (cancellations)
  disk,          // pointer: DiskOp
  accept,        // slot: listener
  receive,       // slot, generation: connection
  send,          // slot, generation: connection
  connect,       // slot, generation: connection
  wake_event,    // the eventfd was written
  wake_message,  // posted here by another loop's ring message
  wake_refused,  // pointer: the loop that our ring message did not reach
};

inline constexpr std::uint32_t kTagSlotBits = 24;
inline constexpr std::uint32_t kTagSlotsMax = 1u << kTagSlotBits;
inline constexpr std::uint32_t kTagKindShift = 56;

[[nodiscard]] constexpr std::uint64_t make_tag(RequestKind kind, std::uint32_t slot = 0,
                                               std::uint32_t generation = 0) {
  return std::uint64_t{static_cast<std::uint8_t>(kind)} << kTagKindShift | std::uint64_t{slot} << 32 |
         generation;
}
[[nodiscard]] inline std::uint64_t make_tag(RequestKind kind, const void* pointer) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  ESC_ASSERT(address >> kTagKindShift == 0);
  return std::uint64_t{static_cast<std::uint8_t>(kind)} << kTagKindShift | address;
}

[[nodiscard]] constexpr RequestKind tag_kind(std::uint64_t tag) {
  return static_cast<RequestKind>(tag >> kTagKindShift);
}
[[nodiscard]] constexpr std::uint32_t tag_slot(std::uint64_t tag) {
  return static_cast<std::uint32_t>(tag >> 32) & (kTagSlotsMax - 1);
}
[[nodiscard]] constexpr std::uint32_t tag_generation(std::uint64_t tag) {
  return static_cast<std::uint32_t>(tag);
}
template <class T>
[[nodiscard]] T* tag_pointer(std::uint64_t tag) {
  return reinterpret_cast<T*>(tag & ((std::uint64_t{1} << kTagKindShift) - 1));
}

}  // namespace esc::io
