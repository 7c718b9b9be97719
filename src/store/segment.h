// One segment file of a partition: what is known about it in memory, and the blocking scan that
// rebuilds that when it is opened.
#pragma once

#include <cstdint>
#include <limits>
#include <string>

#include "batch_header.h"
#include "file_cache.h"
#include "segment_index.h"

namespace esc::store {

// What decides where a segment ends.
struct Extent {
  Offset base;
  std::uint64_t bytes = 0;
  WallMs first_timestamp = -1;  // the largest of its first batch; -1: none, or not known
};

struct Segment {
  Segment(std::uint64_t segment_number, const std::string& directory, SegmentName name,
          std::uint32_t index_interval)
      : number(segment_number),
        base(name.base),
        next(name.base),
        index(index_interval),
        file(directory, name) {}

  const std::uint64_t number;  // never reused by this core
  const Offset base;
  // Published: readers see exactly this much.
  Offset next;  // one past the last offset
  std::uint64_t bytes = 0;
  WallMs max_timestamp = -1;
  WallMs first_timestamp = -1;  // see Extent
  // Leader epochs are outside the batch CRC; a batch whose epoch is outside these is damaged.
  std::int32_t epoch_min = std::numeric_limits<std::int32_t>::max();
  std::int32_t epoch_max = std::numeric_limits<std::int32_t>::min();
  SegmentIndex index;

  CachedFile file;
  bool sealed = false;
  bool dirty = false;                  // written since the last sync began
  bool syncing = false;                // the running sync covers it
  bool tail_unknown = false;           // the file may be longer than what this life wrote; cut when sealed
  bool index_saved = false;            // of a sealed segment
  bool unnamed = false;                // removed before the last sync began: its checkpoint does not name it
  bool released = false;               // removed, and that checkpoint is durable
  std::uint32_t users = 0;             // operations that hold a pointer to it
  std::uint64_t write_back_bytes = 0;  // up to here the kernel was told to start writing
  std::uint64_t index_saved_bytes = 0;

  [[nodiscard]] std::uint32_t generation() const { return file.name.generation; }
  [[nodiscard]] std::string path(const char* suffix) const {
    return segment_path(file.directory, file.name, suffix);
  }
  [[nodiscard]] Extent extent() const { return {base, bytes, first_timestamp}; }
  // Publishes one more batch at the end.
  void add(const BatchHeader& batch);
  [[nodiscard]] bool epoch_plausible(std::int32_t epoch) const {
    return epoch >= epoch_min && epoch <= epoch_max;
  }
  [[nodiscard]] IndexFile index_file() const;
};

// Blocking. Reads and checks (chain and CRC) batches from segment.bytes to `bytes`, adding each. The
// error names the file and the position.
[[nodiscard]] Status scan_segment(io::Files& files, io::FileHandle file, Segment& segment,
                                  std::uint64_t bytes);

// Blocking. Takes from the `.index` file what is good for the first `bytes` of the segment; sets
// segment.bytes (and what goes with it) to where a scan must go on. A missing or bad index leaves an
// empty segment: it is only an accelerator. True when all of it was usable.
bool load_index(io::Files& files, Segment& segment, std::uint64_t bytes);

}  // namespace esc::store
