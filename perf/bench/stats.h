// What a producer or consumer thread saw: latencies over the measured window, second by second, and counts.
// Threading: one writer each; merged after the threads have ended.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/units.h"
#include "esc/obs/histogram.h"

namespace esc::bench {

// The measured window, CLOCK_MONOTONIC. Load starts at `start` (warm-up) and ends at `stop`.
struct Window {
  Nanos start = 0;
  Nanos measure_from = 0;
  Nanos stop = 0;
  Nanos drain_until = 0;
  [[nodiscard]] bool measures(Nanos when) const { return when >= measure_from && when < stop; }
};

// Latencies by the second in which they were due, so that a stall shows up where it began.
class LatencySeries {
 public:
  explicit LatencySeries(const Window& window);
  // Events due outside the window are ignored.
  void record(Nanos intended, Nanos latency, std::uint64_t count = 1);
  void merge(const LatencySeries& other);

  [[nodiscard]] const obs::Histogram& total() const { return *total_; }
  [[nodiscard]] std::size_t seconds() const { return seconds_.size(); }
  [[nodiscard]] const obs::Histogram& second(std::size_t index) const { return *seconds_[index]; }

 private:
  Window window_;
  std::unique_ptr<obs::Histogram> total_;
  std::vector<std::unique_ptr<obs::Histogram>> seconds_;
};

struct ProduceStats {
  explicit ProduceStats(const Window& window) : latency(window) {}
  void merge(const ProduceStats& other);

  LatencySeries latency;
  // Acknowledged within the window.
  std::uint64_t acked_events = 0;
  std::uint64_t acked_batches = 0;
  std::uint64_t acked_requests = 0;
  // Of the whole run, warm-up and drain included.
  std::uint64_t acked_events_ever = 0;
  std::uint64_t retried_batches = 0;
  std::uint64_t unfinished_events =
      0;  // due in the window, never acknowledged; their latency so far is recorded
  std::uint64_t disconnects = 0;
  Nanos last_ack = 0;
  Nanos longest_gap = 0;  // between two acknowledgements of one thread, within the window
  std::string error;      // why the run ended early
};

struct ConsumeStats {
  explicit ConsumeStats(const Window& window) : latency(window) {}
  void merge(const ConsumeStats& other);

  LatencySeries latency;     // intended send time until received
  std::uint64_t events = 0;  // received within the window
  std::uint64_t bytes = 0;
  std::uint64_t events_ever = 0;
  std::uint64_t fetches = 0;
  std::uint64_t offset_errors = 0;  // batches that were not where the last one ended
  std::uint64_t bad_events = 0;     // CRC or checksum wrong
  Nanos first_receive = 0;
  Nanos last_receive = 0;
  std::string error;
};

}  // namespace esc::bench
