// Compacts the partitions of a group whose topics want it, one at a time, slowly. Private to the group.
//
// Every member compacts what it has, on its own; the log knows nothing of it. A slice is one read of the
// segment files and what becomes of it; between slices there is a pause, so that no more than
// `compaction_bytes_per_second` are worked through. Nothing is begun, and what runs is given up, while a
// snapshot is fetched here or served to another member: both rely on what a checkpoint says of the files.
//
// Threading: the group's core.
#pragma once

#include <cstddef>
#include <map>

#include "esc/replica/group.h"

namespace esc::replica {

class Compactor {
 public:
  explicit Compactor(Group& group) : group_(group) {}

  std::uint32_t do_work(Nanos now);
  // do_work has something to do by then even if nothing happens.
  [[nodiscard]] Nanos next_deadline() const;
  [[nodiscard]] bool idle() const { return partition_ == nullptr; }

 private:
  [[nodiscard]] bool may_run() const;
  std::uint32_t look_around(Nanos now);
  [[nodiscard]] bool due(const Partition& partition, Nanos now, WallMs wall_ms);
  void begin(Partition& partition);
  void on_slice(std::uint64_t bytes);
  void on_done(Errc code);

  Group& group_;
  Partition* partition_ = nullptr;  // being compacted
  store::CompactOp op_;
  Nanos started_ = 0;
  Nanos resume_at_ = 0;
  bool paused_ = false;
  Nanos next_look_ = 0;
  std::size_t cursor_ = 0;
  // Not compacted again before so many checkpoints: a member that fetches a snapshot compares what it has
  // with a checkpoint, so that must never be two passes old, of which the second one removes tombstones.
  std::map<PartitionId, std::uint64_t> after_checkpoint_;
};

}  // namespace esc::replica
