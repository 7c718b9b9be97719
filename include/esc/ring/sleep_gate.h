// The agreement between a core that wants to sleep and the cores that feed it: no wake-up is lost,
// and none is sent to a core that is awake (a wake costs the sender about 12 us).
//
// The sleeper announces, fences, looks at its queues once more, and only then sleeps. The feeder
// pushes, fences, and looks at the announcement. These are the two halves of Dekker's algorithm:
// with a sequentially consistent fence on both sides at least one of the two sees the other's store.
#pragma once

#include <atomic>

#include "esc/ring/spsc_ring.h"

namespace esc::ring {

// The store-load fence of Dekker's algorithm; acquire and release cannot express it.
inline void full_fence() {
#if defined(__SANITIZE_THREAD__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"  // the sanitizer does not model fences; it need not: data moves
                                         // under the rings' acquire and release
  std::atomic_thread_fence(std::memory_order_seq_cst);
#pragma GCC diagnostic pop
#else
  std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
}

class alignas(kCacheLineBytes) SleepGate {
 public:
  // The sleeper. After this returns it must look at every queue before it sleeps, and call awake()
  // when it does not sleep or has slept.
  void announce() {
    // Relaxed: the fence orders it before the sleeper's loads; it pairs with the one in claim_wake().
    sleeping_.store(true, std::memory_order_relaxed);
    full_fence();
  }
  // The sleeper.
  void awake() { sleeping_.store(false, std::memory_order_relaxed); }

  // A feeder, after it pushed: true when it must wake the sleeper. Of several feeders one gets true.
  [[nodiscard]] bool claim_wake() {
    full_fence();  // pairs with the one in announce()
    // Relaxed: a wake carries no data. The load first, so that an awake core's line stays shared.
    return sleeping_.load(std::memory_order_relaxed) && sleeping_.exchange(false, std::memory_order_relaxed);
  }

 private:
  std::atomic<bool> sleeping_{false};
};

}  // namespace esc::ring
