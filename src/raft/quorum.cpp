#include "esc/raft/quorum.h"

#include <algorithm>
#include <functional>

namespace esc::raft {

std::uint64_t majority_value(VoterValues values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end(), std::greater<>());
  return values[values.size() / 2];
}

}  // namespace esc::raft
