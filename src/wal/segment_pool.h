// The supply of segments: spares ready for use, released ones waiting to be recycled, and the
// background work that turns released or new files into spares, one operation at a time.
//
// Invariants: spares are in order of generation, all above any live one. Released segments leave
// oldest first and one after the other, each step durable before the next begins, so that a crash
// never leaves a hole in the log. A spare is complete: zero-written or recycled, header durable.
//
// Threading: the log's core. Nothing here allocates after construction.
#pragma once

#include <array>
#include <cstdint>

#include "aligned_memory.h"
#include "esc/io/disk.h"
#include "esc/logfmt/frame.h"
#include "esc/wal/log.h"
#include "segment.h"

namespace esc::wal {

class SegmentPool {
 public:
  struct Start {
    logfmt::LogIdentity identity;
    std::uint32_t epoch = 0;
    std::uint64_t next_number = 0;
    std::uint64_t next_generation = 0;
    std::size_t segments_max = 0;
    bool direct = true;  // spares are opened O_DIRECT|O_DSYNC
  };
  SegmentPool(io::Disk& disk, const Options& options, const Start& start);
  SegmentPool(const SegmentPool&) = delete;
  SegmentPool& operator=(const SegmentPool&) = delete;

  // At open.
  void adopt_spare(const Segment& segment);
  void adopt_released(const Segment& segment);
  void adopt_live(const Segment& segment);  // only counted

  [[nodiscard]] bool has_spare() const { return !spares_.empty(); }
  [[nodiscard]] std::size_t spares() const { return spares_.size(); }
  Segment take_spare(Nanos now);
  // At destruction of the log: closes every file it still holds.
  void close_all(io::Files& files);
  void release(const Segment& segment) { released_.push_back(segment); }

  // Advances the background work by at most one operation. `next_one_soon`: the segment being
  // written is half full or too full for the next frame. Returns the amount of work done.
  std::uint32_t do_work(Nanos now, bool next_one_soon);
  // When do_work has something to do without any completion; 0 = nothing planned.
  [[nodiscard]] Nanos wake_at() const { return wake_at_; }
  // No spare can be made: the disk is full or bytes_max is reached, and nothing is being recycled.
  [[nodiscard]] bool starved() const;
  [[nodiscard]] bool failed() const { return failed_; }
  // No operation is with the disk; a step whose result nobody took yet counts as idle.
  [[nodiscard]] bool idle() const { return !op_submitted_ || op_done_; }
  [[nodiscard]] std::uint64_t bytes_on_disk() const { return bytes_on_disk_; }
  [[nodiscard]] std::uint64_t created() const { return created_; }
  [[nodiscard]] std::uint64_t recycled() const { return recycled_; }

 private:
  enum class Step : std::uint8_t {
    none,
    create,  // open the temporary file
    zero,    // one chunk of zeroes
    start_writeback,
    write_header,
    sync,
    close_zeroed,
    rename,
    sync_directory,
    open_direct,
    recycle,       // new header on a released segment
    recycle_sync,  // only where O_DIRECT is not available
    drop_close,    // an excess segment leaves
    drop_remove,
    drop_sync_directory,
    abandon_close,  // creation met a full disk
    abandon_remove,
  };

  static void on_done(io::DiskOp& op);
  bool begin(Nanos now, bool next_one_soon);
  [[nodiscard]] bool may_create() const;
  void begin_create();
  void begin_recycle();
  void begin_drop(const Segment& segment);
  void advance(Nanos now);
  void advance_creation(Nanos now);
  void creation_failed(Nanos now);
  void finish_spare();
  void submit(Step step, io::DiskOp::Kind kind);
  void submit_zeroes();
  void seal_header();
  void format_path(std::array<char, 4096>& into, std::uint64_t number, const char* suffix) const;
  [[nodiscard]] std::uint64_t target(Nanos now) const;

  io::Disk& disk_;
  const Options& options_;
  Start start_;
  SegmentQueue spares_;
  SegmentQueue released_;

  io::DiskOp op_;
  bool op_submitted_ = false;  // from submit() until its result was taken by do_work
  bool op_done_ = false;
  Step step_ = Step::none;
  Segment work_;
  std::uint64_t zeroed_bytes_ = 0;
  AlignedMemory header_block_;
  AlignedMemory zeros_;
  std::array<struct iovec, 16> zero_pieces_{};
  std::array<char, 4096> path_{};
  std::array<char, 4096> path2_{};

  bool disk_full_ = false;
  bool failed_ = false;
  Nanos retry_at_ = 0;
  Nanos wake_at_ = 0;
  Nanos next_chunk_at_ = 0;
  Nanos zero_chunk_interval_ = kMillisecond;
  Nanos last_taken_at_ = 0;
  std::uint32_t fast_target_ = 0;  // spares wanted while consumption is fast
  std::uint64_t bytes_on_disk_ = 0;
  std::uint64_t created_ = 0;
  std::uint64_t recycled_ = 0;
};

}  // namespace esc::wal
