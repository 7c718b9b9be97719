// The load of a drill: one thread per partition, one small batch in flight, every acknowledgement remembered.
//
// An eager client: it asks for the new leader every 5 ms, where stock clients wait 100 ms or more between
// attempts, so that what it measures is the cluster's pause and not its own.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cluster_client.h"

namespace esc::esctl {

struct DrillAck {
  std::chrono::steady_clock::time_point at;
  std::int64_t base_offset = 0;
  std::uint64_t first_sequence = 0;
};

// Threading: the thread is its own; every method may be called from another one.
class DrillWriter {
 public:
  static constexpr std::uint32_t kEventsPerBatch = 4;
  static constexpr auto kInterval = std::chrono::milliseconds(2);

  // Values are "<partition> <sequence> <filler>", sequences dense from 0.
  DrillWriter(Bootstrap bootstrap, std::string topic, std::int32_t partition);
  ~DrillWriter() { stop(); }
  DrillWriter(const DrillWriter&) = delete;
  DrillWriter& operator=(const DrillWriter&) = delete;

  void stop();
  // The node that acknowledged last; -1 before the first.
  [[nodiscard]] std::int32_t leader() const { return leader_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::size_t ack_count() const;
  // Waits for an acknowledgement of a batch that was sent after `since`; false when there is none in time.
  [[nodiscard]] bool acknowledged_after(std::chrono::steady_clock::time_point since, Deadline deadline) const;
  // The longest time between two acknowledgements of which the later one came after `since`, in ms.
  [[nodiscard]] double longest_gap_ms(std::chrono::steady_clock::time_point since) const;
  // After stop().
  [[nodiscard]] const std::vector<DrillAck>& acks() const { return acks_; }
  [[nodiscard]] std::string last_trouble() const;

 private:
  void run();
  void send_one();
  [[nodiscard]] bool connect();
  void remember_trouble(std::string text);

  const Bootstrap bootstrap_;
  const std::string topic_;
  const std::int32_t partition_;
  std::atomic<bool> stopping_ = false;
  std::atomic<std::int32_t> leader_ = -1;
  // Of the thread.
  std::optional<Client> client_;
  std::int32_t connected_to_ = -1;
  std::uint64_t sequence_ = 0;

  mutable std::mutex mutex_;
  std::vector<DrillAck> acks_;
  std::vector<std::chrono::steady_clock::time_point> sent_;  // of acks_, by index
  std::string trouble_;
  std::thread thread_;
};

[[nodiscard]] std::string drill_value(std::int32_t partition, std::uint64_t sequence);

}  // namespace esc::esctl
