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
// Threading: one core. The log is the caller's; operations are intrusive and caller-owned.
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

struct Options {
  std::uint64_t segment_bytes = 256 * kMiB;  // a segment is rolled before it would exceed this
  std::uint32_t index_interval_bytes = 32 * 1024;
  std::uint64_t write_back_bytes = 1 * kMiB;  // start write-back (sync_range) after so many new bytes
};

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
};

struct ReadOp {
  using Done = void (*)(ReadOp&, Errc);
  Offset offset;            // the first batch returned contains this offset
  ByteSpan buffer;          // at most this many bytes
  bool at_least_one = true;  // false: return nothing when the first batch does not fit
  Done done = nullptr;
  void* context = nullptr;
  // Results: whole batches only, from the batch that contains `offset`.
  ByteView bytes;
  std::uint32_t first_batch_bytes = 0;  // when it did not fit: how large the buffer must be
};

struct TimeOp {
  using Done = void (*)(TimeOp&, Errc);
  WallMs timestamp = 0;  // first record with timestamp >= this
  ByteSpan scratch;      // at least 64 KiB, for reading
  Done done = nullptr;
  void* context = nullptr;
  // Results; offset -1 when no such record is in the files.
  Offset offset{-1};
  WallMs found_timestamp = -1;
};

struct SyncOp {
  using Done = void (*)(SyncOp&, Errc);
  Done done = nullptr;
  void* context = nullptr;
};

// What a checkpoint records about a partition; enough to open it again.
struct PartitionState {
  Offset log_start_offset{0};
  Offset next_offset{0};  // one past the last appended
  struct Segment {
    Offset base_offset;
    std::uint64_t bytes = 0;
  };
  std::vector<Segment> segments;  // ascending; the last one is active
};

class PartitionLog {
 public:
  // Blocking. `state` is what the checkpoint says; files longer than it says are cut logically (the
  // replay rewrites the same bytes), shorter or missing ones are Errc::corruption with the path. A fresh partition has a
  // default PartitionState and needs no file: the directory appears with the first append.
  [[nodiscard]] static Result<std::unique_ptr<PartitionLog>> open(io::Files& files, io::Disk& disk,
                                                                  const std::string& directory,
                                                                  const Options& options,
                                                                  const PartitionState& state);
  // A partition created while running: no file access at all.
  [[nodiscard]] static std::unique_ptr<PartitionLog> create(io::Disk& disk, const std::string& directory,
                                                            const Options& options);
  virtual ~PartitionLog() = default;

  // One append at a time. After no_space the log is unchanged and the caller may try again.
  virtual void append(AppendOp& op) = 0;
  [[nodiscard]] virtual bool append_in_progress() const = 0;
  virtual void read(ReadOp& op) = 0;   // any number at once
  virtual void find_time(TimeOp& op) = 0;
  // Makes everything appended before the call durable (fdatasync of files written since the last sync, and of
  // the directory when files were created). One at a time.
  virtual void sync(SyncOp& op) = 0;

  [[nodiscard]] virtual Offset log_start_offset() const = 0;
  [[nodiscard]] virtual Offset next_offset() const = 0;   // end of what is in the files
  [[nodiscard]] virtual std::uint64_t bytes() const = 0;  // of all segments
  [[nodiscard]] virtual WallMs max_timestamp() const = 0;
  // Writes the state as of the last *completed append* into `into` (for a checkpoint, taken when sync() was called).
  virtual void snapshot(PartitionState& into) const = 0;

  // Retention, pure: the log start offset after dropping whole sealed segments whose newest record is older than
  // `retention_ms` before `now_ms` (-1: no limit), or that exceed `retention_bytes` (-1: no limit).
  [[nodiscard]] virtual Offset retention_point(std::int64_t retention_ms, std::int64_t retention_bytes,
                                               WallMs now_ms) const = 0;
  // Logically drops records below `offset`; whole segments below it become unreachable at once and are removed
  // from disk in the background after reads that use them ended and after release_removed() (the
  // checkpoint no longer names them).
  virtual void set_log_start(Offset offset) = 0;
  virtual void release_removed() = 0;
  // Deletes every file and the directory, in the background; `done` afterwards. The object must stay until then.
  virtual void destroy(SyncOp& op) = 0;
  [[nodiscard]] virtual bool idle() const = 0;  // no operation of any kind in flight
  [[nodiscard]] virtual const std::string& last_error() const = 0;
};

}  // namespace esc::store
