// Virtual time: an ordered queue of events and timers. Time moves only when an event runs, so a run is
// a function of its inputs. Events of equal time run in the order in which they were scheduled.
//
// Threading: one thread. Source of all latency in a simulation; nothing here reads a real clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <utility>

#include "esc/base/units.h"
#include "esc/io/clock.h"

namespace esc::sim {

class SimClock final : public io::Clock {
 public:
  explicit SimClock(Nanos start = kSecond, WallMs wall_start = 1'700'000'000'000)
      : now_(start), wall_offset_ms_(wall_start - start / kMillisecond) {}

  Nanos now() const override { return now_; }
  WallMs wall_ms() const override { return wall_offset_ms_ + now_ / kMillisecond; }
  void arm(io::Timer& timer, Nanos deadline) override;
  void disarm(io::Timer& timer) override;

  // Runs `event` at `at` (or now, when that is past).
  void schedule(Nanos at, std::function<void()> event);
  // When the next event or timer is due; INT64_MAX when there is none.
  [[nodiscard]] Nanos next_at() const { return queue_.empty() ? INT64_MAX : queue_.begin()->first.first; }
  // Runs the next event or timer; false when there is none.
  bool step();
  // Runs everything due up to `at`; the time is `at` afterwards.
  void run_until(Nanos at);
  void run_for(Nanos duration) { run_until(now_ + duration); }
  // A jump of the wall clock, as an operator or NTP makes it.
  void shift_wall(WallMs by) { wall_offset_ms_ += by; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  // Time, then order of scheduling.
  using Key = std::pair<Nanos, std::uint32_t>;
  struct Event {
    io::Timer* timer = nullptr;  // or
    std::function<void()> run;
  };
  Key next_key(Nanos at);

  Nanos now_;
  WallMs wall_offset_ms_;
  std::uint32_t sequence_ = 0;
  std::uint64_t steps_ = 0;
  std::map<Key, Event> queue_;
};

}  // namespace esc::sim
