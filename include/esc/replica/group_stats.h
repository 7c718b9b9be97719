// Counters of one group, since its start. Threading: the group's core.
#pragma once

#include <cstdint>

#include "esc/base/units.h"

namespace esc::replica {

struct CompactionStats {
  std::uint64_t passes = 0;
  std::uint64_t segments = 0;
  std::uint64_t bytes_before = 0;
  std::uint64_t bytes_after = 0;
  std::uint64_t records_removed = 0;
  std::uint64_t nanos = 0;
};

struct GroupStats {
  std::uint64_t batches_appended = 0;
  std::uint64_t bytes_appended = 0;
  std::uint64_t frames_written = 0;
  std::uint64_t commits = 0;
  std::uint64_t busy_rejections = 0;
  std::uint64_t segment_writes = 0;
  std::uint64_t appends_dropped = 0;  // received when the ring was full
  std::uint64_t checkpoints = 0;
  std::uint64_t duplicate_batches = 0;  // of idempotent producers
  std::uint64_t sequence_errors = 0;    // refused: a gap, or a stale epoch
  std::uint64_t event_ids_looked_up = 0;
  std::uint64_t event_ids_seen_before = 0;  // their records were dropped
  Nanos last_checkpoint_duration = 0;
  CompactionStats compaction;
  std::uint32_t damage_found = 0;  // reads that met bytes which fail their checksum
  std::uint32_t put_aside = 0;     // directories of damaged data beside the group's own, at the start
};

// Of all partitions.
struct EventIdStats {
  std::uint64_t ids = 0;  // remembered
  std::uint64_t memory_bytes = 0;
  std::uint64_t expired = 0;  // forgotten at the end of their window...
  std::uint64_t evicted = 0;  // ...and before it, for dedup.window.bytes
  std::uint64_t file_reads = 0;
};

}  // namespace esc::replica
