// The event loop of one core as its users see it: disk, network and clock behind one wait.
//
// Two implementations: the io_uring loop (`UringLoop`) and the simulated one (`sim::SimLoop`). The loops of
// one node are of one kind.
// Threading: the first poll() binds the loop to its calling thread, and from then on every call is made
// there. Exceptions: wake() from any thread, wake_from() from the thread of the sender's loop.
#pragma once

#include <cstdint>

#include "esc/base/units.h"
#include "esc/io/clock.h"
#include "esc/io/disk.h"
#include "esc/io/net.h"

namespace esc::io {

class Loop : public Disk, public Net, public Clock {
 public:
  // One turn: submits what was prepared, waits for a completion, a timer or a wake-up, but not beyond
  // `wait_until` (a value of the clock of now(); 0 or the past: do not wait), then runs callbacks.
  // Returns the amount of work done (completions, timers, closings).
  virtual std::uint32_t poll(Nanos wait_until) = 0;
  // Hands prepared operations to the kernel now, in the middle of a turn, without running callbacks.
  virtual void flush() = 0;

  // Ends the current or next wait. Any thread; async-signal-safe.
  virtual void wake() = 0;
  // The same from the core that owns `sender`, a loop of the same kind: cheaper where there is a way.
  virtual void wake_from(Loop& sender) = 0;

  [[nodiscard]] virtual std::uint32_t connections_open() const = 0;
  [[nodiscard]] virtual std::uint32_t disk_ops_in_flight() const = 0;
};

}  // namespace esc::io
