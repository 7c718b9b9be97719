// Reads back what a drill wrote and judges it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster_client.h"
#include "drill_writer.h"

namespace esc::esctl {

struct DrillVerdict {
  std::uint64_t acknowledged = 0;  // events
  std::uint64_t stored = 0;
  std::uint64_t lost = 0;        // acknowledged, and not at the offset that was acknowledged
  std::uint64_t duplicated = 0;  // stored again by a repeat whose first attempt was stored without an answer
  std::uint64_t misplaced = 0;   // out of order, at a gap in the offsets, or with wrong content
  std::string first_trouble;     // about the first lost or misplaced event

  [[nodiscard]] bool clean() const { return lost == 0 && misplaced == 0; }
};

// Adds one partition to the verdict. A failure means that it could not be read.
[[nodiscard]] Status check_drill(const Bootstrap& bootstrap, std::string_view topic, std::int32_t partition,
                                 const std::vector<DrillAck>& acks, Deadline deadline, DrillVerdict& verdict);

}  // namespace esc::esctl
