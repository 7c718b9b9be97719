// A bounded queue from exactly one producer thread to exactly one consumer thread.
//
// Shape: a power-of-two array with free-running 32-bit positions. Each side keeps a private copy of
// the other side's position and re-reads the shared one only when the copy says full (or empty), so
// in steady state a message costs one shared store and the transfer of its own cache line.
// Ownership: the storage is allocated once, by the constructor. Messages are copied, hence trivial.
// Errors: full is back-pressure: try_push returns false and the caller keeps its message.
#pragma once

#include <atomic>
#include <bit>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "esc/base/assert.h"

namespace esc::ring {

// Two 64-byte lines: adjacent-line prefetchers pull lines in pairs, so 64 alone still shares falsely.
inline constexpr std::size_t kCacheLineBytes = 128;
inline constexpr std::uint32_t kCapacityMax = 1u << 24;

template <class T>
class SpscRing {
  static_assert(std::is_trivially_copyable_v<T>, "messages are copied between threads as bytes");

 public:
  // `capacity` messages, a power of two.
  explicit SpscRing(std::uint32_t capacity)
      : mask_(capacity - 1), slots_(std::make_unique_for_overwrite<T[]>(capacity)) {
    ESC_ASSERT(std::has_single_bit(capacity));
    ESC_ASSERT(capacity <= kCapacityMax);
  }
  SpscRing(const SpscRing&) = delete;
  SpscRing& operator=(const SpscRing&) = delete;

  [[nodiscard]] std::uint32_t capacity() const { return mask_ + 1; }

  // Producer only. False when full.
  [[nodiscard]] bool try_push(const T& message) {
    const std::uint32_t tail = producer_.tail.load(std::memory_order_relaxed);  // only we store it
    if (tail - producer_.head_seen > mask_) {
      // Acquire pairs with the consumer's release store of head: its reads of the slot are over.
      producer_.head_seen = consumer_.head.load(std::memory_order_acquire);
      if (tail - producer_.head_seen > mask_) return false;
    }
    slots_[tail & mask_] = message;
    // Release pairs with the acquire loads of tail in consume() and empty(): the slot is written.
    producer_.tail.store(tail + 1, std::memory_order_release);
    return true;
  }

  // Producer only: messages that can certainly be pushed now.
  [[nodiscard]] std::uint32_t free_slots() {
    // Acquire pairs with the consumer's release store of head, as in try_push.
    producer_.head_seen = consumer_.head.load(std::memory_order_acquire);
    return capacity() - (producer_.tail.load(std::memory_order_relaxed) - producer_.head_seen);
  }

  // Consumer only. Calls f(const T&) for at most `budget` messages, in order; returns how many.
  // f gets a copy, so it may push into any ring; slots are handed back once, at the end.
  template <class F>
  std::uint32_t consume(std::uint32_t budget, F&& f) {
    const std::uint32_t head = consumer_.head.load(std::memory_order_relaxed);  // only we store it
    if (consumer_.tail_seen == head) {
      // Acquire pairs with the producer's release store of tail: the slots up to it are written.
      consumer_.tail_seen = producer_.tail.load(std::memory_order_acquire);
    }
    const std::uint32_t ready = consumer_.tail_seen - head;
    const std::uint32_t count = ready < budget ? ready : budget;
    for (std::uint32_t i = 0; i < count; ++i) {
      const T message = slots_[(head + i) & mask_];
      f(message);
    }
    // Release pairs with the producer's acquire load of head: we no longer read these slots.
    if (count > 0) consumer_.head.store(head + count, std::memory_order_release);
    return count;
  }

  // Consumer only. False when empty.
  [[nodiscard]] bool try_pop(T& message) {
    return consume(1, [&](const T& popped) { message = popped; }) == 1;
  }

  // Consumer only: nothing to consume at this moment.
  [[nodiscard]] bool empty() const {
    // Acquire pairs with the producer's release store of tail.
    return producer_.tail.load(std::memory_order_acquire) == consumer_.head.load(std::memory_order_relaxed);
  }

 private:
  // What the producer writes, on its own lines.
  struct alignas(kCacheLineBytes) Producer {
    std::atomic<std::uint32_t> tail{0};  // next position to write
    std::uint32_t head_seen = 0;         // a past value of head: never ahead of the real one
  };
  // What the consumer writes, on its own lines.
  struct alignas(kCacheLineBytes) Consumer {
    std::atomic<std::uint32_t> head{0};  // next position to read
    std::uint32_t tail_seen = 0;         // a past value of tail
  };

  const std::uint32_t mask_;
  const std::unique_ptr<T[]> slots_;
  Producer producer_;
  Consumer consumer_;
};

}  // namespace esc::ring
