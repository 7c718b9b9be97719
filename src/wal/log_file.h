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
  };
  LogFile(io::Disk& disk, io::Files& files, io::Clock& clock, const Options& options, Start start);
  ~LogFile() override;
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  bool can_write(std::uint32_t frame_bytes) const override;
  void write(FrameWrite& frame) override;
  std::uint32_t frame_bytes_max() const override { return frame_bytes_max_; }
  void save_hard_state(const HardState& state, void (*done)(void* context, Errc), void* context) override;
  Space space() const override;
  bool failed() const override { return failed_; }
  Lsn durable_lsn() const override { return Lsn{durable_lsn_}; }
  std::uint32_t in_flight() const override { return in_flight_; }
  std::uint64_t live_bytes() const override { return live_bytes_.bytes(); }
  void release_through(Index index) override;
  std::uint32_t do_work(Nanos now) override;
  void on_writable(void (*notify)(void* context), void* context) override;
  const Stats& stats() const override;
  bool idle() const override { return in_flight_ == 0 && pool_.idle(); }

 private:
  // One frame in flight.
  struct Slot {
    io::DiskOp op;
    LogFile* log = nullptr;
    FrameWrite* frame = nullptr;   // null for a control frame
    std::byte* control = nullptr;  // memory of a control frame
    std::uint64_t lsn = 0;
    std::uint64_t covers = 0;  // durable_lsn in its header
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
  void try_hard_state();
  std::uint32_t write_idle_watermark(Nanos now);
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
  std::uint64_t reserve_bytes_;
  std::uint32_t frame_bytes_max_;

  std::uint64_t next_lsn_;
  std::uint64_t durable_lsn_;
  std::uint32_t previous_crc_;
  std::uint64_t covered_lsn_;       // highest watermark in a durable frame
  std::uint64_t last_content_lsn_;  // newest frame that a watermark should cover
  HardState hard_state_;
  HardStateWrite hard_state_write_;
  Index released_;
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
