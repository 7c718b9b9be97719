// Contract of time: a monotonic clock for deadlines, a wall clock for Kafka timestamps, timers.
//
// Threading: one core. `now()` is cached once per loop turn, so it is cheap and constant in a turn.
#pragma once

#include "esc/base/units.h"

namespace esc::io {

// A one-shot timer, owned by the caller, who disarms it before destroying it.
struct Timer {
  using Fire = void (*)(Timer&);
  Fire fire = nullptr;
  void* context = nullptr;
  // Private to the implementation.
  Nanos deadline = 0;
  std::uint32_t heap_slot = UINT32_MAX;
  [[nodiscard]] bool armed() const { return heap_slot != UINT32_MAX; }
};

class Clock {
 public:
  virtual ~Clock() = default;
  [[nodiscard]] virtual Nanos now() const = 0;
  [[nodiscard]] virtual WallMs wall_ms() const = 0;
  // Fires once at or after `deadline`, from the loop. Re-arming an armed timer moves it.
  virtual void arm(Timer& timer, Nanos deadline) = 0;
  virtual void disarm(Timer& timer) = 0;  // no-op when not armed
};

}  // namespace esc::io
