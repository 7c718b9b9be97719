// Virtual time: an ordered queue of events and timers. Time moves only when an event runs, so a run is
// a function of its inputs. Events of equal time run in the order in which they were scheduled.
//
// Threading: one thread. Source of all latency in a simulation; nothing here reads a real clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include "esc/base/units.h"
#include "esc/io/clock.h"

namespace esc::sim {

class SimClock final : public io::Clock {
 public:
  explicit SimClock(Nanos start = kSecond, WallMs wall_start = 1'700'000'000'000)
      : now_(start), wall_offset_ms_(wall_start - start / kMillisecond) {}
  ~SimClock() override;
  SimClock(const SimClock&) = delete;
  SimClock& operator=(const SimClock&) = delete;

  Nanos now() const override { return now_; }
  WallMs wall_ms() const override { return wall_offset_ms_ + now_ / kMillisecond; }
  void arm(io::Timer& timer, Nanos deadline) override;
  void disarm(io::Timer& timer) override;

  // Runs `action` at `at` (or now, when that is past). It is kept without allocation, so it is small: see
  // kActionBytes.
  template <class Action>
  void schedule(Nanos at, Action&& action) {
    using Kept = std::decay_t<Action>;
    static_assert(sizeof(Kept) <= kActionBytes && alignof(Kept) <= alignof(std::max_align_t));
    const std::uint32_t slot = take_slot();
    Event& event = event_at(slot);
    ::new (static_cast<void*>(event.action)) Kept(std::forward<Action>(action));
    event.run = [](std::byte* kept, bool wanted) {
      auto* const typed = std::launder(reinterpret_cast<Kept*>(kept));
      if (wanted) (*typed)();
      typed->~Kept();
    };
    queue(at, slot);
  }
  // When the next event or timer is due; INT64_MAX when there is none.
  [[nodiscard]] Nanos next_at() const { return heap_.empty() ? INT64_MAX : heap_.front().at; }
  // Runs the next event or timer; false when there is none.
  bool step();
  // Runs everything due up to `at`; the time is `at` afterwards.
  void run_until(Nanos at);
  void run_for(Nanos duration) { run_until(now_ + duration); }
  // A jump of the wall clock, as an operator or NTP makes it.
  void shift_wall(WallMs by) { wall_offset_ms_ += by; }
  [[nodiscard]] std::uint64_t steps() const { return steps_; }

 private:
  static constexpr std::size_t kActionBytes = 64;
  static constexpr std::size_t kEventsPerChunk = 256;
  // Stays where it is while it runs, whatever it schedules.
  struct Event {
    io::Timer* timer = nullptr;                             // or
    void (*run)(std::byte* action, bool wanted) = nullptr;  // runs what is kept, if wanted, and destroys it
    alignas(std::max_align_t) std::byte action[kActionBytes];
  };
  // Time, then order of scheduling.
  struct Due {
    Nanos at = 0;
    std::uint32_t sequence = 0;
    std::uint32_t slot = 0;
  };
  struct Later {
    bool operator()(const Due& a, const Due& b) const {
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };
  [[nodiscard]] Event& event_at(std::uint32_t slot) {
    return chunks_[slot / kEventsPerChunk][slot % kEventsPerChunk];
  }
  [[nodiscard]] std::uint32_t take_slot();
  void queue(Nanos at, std::uint32_t slot);

  Nanos now_;
  WallMs wall_offset_ms_;
  std::uint32_t sequence_ = 0;
  std::uint64_t steps_ = 0;
  std::vector<Due> heap_;  // the next one first
  std::vector<std::unique_ptr<Event[]>> chunks_;
  std::vector<std::uint32_t> free_;
};

}  // namespace esc::sim
