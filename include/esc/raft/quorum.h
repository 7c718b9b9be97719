// Quorum arithmetic, apart so that it can be checked against a naive twin.
#pragma once

#include <cstdint>

#include "esc/base/fixed_vector.h"
#include "esc/raft/configuration.h"

namespace esc::raft {

using VoterValues = FixedVector<std::uint64_t, kVotersMax>;

// The largest value that a majority of the voters has reached; each voter's own value in any order.
// No voters: 0, so that nothing is ever agreed.
[[nodiscard]] std::uint64_t majority_value(VoterValues values);

}  // namespace esc::raft
