#include "esc/raft/progress.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::raft {

void Inflight::push(Index last, std::uint64_t bytes) {
  ESC_ASSERT(count() < kCapacity);
  ring_[tail_ % kCapacity] = {last, bytes};
  ++tail_;
  bytes_ += bytes;
}

void Inflight::free_up_to(Index index) {
  while (head_ != tail_ && ring_[head_ % kCapacity].last <= index) {
    bytes_ -= ring_[head_ % kCapacity].bytes;
    ++head_;
  }
}

void Progress::become_probe(Index from) {
  ESC_ASSERT(from > match);
  state = ProgressState::probe;
  next = from;
  received = std::max(match, std::min(received, from.prev()));
  probe_sent = false;
  inflight.clear();
}

void Progress::become_replicate(Index from) {
  state = ProgressState::replicate;
  next = std::max(from, match.next());
  // Also when an old answer says less than we knew: everything from `next` on is sent again, and must
  // be freed from the window by what arrives of it.
  received = next.prev();
  probe_sent = false;
  inflight.clear();
}

void Progress::become_snapshot() {
  state = ProgressState::snapshot;
  probe_sent = false;
  inflight.clear();
}

}  // namespace esc::raft
