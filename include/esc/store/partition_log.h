// The segment files of one topic partition: committed Kafka record batches in offset order, with
// sparse indexes by offset and by time.
//
// A segment is `<base offset, 20 digits>.log`: concatenated record batches exactly as a consumer
// receives them. Indexes live in memory, are rebuilt from the segment when it is opened, and a
// sealed segment's index is persisted beside it (`.index`), checksummed, only as an accelerator.
//
// The contents are a deterministic function of the group's log: replaying the WAL after a crash
// appends the same batches at the same positions. Nothing here is durable until sync(); the WAL
// keeps everything since the last checkpoint.
//
// Threading: one core. The log is the caller's; operations are intrusive and caller-owned. `done`
// normally runs from the loop, but when nothing has to be read or written (an offset out of range, a
// sync of a clean log) it runs inside the call: callers loop, they do not recurse.
// Errors: no_space (retriable, nothing was appended), io_error (the group must stop), corruption
// (file and position in last_error()).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/io/disk.h"

namespace esc::store {

class Resources;
class SegmentedLog;
struct Segment;

// Limits of one append.
inline constexpr std::size_t kAppendBatchesMax = 256;
// Segment positions are 32 bits in the index.
inline constexpr std::uint64_t kSegmentBytesMax = 2 * kGiB;

// Where a segment ends. Both look at the batches alone, never at a clock: replicas and replays end their
// segments alike.
struct RollRules {
  std::uint64_t bytes = 256 * kMiB;  // before it would exceed this; at most kSegmentBytesMax
  // Before the first batch that is newer by more than this than the segment's first one, both by their
  // largest record timestamps (KIP-33); -1: never.
  std::int64_t ms = -1;
  bool operator==(const RollRules&) const = default;
};

struct Options {
  std::uint64_t segment_bytes = 256 * kMiB;        // RollRules at first
  std::int64_t segment_ms = -1;                    //
  std::uint32_t index_interval_bytes = 32 * 1024;  // at first; doubles whenever a segment's index is full
  std::uint64_t write_back_bytes = 1 * kMiB;       // start write-back (sync_range) after so many new bytes
  // A file that goes gives its space back in steps of so much: what the device does for a large file at once,
  // it does before any durable write behind it.
  std::uint64_t punch_bytes = 1 * kMiB;
  // What the partitions of one core share: open files, gather arrays, read positions (resources.h).
  // It outlives every log that names it. Without it a log makes a small one of its own.
  Resources* resources = nullptr;
};

namespace detail {

// Somebody who waits for a file of the shared cache to be open (or closed).
struct FileWaiter {
  using Ready = void (*)(FileWaiter&, Errc, int os_error);
  Ready ready = nullptr;
  void* context = nullptr;
  FileWaiter* next = nullptr;
};

// The part of an operation that belongs to the implementation while it is in flight.
struct OpState {
  io::DiskOp disk{};
  FileWaiter file{};
  SegmentedLog* log = nullptr;
  Segment* segment = nullptr;
  std::uint64_t position = 0;  // in the segment
  std::uint64_t end = 0;       // of a read: of the segment when it began
  Offset expected{};           // base offset of the batch at `position`
};

}  // namespace detail

// One committed batch in memory. `bytes` is the whole record batch, stamped.
struct BatchRef {
  ByteView bytes;
  Offset base_offset;
  Offset last_offset;
  WallMs max_timestamp = 0;
};

struct AppendOp {
  using Done = void (*)(AppendOp&, Errc);
  std::span<const BatchRef> batches;  // consecutive offsets, starting at the log's next offset; at most 256
  Done done = nullptr;
  void* context = nullptr;
  // Private while in flight.
  detail::OpState state{};
  struct iovec* pieces = nullptr;
  std::uint64_t piece_bytes = 0;
  AppendOp* next = nullptr;
};

struct ReadOp {
  using Done = void (*)(ReadOp&, Errc);
  Offset offset;    // the first batch returned contains this offset
  ByteSpan buffer;  // at most this many bytes
  Done done = nullptr;
  void* context = nullptr;
  // Results: whole batches only, from the batch that contains `offset`. A part of `buffer`, which need not
  // begin at its beginning: what lies before was read on the way there.
  ByteView bytes;
  // When the first batch did not fit: how large the buffer must be. The operation then ends with ok and
  // empty `bytes`. Also ok and empty, with 0 here: `offset` is next_offset(). Nothing is returned that was
  // appended after the operation began.
  std::uint32_t first_batch_bytes = 0;
  // Private while in flight.
  detail::OpState state{};
};

inline constexpr std::size_t kTimeScratchBytesMin = 4 * kKiB;  // 64 KiB is a good size

struct TimeOp {
  using Done = void (*)(TimeOp&, Errc);
  WallMs timestamp = 0;  // first record with timestamp >= this
  ByteSpan scratch;      // at least kTimeScratchBytesMin, for reading
  Done done = nullptr;
  void* context = nullptr;
  // Results; offset -1 when no such record is in the files. In a compressed batch the records are not
  // looked at: the batch's first offset is returned with its largest timestamp.
  Offset offset{-1};
  WallMs found_timestamp = -1;
  // Private while in flight.
  detail::OpState state{};
  std::uint64_t batch_end = 0;  // when not 0: in the middle of a batch that ends there
  Offset batch_base{};
  WallMs batch_timestamp = 0;
};

struct SyncOp {
  using Done = void (*)(SyncOp&, Errc);
  Done done = nullptr;
  void* context = nullptr;
  // Private while in flight.
  detail::OpState state{};
};

// What a checkpoint records about a partition; enough to open it again.
struct PartitionState {
  Offset log_start_offset{0};
  Offset next_offset{0};  // one past the last appended
  struct Segment {
    Offset base_offset;
    std::uint64_t bytes = 0;
    std::uint32_t generation = 0;  // of the compaction that wrote it; 0: as it was appended
    WallMs first_timestamp = -1;   // the largest of its first batch; -1: none, or not known
  };
  std::vector<Segment> segments;  // ascending; the last one is active
  Offset compacted_until{0};      // below it no key occurs twice
  WallMs tombstones_until = 0;    // the compacted part has tombstones that may go then; 0: none
};

// How a topic is compacted.
struct CompactionRules {
  std::int64_t delete_retention_ms = 86'400'000;  // how long tombstones stay once they are compacted
  std::int64_t min_lag_ms = 0;                    // segments with a newer record stay as they are
  std::int64_t max_lag_ms = INT64_MAX;            // one that began longer ago is due, whatever it is worth
  std::uint32_t dirty_permille = 500;  // of the sealed bytes that are not compacted, before it is worth it
  bool operator==(const CompactionRules&) const = default;
};

struct CompactionResult {
  std::uint64_t segments_before = 0;
  std::uint64_t segments_after = 0;
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
  std::uint64_t records_kept = 0;
  std::uint64_t records_removed = 0;
};

// One compaction of the sealed segments, from the first one to where `memory_bytes` of keys reach.
struct CompactOp {
  using Done = void (*)(CompactOp&, Errc);
  CompactionRules rules;
  WallMs now_ms = 0;
  std::uint64_t memory_bytes = 16 * kMiB;  // for keys: 32 bytes each
  std::uint64_t hash_key[2] = {};
  std::uint32_t slice_bytes = 64 * kKiB;  // read at once; a larger batch is read whole
  // A slice of work is done, with so many bytes read and written; it goes on with continue_compaction().
  void (*slice)(CompactOp&, std::uint64_t bytes) = nullptr;
  Done done = nullptr;
  void* context = nullptr;
  CompactionResult result;
  // Private while in flight.
  detail::OpState state{};
};

class PartitionLog {
 public:
  // Blocking. `state` is what the checkpoint says; files longer than it says are cut logically (the
  // replay rewrites the same bytes), shorter or missing ones are Errc::corruption with the path. A fresh
  // partition has a default PartitionState and needs no file: the directory appears with the first append.
  [[nodiscard]] static Result<std::unique_ptr<PartitionLog>> open(io::Files& files, io::Disk& disk,
                                                                  const std::string& directory,
                                                                  const Options& options,
                                                                  const PartitionState& state);
  // A partition created while running: no file access at all.
  [[nodiscard]] static std::unique_ptr<PartitionLog> create(io::Disk& disk, const std::string& directory,
                                                            const Options& options);
  // Only when idle(), or when the disk is gone with everything in flight (a simulated crash). Closes files,
  // blocking.
  virtual ~PartitionLog() = default;

  // One append at a time. After no_space the log is unchanged and the caller may try again.
  virtual void append(AppendOp& op) = 0;
  [[nodiscard]] virtual bool append_in_progress() const = 0;
  virtual void read(ReadOp& op) = 0;  // any number at once
  virtual void find_time(TimeOp& op) = 0;
  // Makes everything appended before the call durable (fdatasync of files written since the last sync, and of
  // the directory when files were created). One at a time.
  virtual void sync(SyncOp& op) = 0;
  // Something was written, or segments were dropped, since the last sync: a checkpoint may pass over
  // the logs for which this is false.
  [[nodiscard]] virtual bool needs_sync() const = 0;

  [[nodiscard]] virtual Offset log_start_offset() const = 0;
  [[nodiscard]] virtual Offset next_offset() const = 0;   // end of what is in the files
  [[nodiscard]] virtual std::uint64_t bytes() const = 0;  // of all segments
  [[nodiscard]] virtual WallMs max_timestamp() const = 0;
  // Writes the state as of the last *completed append* into `into` (for a checkpoint, taken when sync() was
  // called).
  virtual void snapshot(PartitionState& into) const = 0;

  // The batches from offset `from` on are rolled by other rules; none at or behind it has been appended.
  // Takes back what was said of these offsets before.
  virtual void set_rolling(Offset from, const RollRules& rules) = 0;
  // Of the batch that is appended next.
  [[nodiscard]] virtual const RollRules& rolling() const = 0;

  // Retention, pure: the log start offset after dropping whole sealed segments whose newest record is older
  // than `retention_ms` before `now_ms` (-1: no limit), or that exceed `retention_bytes` (-1: no limit).
  [[nodiscard]] virtual Offset retention_point(std::int64_t retention_ms, std::int64_t retention_bytes,
                                               WallMs now_ms) const = 0;
  // Logically drops records below `offset`; whole segments below it become unreachable at once and are
  // removed from disk in the background after reads that use them ended and after release_removed() (the
  // checkpoint no longer names them).
  virtual void set_log_start(Offset offset) = 0;
  // Drops everything and goes on at `offset`, at or beyond next_offset(): records in between are not to be
  // had (a snapshot of a log that begins later). Files stay until release_removed(). Only when idle().
  virtual void skip_to(Offset offset) = 0;
  // Begins anew at `offset`, before or behind what is there, which is set aside: keep_new() drops it,
  // return_to_old() puts it back instead of what was appended since. No checkpoint in between. Only when
  // idle().
  virtual void start_over(Offset offset) = 0;
  virtual void keep_new() = 0;
  virtual void return_to_old() = 0;

  // Whether compact() has enough to do.
  [[nodiscard]] virtual bool compaction_due(const CompactionRules& rules, WallMs now_ms) const = 0;
  // Replaces the sealed segments by ones with the newest record of each key only. Only what is synced is
  // touched, the active segment never. Readers notice nothing; a checkpoint makes it last, release_removed()
  // removes the old files. Offsets stay what they were. One at a time; busy while another log of
  // the same resources does it. `done` gets closed when it was cancelled, or when the log's start moved on;
  // no_space, corruption and
  // unsupported (a batch whose records cannot be read) leave everything as it was.
  virtual void compact(CompactOp& op) = 0;
  virtual void continue_compaction() = 0;
  virtual void cancel_compaction() = 0;  // `done` follows, perhaps inside this call; nothing without one

  // The checkpoint whose snapshot() was taken at the last sync() call is durable. Releases what was dropped
  // before that call; segments dropped while the checkpoint was being written wait for the next one.
  virtual void release_removed() = 0;
  // Deletes every file and the directory, in the background; `done` afterwards. The object must stay until
  // then.
  virtual void destroy(SyncOp& op) = 0;
  [[nodiscard]] virtual bool idle() const = 0;  // no operation of any kind in flight
  [[nodiscard]] virtual const std::string& last_error() const = 0;
  // What open() met in the directory and did not touch: one sentence per file, for the log.
  [[nodiscard]] virtual const std::vector<std::string>& notes() const = 0;
};

}  // namespace esc::store
