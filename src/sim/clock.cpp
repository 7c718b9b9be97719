#include "esc/sim/clock.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::sim {

SimClock::~SimClock() {
  for (const Due& due : heap_) {
    Event& event = event_at(due.slot);
    if (event.timer == nullptr) event.run(event.action, false);
  }
}

std::uint32_t SimClock::take_slot() {
  if (free_.empty()) {
    const auto first = static_cast<std::uint32_t>(chunks_.size() * kEventsPerChunk);
    chunks_.push_back(std::make_unique_for_overwrite<Event[]>(kEventsPerChunk));
    for (std::uint32_t slot = kEventsPerChunk; slot > 0; --slot) free_.push_back(first + slot - 1);
  }
  const std::uint32_t slot = free_.back();
  free_.pop_back();
  event_at(slot).timer = nullptr;
  return slot;
}

void SimClock::queue(Nanos at, std::uint32_t slot) {
  ESC_ASSERT_MSG(sequence_ < UINT32_MAX - 1, "simulation too long for its sequence numbers");
  heap_.push_back({std::max(at, now_), sequence_++, slot});
  std::push_heap(heap_.begin(), heap_.end(), Later{});
}

void SimClock::arm(io::Timer& timer, Nanos deadline) {
  disarm(timer);
  timer.heap_slot = take_slot();
  timer.deadline = std::max(deadline, now_);
  event_at(timer.heap_slot).timer = &timer;
  queue(deadline, timer.heap_slot);
}

// Rare: simulated cores keep their own timers.
void SimClock::disarm(io::Timer& timer) {
  if (!timer.armed()) return;
  const std::size_t erased =
      std::erase_if(heap_, [&](const Due& due) { return due.slot == timer.heap_slot; });
  ESC_ASSERT(erased == 1);
  std::make_heap(heap_.begin(), heap_.end(), Later{});
  free_.push_back(timer.heap_slot);
  timer.heap_slot = UINT32_MAX;
}

bool SimClock::step() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later{});
  const Due due = heap_.back();
  heap_.pop_back();
  now_ = std::max(now_, due.at);
  ++steps_;
  Event& event = event_at(due.slot);
  if (event.timer != nullptr) {
    io::Timer& timer = *event.timer;
    free_.push_back(due.slot);
    timer.heap_slot = UINT32_MAX;
    timer.fire(timer);
  } else {
    event.run(event.action, true);
    free_.push_back(due.slot);
  }
  return true;
}

void SimClock::run_until(Nanos at) {
  while (!heap_.empty() && heap_.front().at <= at) step();
  now_ = std::max(now_, at);
}

}  // namespace esc::sim
