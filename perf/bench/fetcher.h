// A consuming thread: a few connections that share the partitions between them and fetch without pause. What
// to make of the batches is its sink's business: count them, time them, or verify every byte.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cluster.h"
#include "options.h"
#include "workload.h"

namespace esc::bench {

class BatchSink {
 public:
  virtual ~BatchSink() = default;
  // Whole batches in offset order per partition. The first one of a fetch may begin before the offset asked
  // for. `received`: CLOCK_MONOTONIC when the last byte of the answer was read.
  virtual void on_batch(std::uint32_t partition, wire::BatchView batch, Nanos received) = 0;
};

class Fetcher {
 public:
  struct Plan {
    const Options* options = nullptr;
    ClusterMap map;
    std::vector<std::int64_t> from;  // first offset per partition
    std::vector<std::int64_t> to;  // run() returns once every partition got there; empty: until request_stop
    std::uint32_t connections = 1;
  };
  Fetcher(Plan plan, BatchSink& sink);
  ~Fetcher();

  [[nodiscard]] Status prepare();
  // Returns an error when the server goes away or answers with one that is not retriable.
  [[nodiscard]] Status run();
  void request_stop() { stop_requested_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t fetches() const { return fetches_; }
  // Next offset to fetch per partition: how far this reader got.
  [[nodiscard]] const std::vector<std::int64_t>& positions() const { return positions_; }

 private:
  struct Channel {
    std::int32_t broker = -1;
    std::unique_ptr<Connection> connection;
    std::vector<std::uint32_t> partitions;
    std::vector<std::byte> request;
    std::int32_t correlation = 0;
    std::size_t rotation = 0;  // first partition of the next request, so that none starves
  };

  [[nodiscard]] bool finished() const;
  [[nodiscard]] bool done(std::uint32_t partition) const;
  [[nodiscard]] Status ask(Channel& channel);
  [[nodiscard]] Status take(Channel& channel, ByteView frame);
  [[nodiscard]] Status refresh();
  [[nodiscard]] Status stalled() const;
  void deliver(std::uint32_t partition, ByteView records, Nanos received);

  Plan plan_;
  BatchSink& sink_;
  std::vector<std::int64_t> positions_;
  std::vector<std::unique_ptr<Channel>> channels_;
  int epoll_;
  std::vector<std::byte> memory_;
  Arena arena_;
  bool needs_refresh_ = false;
  Nanos last_progress_ = 0;
  std::uint64_t fetches_ = 0;
  std::atomic<bool> stop_requested_{false};
};

}  // namespace esc::bench
