// The event loop of one core: disk, network and timers behind a single io_uring wait.
//
// Threading: create() on any thread; the first poll() binds the loop to its calling thread, and from
// then on every call is made there. Exceptions: wake() from any thread or signal handler (one system call),
// wake_from() from the thread of the sender's loop (a ring message that leaves with the sender's next
// submission, else wake()), stats() of a stopped loop.
// Memory: everything is allocated by create(), except connection slots and long gather lists, which
// grow in slabs to their high-water mark (Stats::slab_growths counts); an idle connection costs about
// 0.2 KiB here. Receive buffers are lent (ReceiveLoan), never copied.
// Lifetime: outlives its users. At destruction no disk operation may be in flight (asserted);
// connections that are still open are dropped without on_closed.
// Errors: a failed write or sync is reported, never retried. Kernel: Linux 6.1 or newer (create()
// says what is missing).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/io/loop.h"

namespace esc::obs {
class Counter;
}

namespace esc::io {

struct LoopOptions {
  std::uint32_t submission_entries = 256;   // power of two
  std::uint32_t completion_entries = 4096;  // power of two, 4-8 times what is usually outstanding
  std::uint32_t connections_max = 10'000;
  std::uint32_t receive_buffers = 128;  // power of two, at most 32768
  std::uint32_t receive_buffer_bytes = 64 * 1024;
  std::uint32_t disk_ops_max = 128;        // in the kernel at once; more wait in line
  std::uint32_t timers_expected = 16'384;  // room reserved in the timer heap
  // Kernel io-wq workers for what cannot run inline. More than buffered writes and syncs keep busy: a WAL
  // write whose time stamp is due (once per kernel tick) needs one, too, and must not queue behind them.
  std::uint32_t worker_threads_max = 16;
  std::vector<std::uint32_t> worker_cpus{};  // where they run; empty: the kernel's choice
  std::uint32_t listen_backlog = 1024;
  std::uint32_t tcp_user_timeout_ms = 180'000;  // unacknowledged or unaccepted bytes drop the peer after
  // Connections that allow zero copy use it for kernel sends of at least this much (0: never). Below, the
  // copy is cheaper than pinning pages and a second completion, and waiting for an acknowledgement costs
  // latency.
  std::uint32_t zero_copy_bytes_min = 256 * 1024;
  // ...and only over a round trip of at most this: on_sent, and with it the next send, waits for it.
  Nanos zero_copy_round_trip_max = 200 * kMicrosecond;
  obs::Counter* zero_copy_sends = nullptr;  // optional metrics; the same as in the statistics
  obs::Counter* zero_copy_ended = nullptr;
  Nanos sleep_max = 100 * kMillisecond;  // bounds every wait: a lost wake-up costs at most this
  // For callers that spin (poll(0) in a loop): yield the CPU in an idle turn while a durable write is
  // outstanding, because its completion may need this very CPU.
  bool spin_yield = false;
};

// Counters since create(). Written by the loop's thread without atomics.
struct LoopStats {
  std::uint64_t polls = 0;
  std::uint64_t waits = 0;  // polls that were prepared to sleep
  std::uint64_t completions = 0;
  std::uint64_t completion_overflows = 0;
  std::uint64_t timers_fired = 0;
  std::uint64_t spin_yields = 0;

  std::uint64_t disk_ops = 0;
  std::uint64_t disk_read_bytes = 0;
  std::uint64_t disk_write_bytes = 0;
  std::uint64_t disk_writes = 0;
  std::uint64_t disk_writes_fixed = 0;    // from registered memory
  std::uint64_t disk_continuations = 0;   // short transfers continued
  std::uint64_t disk_ops_delayed = 0;     // waited because disk_ops_max were in the kernel
  std::uint64_t disk_ops_on_workers = 0;  // kinds that the kernel always runs on an io-wq worker
  std::uint64_t disk_errors = 0;

  std::uint64_t accepted = 0;
  std::uint64_t accept_errors = 0;
  std::uint64_t connections_opened = 0;
  std::uint64_t connections_closed = 0;
  std::uint64_t connections_detached = 0;
  std::uint64_t connections_refused = 0;  // no free slot
  std::uint64_t receives = 0;
  std::uint64_t received_bytes = 0;
  std::uint64_t receive_arms = 0;     // multishot receives started
  std::uint64_t receive_starved = 0;  // ENOBUFS: every receive buffer was lent
  std::uint64_t sends = 0;            // send() calls completed
  std::uint64_t send_ops = 0;         // kernel sends, at least one per send()
  std::uint64_t sent_bytes = 0;
  std::uint64_t zero_copy_sends = 0;  // of send_ops
  std::uint64_t zero_copy_ended = 0;  // connections for which it was switched off
  std::uint64_t slab_growths = 0;

  std::uint64_t wakes_received = 0;
  std::uint64_t wakes_sent = 0;      // by ring message
  std::uint64_t wakes_fallback = 0;  // ring message refused, eventfd used
};

class UringLoop : public Loop {
 public:
  [[nodiscard]] static Result<std::unique_ptr<UringLoop>> create(const LoopOptions& options);

  [[nodiscard]] virtual const LoopStats& stats() const = 0;
  [[nodiscard]] virtual std::uint32_t receive_buffers_lent() const = 0;
  // Durable work (writes, syncs) the kernel has not finished.
  [[nodiscard]] virtual std::uint32_t disk_writes_in_flight() const = 0;
};

}  // namespace esc::io
