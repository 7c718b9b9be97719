// The mesh's Waker over loops: wakes the loop of `target` through the ring of `from`.
//
// Threading: filled before the cores start, read-only afterwards.
#pragma once

#include <vector>

#include "esc/base/assert.h"
#include "esc/io/loop.h"
#include "esc/ring/waker.h"

namespace esc::io {

class LoopWaker final : public ring::Waker {
 public:
  // The loop of the next core, in core order.
  void add(Loop& loop) { loops_.push_back(&loop); }
  void wake(CoreId from, CoreId target) override {
    ESC_ASSERT(from.value() < loops_.size());
    ESC_ASSERT(target.value() < loops_.size());
    loops_[target.value()]->wake_from(*loops_[from.value()]);
  }

 private:
  std::vector<Loop*> loops_;
};

}  // namespace esc::io
