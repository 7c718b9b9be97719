// The implementation of PartitionLog: a row of segments. One file per concern: append.cpp, read.cpp,
// find_time.cpp, sync.cpp, retention.cpp (and removal), recovery.cpp (open), compaction.cpp,
// partition_log.cpp (rest).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "esc/store/partition_log.h"
#include "resources.h"
#include "segment.h"

namespace esc::store {

class Compaction;

class SegmentedLog final : public PartitionLog {
 public:
  SegmentedLog(io::Files* files, io::Disk& disk, const std::string& directory, const Options& options);
  ~SegmentedLog() override;
  // Blocking, before anything else.
  [[nodiscard]] Status recover(io::Files& files, const PartitionState& state);

  void append(AppendOp& op) override;
  [[nodiscard]] bool append_in_progress() const override { return append_ != nullptr; }
  void read(ReadOp& op) override;
  void find_time(TimeOp& op) override;
  void sync(SyncOp& op) override;
  [[nodiscard]] bool needs_sync() const override;
  [[nodiscard]] Offset log_start_offset() const override { return log_start_; }
  [[nodiscard]] Offset next_offset() const override { return next_; }
  [[nodiscard]] std::uint64_t bytes() const override { return bytes_; }
  [[nodiscard]] WallMs max_timestamp() const override;
  void snapshot(PartitionState& into) const override;
  [[nodiscard]] Offset retention_point(std::int64_t retention_ms, std::int64_t retention_bytes,
                                       WallMs now_ms) const override;
  void set_rolling(Offset from, const RollRules& rules) override;
  [[nodiscard]] const RollRules& rolling() const override { return rules_at(next_); }
  void set_log_start(Offset offset) override;
  void skip_to(Offset offset) override;
  void start_over(Offset offset) override;
  void keep_new() override;
  void return_to_old() override;
  [[nodiscard]] bool compaction_due(const CompactionRules& rules, WallMs now_ms) const override;
  void compact(CompactOp& op) override;
  void continue_compaction() override;
  void cancel_compaction() override;
  void release_removed() override;
  void destroy(SyncOp& op) override;
  [[nodiscard]] bool idle() const override;
  [[nodiscard]] const std::string& last_error() const override { return last_error_; }
  [[nodiscard]] const std::vector<std::string>& notes() const override { return notes_; }

 private:
  friend class Compaction;
  // append.cpp
  void append_start();
  void append_next();
  void append_roll(Offset base);
  void append_open_new(Offset base);
  void append_write();
  void append_written();
  void append_cut();
  void append_directory_made();
  void append_commit();
  void append_finish(Errc error);
  void append_disk(void (SegmentedLog::*next)());
  [[nodiscard]] const RollRules& rules_at(Offset offset) const;
  [[nodiscard]] static bool too_large(const Extent& segment, const BatchRef& batch, std::uint64_t bytes_max);
  [[nodiscard]] bool must_roll(const Extent& segment, const BatchRef& batch) const;
  [[nodiscard]] std::unique_ptr<Segment> new_segment(SegmentName name, std::uint32_t index_entries);
  void start_write_back(Segment& segment);
  // recovery.cpp
  [[nodiscard]] Status recover_segment(io::Files& files, const PartitionState::Segment& state, Offset end,
                                       bool last, std::uint64_t file_bytes);
  [[nodiscard]] bool left_behind(SegmentName name, const PartitionState& state) const;
  // read.cpp
  void read_submit(ReadOp& op);
  void read_arrived(ReadOp& op);
  void read_finish(ReadOp& op, Errc error);
  [[nodiscard]] Segment* segment_of(Offset offset) const;
  // find_time.cpp
  void time_enter(TimeOp& op, Offset from);
  void time_submit(TimeOp& op);
  void time_arrived(TimeOp& op);
  void time_finish(TimeOp& op, Errc error);
  enum class Walk : std::uint8_t { next, more, found, damaged };
  [[nodiscard]] Walk time_batch(TimeOp& op, ByteView bytes, std::uint64_t& at);
  [[nodiscard]] Walk time_records(TimeOp& op, ByteView bytes, std::uint64_t& at);
  // sync.cpp
  void sync_next();
  void sync_file();
  void sync_file_done();
  void sync_directory();
  void sync_directory_done();
  void save_indexes();
  void save_index(Segment& segment);
  void save_index_opened();
  void save_index_written();
  void save_index_closed();
  void sync_finish(Errc error);
  void sync_disk(void (SegmentedLog::*next)());
  // retention.cpp
  void drop_segments();
  void remove_next();
  void punch_open();
  void punch_opened();
  void punch_step();
  void remove_log_file();
  void remove_index_file();
  void remove_done();
  void remove_disk(const char* suffix, void (SegmentedLog::*next)());
  void remove_submit(io::DiskOp::Kind kind, void (SegmentedLog::*next)());
  void destroy_start();
  void destroy_when_quiet();
  void drop_passed_files();
  // partition_log.cpp
  void use(Segment& segment) { ++segment.users; }
  void leave(Segment& segment);  // may start its removal
  void describe(const Segment& segment, std::uint64_t position, const std::string& what);
  [[nodiscard]] Errc open_error(const Segment& segment, Errc error, int os_error, bool for_append);

  io::Disk& disk_;
  const std::string directory_;
  const Options options_;
  std::unique_ptr<CoreResources> own_resources_;
  CoreResources& resources_;
  std::vector<std::unique_ptr<Segment>> segments_;  // ascending; the last one is active
  Offset log_start_{0};
  Offset next_{0};
  std::uint64_t bytes_ = 0;
  // Rules of rolling by where they begin, ascending; the first ones are in force, the others wait for the
  // offsets they begin at. Never empty.
  struct RollChange {
    Offset from;
    RollRules rules;
  };
  std::vector<RollChange> rolling_;
  bool failed_ = false;  // a write or sync failed: nothing is written any more

  // The append in progress. It publishes nothing before all of it is written.
  AppendOp* append_ = nullptr;
  std::size_t append_cursor_ = 0;
  std::size_t append_stride_ = 0;
  std::uint64_t append_stride_bytes_ = 0;
  std::uint64_t append_position_ = 0;
  WallMs append_first_timestamp_ = -1;  // of the segment that is written
  Segment* append_segment_ = nullptr;
  std::vector<std::unique_ptr<Segment>> rolled_;  // new segments, not yet published; kept after no_space
  std::size_t rolled_used_ = 0;
  void (SegmentedLog::*append_step_)() = nullptr;

  io::DiskOp write_back_{};
  Segment* write_back_segment_ = nullptr;
  detail::FileWaiter write_back_waiter_{};

  SyncOp* sync_ = nullptr;
  Segment* sync_segment_ = nullptr;
  void (SegmentedLog::*sync_step_)() = nullptr;
  std::string sync_path_;
  std::vector<std::byte> index_image_;
  IndexFile index_header_{};  // of the index file being written
  Errc index_error_ = Errc::ok;
  int index_os_error_ = 0;
  bool directory_exists_ = false;
  bool directory_dirty_ = false;  // files were created
  bool parent_dirty_ = false;     // the directory was created

  std::vector<std::unique_ptr<Segment>> removed_;
  Segment* removing_ = nullptr;
  io::DiskOp remove_op_{};
  detail::FileWaiter remove_waiter_{};
  std::string remove_path_;
  std::uint64_t punched_bytes_ = 0;
  void (SegmentedLog::*remove_step_)() = nullptr;
  SyncOp* destroy_ = nullptr;
  // Segment files that open() met and the checkpoint does not name; destroy() removes them.
  std::vector<SegmentName> orphans_;  // nobody knows why they are there
  // Beyond the end: of an earlier life, whose replay writes them anew.
  std::vector<SegmentName> to_come_;

  std::unique_ptr<Compaction> compaction_;
  Offset compacted_until_{0};           // below it no key occurs twice
  WallMs tombstones_until_ = 0;         // the compacted part has tombstones that may go then; 0: none
  std::uint32_t generation_max_ = 0;    // of all files, also those that are being removed
  std::uint32_t write_generation_ = 0;  // of the segments that are appended

  // What start_over() replaces, until it is sure that it does.
  struct Aside {
    bool used = false;
    std::vector<std::unique_ptr<Segment>> segments;
    Offset log_start;
    Offset next;
    std::uint64_t bytes = 0;
    std::uint32_t write_generation = 0;
    Offset compacted_until;
    WallMs tombstones_until = 0;
  };
  Aside aside_;

  std::uint32_t readers_ = 0;
  std::string last_error_;
  std::vector<std::string> notes_;
};

}  // namespace esc::store
