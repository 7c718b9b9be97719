// A binary min-heap of intrusive timers. Each timer knows its slot, so moving and disarming are
// O(log n) without a search.
#pragma once

#include <cstdint>
#include <vector>

#include "esc/io/clock.h"

namespace esc::io {

class TimerHeap {
 public:
  explicit TimerHeap(std::uint32_t expected) { heap_.reserve(expected); }

  // Arms, or moves an armed timer.
  void arm(Timer& timer, Nanos deadline);
  void disarm(Timer& timer);
  [[nodiscard]] bool empty() const { return heap_.empty(); }
  [[nodiscard]] std::uint32_t size() const { return static_cast<std::uint32_t>(heap_.size()); }
  // INT64_MAX when empty.
  [[nodiscard]] Nanos next_deadline() const { return heap_.empty() ? INT64_MAX : heap_.front()->deadline; }
  // Fires what is due at `now`, earliest first; a timer that re-arms itself for the past fires in the
  // next call, so the work is bounded. Returns how many fired.
  std::uint32_t fire_due(Nanos now);

 private:
  void place(Timer* timer, std::uint32_t slot);
  void sift_up(std::uint32_t slot);
  void sift_down(std::uint32_t slot);
  void remove(std::uint32_t slot);

  std::vector<Timer*> heap_;
};

}  // namespace esc::io
