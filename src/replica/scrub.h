// Reads all stored batches of the group again, slowly, so that damage is found while others still have what
// is damaged: soon after every start, since the start itself reads of older segments only their indexes, then
// once a day. Private to the group, of a cluster only.
//
// Threading: the group's core. Memory: one buffer, while a pass is under way. What it finds goes to
// Group::report_damage.
#pragma once

#include <vector>

#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/obs/log.h"
#include "esc/store/partition_log.h"

namespace esc::replica {

class Group;

class Scrub {
 public:
  Scrub(Group& group, obs::LogSource log) : group_(group), log_(log) {}

  // Not while a snapshot changes the files.
  std::uint32_t do_work(Nanos now);
  // A read is in flight: no partition may lose its files.
  [[nodiscard]] bool reading() const { return reading_; }

 private:
  void begin_pass();
  void end_pass();
  void take(PartitionId id);
  void read();
  void on_read(Errc code);
  void complain(std::string_view what) const;

  Group& group_;
  obs::LogSource log_;
  Nanos now_ = 0;
  bool under_way_ = false;
  bool reading_ = false;
  Nanos started_ = 0;
  Nanos next_ = 0;  // pass, or step; 0: not begun yet
  PartitionId partition_{0};
  PartitionId last_{0};  // of the pass
  Offset offset_{0};     // the next to be read
  Offset end_{0};        // of the partition, when its turn came
  std::uint64_t bytes_ = 0;
  std::uint32_t damaged_ = 0;
  std::vector<std::byte> buffer_;
  store::ReadOp op_;
};

}  // namespace esc::replica
