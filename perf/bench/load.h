// A producing thread: makes events due at a fixed rate (open loop) or whenever the window has room (closed
// loop), and drives its producers with one epoll.
//
// Open loop knows no coordinated omission: event i is due at start + i / rate whatever the server does, and
// its latency counts from then, also while it waits in this client because the server fell behind.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "esc/base/prng.h"
#include "producer.h"

namespace esc::bench {

class LoadThread {
 public:
  struct Plan {
    const Options* options = nullptr;
    ClusterMap map;
    std::uint64_t run_id = 0;
    std::uint32_t first_producer = 0;
    std::uint32_t producers = 1;
    std::uint64_t events = 0;  // 0: until window.stop
    AckLogWriter* ack_log = nullptr;
  };
  explicit LoadThread(const Plan& plan);
  ~LoadThread();

  // Connects. Then begin() sets the window, so that connecting is not measured, and run() generates load.
  [[nodiscard]] Status prepare();
  void begin(const Window& window);
  // Returns when the load has ended and is acknowledged, or at drain_until, or on failure (stats().error).
  void run();
  // From another thread: end early.
  void request_stop() { stop_requested_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] const ProduceStats& stats() const { return *stats_; }
  // For progress lines from another thread.
  [[nodiscard]] std::uint64_t acked_so_far() const { return acked_so_far_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool finished() const { return finished_.load(std::memory_order_acquire); }

 private:
  struct Schedule {
    double interval_nanos = 0;
    double phase_nanos = 0;
    std::uint64_t next = 0;
  };

  [[nodiscard]] Nanos due(const Schedule& schedule, std::uint64_t index) const;
  [[nodiscard]] std::uint32_t choose_partition(Producer& producer, const Schedule& schedule,
                                               std::uint64_t& key);
  void generate_open(Producer& producer, Schedule& schedule, Nanos now);
  void generate_closed(Producer& producer, Nanos now);
  [[nodiscard]] Nanos next_wake(const Producer& producer, const Schedule& schedule) const;
  [[nodiscard]] bool generating(Nanos now) const;
  [[nodiscard]] bool drained() const;
  void flush_links(Producer& producer, Nanos now);
  void wait_and_receive(Nanos until);
  void watch(Link& link);
  void lost(Link& link);
  void refresh(Nanos now);

  Plan plan_;
  Window window_;
  Prng prng_;
  BatchFactory factory_;
  std::unique_ptr<ProduceStats> stats_;
  std::vector<std::unique_ptr<Producer>> producers_;
  std::vector<Schedule> schedules_;
  int epoll_ = -1;
  std::size_t batches_max_ = 0;
  std::uint64_t generated_ = 0;
  bool needs_metadata_ = false;
  Nanos next_refresh_ = 0;
  bool ended_ = false;
  std::atomic<bool> stop_requested_{false};
  std::atomic<bool> finished_{false};
  std::atomic<std::uint64_t> acked_so_far_{0};
};

}  // namespace esc::bench
