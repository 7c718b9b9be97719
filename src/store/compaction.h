// One compaction of a log's sealed segments, step by step. Private to the log.
//
//   note: the newest offset of each key of the part that is not compacted yet, until the memory is used up
//   clean: everything from the front to there is read again; what survives goes to new files, synced
//   swap: the log's row of segments changes; the checkpoint after it makes that last
//
// A crash before that checkpoint leaves the old files, which it names, and new ones, which the next start
// removes; after it, the other way round.
//
// Threading: the log's core. Memory: the keys, one slice, and what BatchCleaner needs for one batch.
#pragma once

#include <memory>
#include <vector>

#include "batch_cleaner.h"
#include "segmented_log.h"

namespace esc::store {

class Compaction {
 public:
  // How many segments from the front may be compacted, and whether that is worth it.
  struct Range {
    std::size_t segments = 0;
    std::uint64_t bytes = 0;
    std::uint64_t dirty_bytes = 0;
    WallMs dirty_since = -1;  // when the oldest segment with something dirty began; -1: not known
  };
  [[nodiscard]] static Range range(const SegmentedLog& log, const CompactionRules& rules, WallMs now_ms);

  Compaction(SegmentedLog& log, CompactOp& op);
  void start();
  void go_on();   // after a slice
  void cancel();  // may end it at once, and with it this object
  // The log is being destroyed with everything in flight.
  void forget_files();

 private:
  enum class Phase : std::uint8_t { note, clean };
  using Step = void (Compaction::*)();

  void begin_phase(Phase phase);
  void next_chunk();
  void next_source();
  void read();
  void arrived();
  [[nodiscard]] bool walk(ByteView bytes, std::uint64_t& at);
  void damaged(std::uint64_t at, const char* what);
  void chunk_done();
  void write();
  void write_acquired();
  void written();
  void add_to_output();
  void open_output(Offset base);
  void sync_output(Step next);
  void output_full();
  void synced();
  void end_outputs();
  void sync_directory();
  void swap();
  void finish(Errc code);
  void disk(Step next);
  void acquire(Segment& segment, Step next);
  [[nodiscard]] bool output_failed(const char* what);
  [[nodiscard]] io::DiskOp& disk_op() { return op_.state.disk; }
  [[nodiscard]] Segment& source() { return *sources_[source_]; }
  [[nodiscard]] Segment& output() { return *outputs_.back(); }

  SegmentedLog& log_;
  CompactOp& op_;
  std::unique_ptr<BatchCleaner> cleaner_;
  std::vector<Segment*> sources_;  // in use, so that they outlive their removal
  std::vector<std::unique_ptr<Segment>> outputs_;
  std::uint32_t generation_ = 0;
  Phase phase_ = Phase::note;
  bool map_full_ = false;
  bool waiting_ = false;  // for go_on()
  bool cancelled_ = false;
  Step step_ = nullptr;
  Segment* acquiring_ = nullptr;

  std::size_t source_ = 0;
  std::uint64_t position_ = 0;  // in the source
  Offset expected_;
  std::vector<std::byte> buffer_;
  std::uint64_t slice_bytes_ = 0;

  ByteView ready_;  // to be written
  std::size_t write_bytes_ = 0;
  std::uint64_t unsynced_ = 0;
  Step after_sync_ = nullptr;
};

}  // namespace esc::store
