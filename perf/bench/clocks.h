// The two clocks of the bench. It measures real machines, so it reads them directly.
#pragma once

#include <time.h>

#include "esc/base/units.h"

namespace esc::bench {

// Comparable between processes of one machine, so that a consumer elsewhere can compute latencies.
[[nodiscard]] inline Nanos monotonic_nanos() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Nanos{now.tv_sec} * kSecond + now.tv_nsec;
}

[[nodiscard]] inline WallMs wall_ms() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return WallMs{now.tv_sec} * 1000 + now.tv_nsec / kMillisecond;
}

inline void sleep_until(Nanos when) {
  const timespec at{.tv_sec = when / kSecond, .tv_nsec = when % kSecond};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, nullptr) != 0) {
  }
}

}  // namespace esc::bench
