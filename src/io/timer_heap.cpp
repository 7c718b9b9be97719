#include "timer_heap.h"

#include "esc/base/assert.h"

namespace esc::io {

void TimerHeap::place(Timer* timer, std::uint32_t slot) {
  heap_[slot] = timer;
  timer->heap_slot = slot;
}

void TimerHeap::sift_up(std::uint32_t slot) {
  Timer* const timer = heap_[slot];
  while (slot > 0) {
    const std::uint32_t parent = (slot - 1) / 2;
    if (heap_[parent]->deadline <= timer->deadline) break;
    place(heap_[parent], slot);
    slot = parent;
  }
  place(timer, slot);
}

void TimerHeap::sift_down(std::uint32_t slot) {
  Timer* const timer = heap_[slot];
  while (true) {
    std::uint32_t child = 2 * slot + 1;
    if (child >= size()) break;
    if (child + 1 < size() && heap_[child + 1]->deadline < heap_[child]->deadline) ++child;
    if (timer->deadline <= heap_[child]->deadline) break;
    place(heap_[child], slot);
    slot = child;
  }
  place(timer, slot);
}

void TimerHeap::remove(std::uint32_t slot) {
  heap_[slot]->heap_slot = UINT32_MAX;
  Timer* const last = heap_.back();
  heap_.pop_back();
  if (slot == size()) return;
  place(last, slot);
  sift_up(slot);
  sift_down(last->heap_slot);
}

void TimerHeap::arm(Timer& timer, Nanos deadline) {
  ESC_ASSERT(timer.fire != nullptr);
  if (!timer.armed()) {
    timer.deadline = deadline;
    heap_.push_back(&timer);
    sift_up(size() - 1);
    return;
  }
  ESC_ASSERT(timer.heap_slot < size());
  ESC_ASSERT(heap_[timer.heap_slot] == &timer);
  timer.deadline = deadline;
  sift_up(timer.heap_slot);
  sift_down(timer.heap_slot);
}

void TimerHeap::disarm(Timer& timer) {
  if (!timer.armed()) return;
  ESC_ASSERT(timer.heap_slot < size());
  ESC_ASSERT(heap_[timer.heap_slot] == &timer);
  remove(timer.heap_slot);
}

std::uint32_t TimerHeap::fire_due(Nanos now) {
  const std::uint32_t armed_before = size();
  std::uint32_t fired = 0;
  while (fired < armed_before && !heap_.empty() && heap_.front()->deadline <= now) {
    Timer& timer = *heap_.front();
    remove(0);
    ++fired;
    timer.fire(timer);
  }
  return fired;
}

}  // namespace esc::io
