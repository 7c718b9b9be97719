// What the partition logs of one core share, so that ten thousand idle partitions cost little:
//   - a bounded set of open segment files (least recently used ones are closed),
//   - gather arrays for append (an append waits its turn when all are in use),
//   - a table of read positions, so that a consumer that reads on finds its place without the index.
//
// Threading: one core. Ownership: outlives every PartitionLog that names it.
#pragma once

#include <cstdint>
#include <memory>

#include "esc/io/disk.h"

namespace esc::store {

struct ResourceLimits {
  // Files written since their last sync are never closed early (the kernel reports a failed write-back
  // only to those who hold the file), so the process may hold this many plus one per dirty partition.
  std::uint32_t open_files_max = 2048;
  std::uint32_t appends_max = 32;  // in flight; further ones queue. 4 KiB each
  // Of all appends in flight, unless one alone has more: what the device is given at once delays every
  // durable write behind it.
  std::uint64_t append_bytes_max = 1024 * 1024;
  std::uint32_t opens_max = 16;         // opens and closes in flight; further ones queue
  std::uint32_t read_positions = 4096;  // 24 bytes each; a power of two
};

struct ResourceStats {
  std::uint64_t files_open = 0;  // now
  std::uint64_t opens = 0;       // since start
  std::uint64_t evictions = 0;   // closed because open_files_max was reached
  std::uint64_t position_hits = 0;
  std::uint64_t position_misses = 0;
  std::uint64_t appends_waited = 0;
};

class Resources {
 public:
  // `files` closes what is still open when a log is destroyed; it may be null where the process ends
  // anyway. Both outlive the resources.
  [[nodiscard]] static std::unique_ptr<Resources> create(io::Disk& disk, io::Files* files,
                                                         const ResourceLimits& limits = {});
  virtual ~Resources() = default;
  [[nodiscard]] virtual const ResourceStats& stats() const = 0;
};

}  // namespace esc::store
