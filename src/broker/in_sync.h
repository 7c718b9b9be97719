// Which members of a group hold what its leader has: they follow, and were heard of lately. What
// min.insync.replicas counts, and what Metadata says.
#pragma once

#include "esc/base/units.h"
#include "esc/raft/progress.h"

namespace esc::broker {

[[nodiscard]] inline bool in_sync(const raft::Progress& peer, Nanos now) {
  constexpr Nanos kHeardWithin = kSecond;
  return peer.state == raft::ProgressState::replicate && now - peer.last_contact <= kHeardWithin;
}

}  // namespace esc::broker
