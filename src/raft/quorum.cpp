#include "esc/raft/quorum.h"

#include <cstddef>
#include <utility>

namespace esc::raft {

std::uint64_t majority_value(VoterValues values) {
  const std::size_t count = values.size();
  if (count == 0) return 0;
  // Insertion sort, largest first: there are at most seven.
  for (std::size_t i = 1; i < count; ++i) {
    for (std::size_t j = i; j > 0 && values[j - 1] < values[j]; --j) std::swap(values[j - 1], values[j]);
  }
  return values[count / 2];
}

}  // namespace esc::raft
