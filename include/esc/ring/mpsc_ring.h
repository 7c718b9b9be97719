// A bounded queue from many producer threads to one consumer thread, for housekeeping traffic: log
// lines, requests for off-core work, their answers. The data path uses SpscRing.
//
// Shape: Vyukov's bounded queue: every slot carries a sequence number that says whose turn it is.
// Errors: full is back-pressure (try_push false). A producer that is preempted between claiming and
// publishing a slot hides the messages behind it until it runs again; nothing is lost or reordered.
// Source: D. Vyukov, "Bounded MPMC queue", 1024cores.net.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "esc/base/assert.h"
#include "esc/ring/spsc_ring.h"

namespace esc::ring {

template <class T>
class MpscRing {
  static_assert(std::is_trivially_copyable_v<T>, "messages are copied between threads as bytes");

 public:
  // `capacity` messages, a power of two, at least 2.
  explicit MpscRing(std::uint32_t capacity)
      : mask_(capacity - 1), slots_(std::make_unique<Slot[]>(capacity)) {
    ESC_ASSERT(std::has_single_bit(capacity));
    ESC_ASSERT(capacity >= 2);
    ESC_ASSERT(capacity <= kCapacityMax);
    for (std::uint32_t i = 0; i < capacity; ++i) slots_[i].turn.store(i, std::memory_order_relaxed);
  }
  MpscRing(const MpscRing&) = delete;
  MpscRing& operator=(const MpscRing&) = delete;

  [[nodiscard]] std::uint32_t capacity() const { return static_cast<std::uint32_t>(mask_ + 1); }

  // Any thread. False when full. Lock-free, not wait-free; not for signal handlers.
  [[nodiscard]] bool try_push(const T& message) {
    std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    while (true) {
      Slot& slot = slots_[tail & mask_];
      // Acquire pairs with the consumer's release store of turn: it is done reading the slot.
      const std::uint64_t turn = slot.turn.load(std::memory_order_acquire);
      if (turn == tail) {
        // Relaxed: the claim orders nothing; the release store of turn below publishes.
        if (!tail_.compare_exchange_weak(tail, tail + 1, std::memory_order_relaxed)) continue;
        slot.message = message;
        // Release pairs with the acquire load of turn in try_pop: the message is written.
        slot.turn.store(tail + 1, std::memory_order_release);
        return true;
      }
      if (turn < tail) return false;  // still holds the message of one lap ago
      tail = tail_.load(std::memory_order_relaxed);
    }
  }

  // Consumer only. False when empty.
  [[nodiscard]] bool try_pop(T& message) {
    Slot& slot = slots_[head_ & mask_];
    // Acquire pairs with the producer's release store of turn: the message is written.
    if (slot.turn.load(std::memory_order_acquire) != head_ + 1) return false;
    message = slot.message;
    // Release pairs with the acquire load of turn in try_push, one lap later.
    slot.turn.store(head_ + mask_ + 1, std::memory_order_release);
    ++head_;
    return true;
  }

 private:
  struct Slot {
    std::atomic<std::uint64_t> turn{0};
    T message;
  };

  const std::uint64_t mask_;
  const std::unique_ptr<Slot[]> slots_;
  alignas(kCacheLineBytes) std::atomic<std::uint64_t> tail_{0};
  alignas(kCacheLineBytes) std::uint64_t head_ = 0;
};

}  // namespace esc::ring
