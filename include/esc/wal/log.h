// The write-ahead log of one Raft group: a sequence of checksummed frames in recycled, zero-written
// segment files, written with O_DIRECT and per-write dsync. It is the group's Raft log.
//
// A frame carries the entries [first_index, last_index] of one term, or none (a control frame: hard
// state, watermark or reset). docs/formats/wal.md has the bytes; esc/logfmt/frame.h the structs.
//
// A frame may start at or below the end of the log: it supersedes everything at and above its first_index (a
// follower that a new leader corrected). Nothing at or below a recorded commit index is ever superseded.
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
#include <optional>
#include <string>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/io/clock.h"
#include "esc/io/disk.h"

namespace esc::wal {

// Bugs planted on purpose, so that the simulator can show that its checkers find them. Never set in service.
enum class Plant : std::uint8_t {
  none,
  vote_not_repeated,      // frames after the one that saved the vote forget it
  commit_recorded_early,  // frames record everything written as committed
  damage_taken_for_tail,  // recovery ends the log at the first bad frame, whatever later ones say
  watermark_early,        // frames say that frames still in flight before them are durable
};

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
  Plant plant = Plant::none;
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

// What recovery shows of the log, in LSN order. `payload` is valid during the call only.
//   entries: drop everything held at and above first_index, then append the entries above `after`. Frames
//            that supersede something are shown even when all their entries are at or below `after`.
//   reset:   drop everything; the log goes on at first_index = last_index + 1 (a snapshot through last_index,
//            whose last entry was of `term`, was installed). No payload.
struct RecoveredFrame {
  enum class Kind : std::uint8_t { entries, reset };
  Kind kind = Kind::entries;
  Lsn lsn;
  Term term;
  Index first_index;
  Index last_index;
  // Everything up to here was known to be committed when this frame was sealed; 0 = nothing known. Never
  // falls, never above the log as of this frame: entries up to it may be applied while the visitor runs.
  Index commit;
  ByteView payload;
};

// A hole below a watermark: what a quarantine would have to refetch. Nothing has been changed on disk.
struct Damage {
  std::string segment;         // path
  std::uint64_t position = 0;  // of the first missing frame, in the file
  Index index_before;          // last entry before the hole; `after` when the log has none above it
  Index index_next;            // first entry known behind it; 0 when only control frames were met
  Lsn lsn_first_missing;
  Lsn lsn_next_good;  // first whole frame behind it
};

// What recovery found.
struct RecoveryReport {
  HardState hard_state;
  Lsn last_lsn;       // last valid frame
  Index first_index;  // first entry still in the log; last_index + 1 when there is none
  Index last_index;   // of the log after all superseding; of a reset when nothing follows it; 0 when none
  Term last_term;     // of last_index
  Term after_term;    // of the entry `after`; 0 when the log does not hold it
  Index commit;       // highest known in any valid frame, control frames included; 0 when unknown
  Index reset_index;  // of the last reset in the log; 0 when there is none
  std::uint64_t frames = 0;
  std::uint64_t bytes_scanned = 0;
  bool torn_tail = false;        // an unfinished, never acknowledged write was found and ignored
  std::string torn_detail;       // file and position, for the log line
  bool created = false;          // the directory held no log
  std::optional<Damage> damage;  // set when open() failed with Errc::corruption because of a hole
  std::string warning;           // not empty: works, but not as it should (no O_DIRECT)
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

// Reads entries of the log back, for followers that lag behind the caller's memory. Caller-owned until `done`
// runs, which is never inside read().
struct EntryRead {
  using Done = void (*)(EntryRead&, Errc);
  // In. `buffer` is kBlockBytes-aligned, a multiple of kBlockBytes long, and holds a largest frame.
  Index first;
  Index last_max;  // nothing above is returned
  ByteSpan buffer;
  Done done = nullptr;
  void* context = nullptr;
  // Out, with Errc::ok: whole entries [first, last] of one term, as logfmt has them, inside `buffer`. At
  // least one; as many frames as fit the buffer and lie in one segment.
  Index last;
  Term term;
  ByteView entries;
  // Out, otherwise. not_found: has(first) is false (any more). corruption: the bytes on disk are not what was
  // written; io_error: the disk said so; too_large: the frame is larger than the buffer. `detail` has file
  // and position.
  std::string detail;
  // Private to the log while in flight.
  io::DiskOp op;
  void* log = nullptr;
  std::uint64_t frame = 0;
  std::uint64_t durable_lsn = 0;
  std::uint64_t generation = 0;
  EntryRead* next = nullptr;
};

class Log {
 public:
  // Blocking. Recovers an existing directory or creates a new one with its first segments.
  // `after` is what the checkpoint covers; `on_frame` sees, in order of LSN, every frame with an entry above
  // it, every frame that supersedes something, and every reset. A frame that supersedes a committed entry, or
  // a gap that neither `after` nor a reset explains, is corruption. A bad frame that a later durable
  // watermark covers is Errc::corruption with file and position: nothing is truncated, nothing deleted. A bad
  // frame above the last watermark is a torn tail.
  [[nodiscard]] static Result<std::unique_ptr<Log>> open(
      io::Files& files, io::Disk& disk, io::Clock& clock, const Options& options, Index after,
      const std::function<Status(const RecoveredFrame&)>& on_frame, RecoveryReport& report);
  virtual ~Log() = default;

  // True when a frame of `frame_bytes` (padded) may be submitted now: fewer than depth in flight, a
  // segment has room (or a spare is ready).
  [[nodiscard]] virtual bool can_write(std::uint32_t frame_bytes) const = 0;
  // Requires can_write, and first_index in (recorded commit and released, last_index() + 1]. A first_index at
  // or below last_index() supersedes everything from there on.
  virtual void write(FrameWrite& frame) = 0;
  // Last entry of the log: given to write(), durable or not; the index of a reset; `after` when recovery
  // found less.
  [[nodiscard]] virtual Index last_index() const = 0;
  // Tells that the caller's log ends before `first` from now on, before the frame that supersedes it is
  // written. Nothing is written; has() and set_commit() respect it. Optional; write() implies it.
  virtual void discard_from(Index first) = 0;
  // Every entry through `commit` is committed, and is the one in this log where the log has it. Entries that
  // have not been given to write() yet count when they are. Every frame sealed afterwards carries it, an idle
  // watermark follows when no frame does. A caller whose log was truncated in memory must have said so by
  // discard_from() or write() before a commit index from the new leader. Cheap; a lower index is ignored.
  virtual void set_commit(Index commit) = 0;
  // Largest frame (padded) that any segment of this log can hold.
  [[nodiscard]] virtual std::uint32_t frame_bytes_max() const = 0;
  // Term and vote; `done` runs when durable. Uses the log's own control frame, at most one pending.
  virtual void save_hard_state(const HardState& state, void (*done)(void* context, Errc), void* context) = 0;
  // A snapshot through `index`, whose last entry was of `term`, is durable: the whole log is void and goes on
  // at index + 1. `index` is not below the recorded commit. `done` runs when the reset is durable; at most
  // one pending; frames may be written behind it as soon as can_write() says so.
  virtual void reset(Index index, Term term, void (*done)(void* context, Errc), void* context) = 0;

  // Entries [first_available(), ...] can be read back as far as they are durable. last_index() + 1 when none.
  [[nodiscard]] virtual Index first_available() const = 0;
  // The entry is durable in this log, and a read of it would find it.
  [[nodiscard]] virtual bool has(Index index) const = 0;
  // Term of an entry between first_available() and last_index(), durable or not; 0 when it is not there.
  [[nodiscard]] virtual Term term_at(Index index) const = 0;
  // Several may be in flight. What is read is the log as of this call; the segment is not recycled meanwhile.
  virtual void read(EntryRead& read) = 0;

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
