// The log of one group at work: frames into the active segment, completions in order, and the supply
// of segments behind it. Opening and recovery are in open.cpp.
#pragma once

#include <cstdint>
#include <vector>

#include "aligned_memory.h"
#include "esc/io/clock.h"
#include "esc/io/disk.h"
#include "esc/logfmt/frame.h"
#include "esc/wal/log.h"
#include "frame_index.h"
#include "live_bytes.h"
#include "segment.h"
#include "segment_pool.h"

namespace esc::wal {

inline constexpr std::uint32_t kDepthMax = 8;
inline constexpr std::uint64_t kSegmentBytesMin = 64 * kKiB;

class LogFile final : public Log {
 public:
  // What recovery (or creation) hands over.
  struct Start {
    SegmentPool::Start pool{};
    std::vector<Segment> live{};  // the last one is active
    std::vector<Segment> spares{};
    std::vector<Segment> released{};
    logfmt::FrameHeader last{};  // lsn 0 when the log is empty
    LiveBytes live_bytes;
    std::vector<FrameRecord> frames{};  // entries that can be read back, in order
    std::size_t frames_max = 0;
    Index last_index{};  // the log goes on behind it
    Index commit{};
  };
  LogFile(io::Disk& disk, io::Files& files, io::Clock& clock, const Options& options, Start start);
  ~LogFile() override;
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  bool can_write(std::uint32_t frame_bytes) const override;
  void write(FrameWrite& frame) override;
  Index last_index() const override { return reset_write_.waiting ? reset_write_.index : last_index_; }
  void discard_from(Index first) override;
  void set_commit(Index commit) override;
  std::uint32_t frame_bytes_max() const override { return frame_bytes_max_; }
  void save_hard_state(const HardState& state, void (*done)(void* context, Errc), void* context) override;
  void reset(Index index, Term term, void (*done)(void* context, Errc), void* context) override;
  Index first_available() const override;
  bool has(Index index) const override;
  Term term_at(Index index) const override;
  void read(EntryRead& read) override;
  Space space() const override;
  bool failed() const override { return failed_; }
  Lsn durable_lsn() const override { return Lsn{durable_lsn_}; }
  std::uint32_t in_flight() const override { return in_flight_; }
  std::uint64_t live_bytes() const override { return live_bytes_.bytes(); }
  void release_through(Index index) override;
  std::uint32_t do_work(Nanos now) override;
  void on_writable(void (*notify)(void* context), void* context) override;
  const Stats& stats() const override;
  bool idle() const override { return in_flight_ == 0 && reads_ == 0 && pool_.idle(); }

 private:
  // One frame in flight.
  struct Slot {
    io::DiskOp op;
    LogFile* log = nullptr;
    FrameWrite* frame = nullptr;   // null for a control frame
    std::byte* control = nullptr;  // memory of a control frame
    std::uint64_t lsn = 0;
    std::uint64_t covers = 0;  // durable_lsn in its header
    Index commit;              // commit_index in its header
    logfmt::FrameKind kind = logfmt::FrameKind::none;
    bool syncing = false;
    bool complete = false;
  };
  struct HardStateWrite {
    HardState state;
    void (*done)(void* context, Errc) = nullptr;
    void* context = nullptr;
    bool waiting = false;  // not in a frame yet
  };
  struct ResetWrite {
    Index index;
    Term term;
    void (*done)(void* context, Errc) = nullptr;
    void* context = nullptr;
    bool waiting = false;  // not in a frame yet
  };

  [[nodiscard]] bool fits(std::uint64_t frame_bytes, std::uint64_t reserve) const;
  [[nodiscard]] bool control_fits() const { return fits(kBlockBytes, 0); }
  Slot& slot_of(std::uint64_t lsn) {
    ESC_ASSERT(options_.depth > 0);
    return slots_[lsn % options_.depth];
  }
  void append(logfmt::FrameHeader& header, std::byte* bytes, FrameWrite* frame);
  void append_control(logfmt::FrameKind kind);
  void make_room(std::uint64_t frame_bytes);
  static void on_op_done(io::DiskOp& op);
  void deliver();
  void finish(Slot& slot, Errc result);
  void try_control();
  void try_hard_state();
  void try_reset();
  void supersede_from(Index first);
  [[nodiscard]] Index commit_to_record() const;
  [[nodiscard]] bool watermark_due() const;
  bool fail_waiting();
  std::uint32_t write_idle_watermark(Nanos now);
  [[nodiscard]] Index last_of(std::uint64_t position) const;
  void refuse(EntryRead& read, Errc why);
  std::uint32_t finish_refused();
  static void on_read_done(io::DiskOp& op);
  void finish_read(EntryRead& read);
  bool take_frame(EntryRead& read, std::uint64_t position, std::size_t& begin);
  [[nodiscard]] std::string place(std::uint64_t generation, std::uint64_t position);
  void recycle();
  void arm_wake_up(Nanos now);
  void notify_if_changed();

  io::Disk& disk_;
  io::Files& files_;
  io::Clock& clock_;
  Options options_;
  logfmt::LogIdentity identity_;
  std::uint32_t epoch_;
  bool direct_;
  SegmentPool pool_;
  SegmentQueue live_;
  AlignedMemory control_memory_;
  std::vector<Slot> slots_;
  LiveBytes live_bytes_;
  FrameIndex index_;
  std::uint64_t reserve_bytes_;
  std::uint32_t frame_bytes_max_;

  std::uint64_t next_lsn_;
  std::uint64_t durable_lsn_;
  std::uint32_t previous_crc_;
  std::uint64_t covered_lsn_;       // highest watermark in a durable frame
  std::uint64_t last_content_lsn_;  // newest frame that a watermark should cover
  HardState hard_state_;
  HardStateWrite hard_state_write_;
  ResetWrite reset_write_;
  Index released_;
  Index last_index_;                   // of the log as the caller sees it
  Index written_last_;                 // of the log as its frames tell it, in flight ones included
  std::uint64_t superseding_lsn_ = 0;  // newest frame that voided earlier entries
  Index commit_;                       // as told by set_commit
  Index recorded_commit_;              // highest in any sealed frame
  Index covered_commit_;               // highest in a durable frame
  std::uint32_t reads_ = 0;            // reads not answered yet
  EntryRead* refused_ = nullptr;       // of those, the ones without I/O
  // The last answer of can_write() was no because the rest of the active segment is too small: however
  // little of it is used, the next one is needed now.
  mutable bool frame_waits_for_segment_ = false;
  std::uint32_t in_flight_ = 0;
  bool failed_ = false;
  bool delivering_errors_ = false;
  Nanos last_activity_ = 0;
  io::Timer timer_;
  Space last_space_ = Space::ok;
  bool last_had_spare_ = true;
  void (*notify_)(void* context) = nullptr;
  void* notify_context_ = nullptr;
  mutable Stats stats_;
};

}  // namespace esc::wal
