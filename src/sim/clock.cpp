#include "esc/sim/clock.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::sim {

SimClock::Key SimClock::next_key(Nanos at) {
  ESC_ASSERT_MSG(sequence_ < UINT32_MAX - 1, "simulation too long for its sequence numbers");
  return {std::max(at, now_), sequence_++};
}

// An armed timer finds its queue entry through (deadline, heap_slot).
void SimClock::arm(io::Timer& timer, Nanos deadline) {
  disarm(timer);
  const Key key = next_key(deadline);
  timer.deadline = key.first;
  timer.heap_slot = key.second;
  queue_.emplace(key, Event{.timer = &timer, .run = {}});
}

void SimClock::disarm(io::Timer& timer) {
  if (!timer.armed()) return;
  const std::size_t erased = queue_.erase(Key{timer.deadline, timer.heap_slot});
  ESC_ASSERT(erased == 1);
  timer.heap_slot = UINT32_MAX;
}

void SimClock::schedule(Nanos at, std::function<void()> event) {
  queue_.emplace(next_key(at), Event{.timer = nullptr, .run = std::move(event)});
}

bool SimClock::step() {
  if (queue_.empty()) return false;
  auto node = queue_.extract(queue_.begin());
  now_ = std::max(now_, node.key().first);
  ++steps_;
  Event& event = node.mapped();
  if (event.timer != nullptr) {
    event.timer->heap_slot = UINT32_MAX;
    event.timer->fire(*event.timer);
  } else {
    event.run();
  }
  return true;
}

void SimClock::run_until(Nanos at) {
  while (!queue_.empty() && queue_.begin()->first.first <= at) step();
  now_ = std::max(now_, at);
}

}  // namespace esc::sim
