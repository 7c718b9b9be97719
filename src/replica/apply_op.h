// One gathered write of committed batches into a partition's segment file. Private to the group.
#pragma once

#include <array>

#include "esc/replica/group.h"

namespace esc::replica {

struct Group::ApplyOp {
  static constexpr std::size_t kBatchesMax = 256;

  Group* group = nullptr;
  Partition* partition = nullptr;  // stays alive: a deleted one waits in the graveyard until idle
  store::AppendOp append;
  std::array<store::BatchRef, kBatchesMax> batches;
  std::array<std::uint64_t, kBatchesMax> sequences;
  std::size_t count = 0;
  std::uint64_t bytes = 0;
};

}  // namespace esc::replica
