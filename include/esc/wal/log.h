// The write-ahead log of one Raft group: a sequence of checksummed frames in recycled, zero-written
// segment files, written with O_DIRECT and per-write dsync. It is the group's Raft log.
//
// A frame carries the entries [first_index, last_index] of one term, or none (a control frame: hard
// state or watermark). docs/formats/wal.md has the bytes; esc/logfmt/frame.h the structs.
//
// Group commit is the caller's: it fills the next frame while one is in flight and submits when
// can_write(). Completions arrive in LSN order; a completed frame and all before it are durable.
//
// Threading: one core. Errors: Errc::no_space before a frame is accepted (see space()), io_error
// from a failed write: the log is then failed() for good, the process must stop acknowledging.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/io/clock.h"
#include "esc/io/disk.h"

namespace esc::wal {

struct Options {
  std::string directory;
  std::uint64_t cluster_id = 0;
  NodeId node{1};
  GroupId group{0};
  std::uint64_t segment_bytes = 32 * kMiB;  // a multiple of kBlockBytes, at least 64 KiB
  std::uint64_t initial_segment_bytes =
      16 * kMiB;                             // of the two segments of a new log; capped by segment_bytes
  std::uint64_t bytes_max = 1 * kGiB;        // ceiling of all segment files together, spares included
  std::uint32_t spares_min = 1;              // pre-zeroed segments kept ready; grows with the write rate
  std::uint32_t depth = 2;                   // frames in flight
  Nanos watermark_after = 5 * kMillisecond;  // idle time after which a watermark frame is written
};

struct HardState {
  Term term;
  NodeId voted_for;
  bool operator==(const HardState&) const = default;
};

// One frame to write; owned by the caller until `done` runs.
// `frame` points to kBlockBytes-aligned memory: logfmt::kFrameHeaderBytes reserved for the header,
// then `payload_bytes` of entries, then room up to the next multiple of kBlockBytes (the log zeroes
// that padding). The log fills the header in place: after write() the frame is immutable and may be
// read (sent to followers, served to consumers) at once.
struct FrameWrite {
  using Done = void (*)(FrameWrite&, Errc);
  std::byte* frame = nullptr;
  std::uint32_t payload_bytes = 0;
  Term term;
  Index first_index;
  Index last_index;
  Done done = nullptr;
  void* context = nullptr;
  // Filled by write().
  Lsn lsn;
  std::uint32_t frame_bytes = 0;  // header + payload, padded
};

// A valid frame met by recovery, in LSN order. `payload` is valid during the call only.
struct RecoveredFrame {
  Lsn lsn;
  Term term;
  Index first_index;
  Index last_index;
  ByteView payload;
};

// What recovery found.
struct RecoveryReport {
  HardState hard_state;
  Lsn last_lsn;       // last valid frame
  Index first_index;  // first entry still in the log; last_index + 1 when there is none
  Index last_index;   // 0 when there is none
  Term last_term;
  std::uint64_t frames = 0;
  std::uint64_t bytes_scanned = 0;
  bool torn_tail = false;   // an unfinished, never acknowledged write was found and ignored
  std::string torn_detail;  // file and position, for the log line
  bool created = false;     // the directory held no log
  std::string warning;      // not empty: works, but not as it should (no O_DIRECT)
};

enum class Space : std::uint8_t {
  ok,
  low,  // a spare could not be created (ENOSPC) and the current segment is nearly full, or
        // bytes_max is reached: reject new producers; control frames still fit in the reserve
};

struct Stats {
  std::uint64_t frames_written = 0;
  std::uint64_t bytes_written = 0;  // padded frame bytes
  std::uint64_t payload_bytes = 0;
  std::uint64_t segments_created = 0;  // zero-written anew
  std::uint64_t segments_recycled = 0;
  std::uint64_t bytes_on_disk = 0;
  std::uint64_t watermark_frames = 0;
};

class Log {
 public:
  // Blocking. Recovers an existing directory or creates a new one with its first segments.
  // `on_frame` sees every valid entry-carrying frame with last_index > `after` in order.
  // A bad frame that a later durable watermark covers is Errc::corruption with file and position:
  // nothing is truncated, nothing deleted. A bad frame above the last watermark is a torn tail.
  [[nodiscard]] static Result<std::unique_ptr<Log>> open(
      io::Files& files, io::Disk& disk, io::Clock& clock, const Options& options, Index after,
      const std::function<Status(const RecoveredFrame&)>& on_frame, RecoveryReport& report);
  virtual ~Log() = default;

  // True when a frame of `frame_bytes` (padded) may be submitted now: fewer than depth in flight, a
  // segment has room (or a spare is ready).
  [[nodiscard]] virtual bool can_write(std::uint32_t frame_bytes) const = 0;
  virtual void write(FrameWrite& frame) = 0;  // requires can_write
  // Largest frame (padded) that any segment of this log can hold.
  [[nodiscard]] virtual std::uint32_t frame_bytes_max() const = 0;
  // Term and vote; `done` runs when durable. Uses the log's own control frame, at most one pending.
  virtual void save_hard_state(const HardState& state, void (*done)(void* context, Errc), void* context) = 0;

  [[nodiscard]] virtual Space space() const = 0;
  [[nodiscard]] virtual bool failed() const = 0;
  [[nodiscard]] virtual Lsn durable_lsn() const = 0;
  [[nodiscard]] virtual std::uint32_t in_flight() const = 0;
  // Bytes of frames that the checkpoint has not released yet.
  [[nodiscard]] virtual std::uint64_t live_bytes() const = 0;

  // Everything up to and including `index` is in a durable checkpoint: segments that hold only such
  // frames become spares. Never unlinks on the hot path.
  virtual void release_through(Index index) = 0;
  // Background work: prepares spares, retries after ENOSPC, writes the idle watermark. Called once per loop
  // turn; cheap when there is nothing to do. Returns the amount of work done.
  virtual std::uint32_t do_work(Nanos now) = 0;
  // Called when can_write may have turned true again or space() changed.
  virtual void on_writable(void (*notify)(void* context), void* context) = 0;
  [[nodiscard]] virtual const Stats& stats() const = 0;
  // A log is destroyed when idle (stop calling do_work, wait), or after its disk is gone.
  // Waits for nothing: true when no write is in flight and no background operation is running.
  [[nodiscard]] virtual bool idle() const = 0;
};

}  // namespace esc::wal
