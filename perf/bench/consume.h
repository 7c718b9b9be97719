// The two sinks of a Fetcher: one measures, one verifies.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ack_log.h"
#include "fetcher.h"
#include "stats.h"

namespace esc::bench {

// The records of a batch, decompressed if needed. Owns the scratch memory.
class RecordReader {
 public:
  // False: the batch cannot be decompressed.
  [[nodiscard]] bool open(wire::BatchView batch);
  [[nodiscard]] wire::RecordIterator records() const { return {bytes_, count_}; }

 private:
  std::vector<std::byte> scratch_;
  ByteView bytes_;
  std::int32_t count_ = 0;
};

// Counts events and, when the producers run beside it (`run_id` not 0), the time from intended send to
// receipt.
class MeasuringSink : public BatchSink {
 public:
  MeasuringSink(std::uint64_t run_id, bool check, std::vector<std::int64_t> from);
  // Before the first batch.
  void begin(const Window& window);
  void on_batch(std::uint32_t partition, wire::BatchView batch, Nanos received) override;
  [[nodiscard]] const ConsumeStats& stats() const { return *stats_; }
  [[nodiscard]] std::uint64_t run_events() const { return run_events_.load(std::memory_order_relaxed); }

 private:
  void read_events(wire::BatchView batch, Nanos received);

  Window window_;
  std::uint64_t run_id_;
  bool check_;
  std::vector<std::int64_t> expected_;
  std::unique_ptr<ConsumeStats> stats_;
  RecordReader reader_;
  EventChecker checker_;
  std::atomic<std::uint64_t> run_events_{0};  // events of this run seen; read by the main thread
};

// Proves or disproves: every acknowledged event is where its acknowledgement said, every byte is what was
// sent, offsets are dense, and each producer's events are in order.
class VerifyingSink : public BatchSink {
 public:
  // `acked` sorted by partition and base offset; `from` the first offset that is read per partition.
  VerifyingSink(std::vector<AckedRange> acked, std::vector<std::int64_t> from);
  void on_batch(std::uint32_t partition, wire::BatchView batch, Nanos received) override;
  // After everything was read: finds the acknowledged events that were never seen.
  void finish();

  struct Report {
    std::uint64_t events = 0;
    std::uint64_t bytes = 0;
    std::uint64_t acked_events = 0;     // that the logs name
    std::uint64_t acked_found = 0;      // ... and that are where they should be
    std::uint64_t lost = 0;             // ... and that are not there
    std::uint64_t wrong = 0;            // ... and where another event stands instead
    std::uint64_t damaged = 0;          // CRC of the batch or checksum of the event
    std::uint64_t misplaced = 0;        // events whose value names another partition
    std::uint64_t offset_gaps = 0;      // a batch that does not begin where the last one ended
    std::uint64_t reordered = 0;        // a sequence below its predecessor, never sent twice
    std::uint64_t duplicates = 0;       // the same event again: a retried send
    std::uint64_t unacknowledged = 0;   // present, but not in the logs (allowed: in flight at a crash)
    std::vector<std::string> examples;  // the first few findings, as sentences
    [[nodiscard]] bool sound() const {
      return lost == 0 && wrong == 0 && damaged == 0 && misplaced == 0 && offset_gaps == 0 && reordered == 0;
    }
  };
  [[nodiscard]] const Report& report() const { return report_; }

 private:
  struct Stream {
    std::uint64_t next = 0;                                     // highest sequence seen + 1
    std::vector<std::pair<std::uint64_t, std::uint64_t>> gaps;  // sequences skipped: [first, end)
  };
  struct Partition {
    std::int64_t next_offset = 0;
    std::size_t range = 0;      // first range of this partition not passed yet
    std::size_t range_end = 0;  // one past its last
    std::map<std::pair<std::uint64_t, std::uint32_t>, Stream> streams;  // by run and producer
  };

  void check_event(std::uint32_t partition, std::int64_t offset, ByteView value);
  void check_acked(Partition& state, std::uint32_t partition, std::int64_t offset, const Event& event);
  void check_order(Partition& state, std::uint32_t partition, std::int64_t offset, const Event& event);
  void lose(const AckedRange& range, std::int64_t from, std::int64_t to);
  void note(std::string text);

  std::vector<AckedRange> acked_;
  std::vector<Partition> partitions_;
  RecordReader reader_;
  EventChecker checker_;
  Report report_;
};

}  // namespace esc::bench
