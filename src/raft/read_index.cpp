// Linearizable reads without a log entry (dissertation 6.4): a majority that answers a heartbeat
// sent after the request proves that no later leader had committed anything before it.
#include "esc/base/assert.h"
#include "esc/raft/core.h"
#include "esc/raft/quorum.h"

namespace esc::raft {

std::expected<void, Errc> Core::read_index(std::uint64_t request, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  if (role_ != Role::leader) return std::unexpected(Errc::not_leader);
  // Before a commit of this term the leader does not know what earlier ones had committed.
  if (commit_ < term_start_ || reads_.full()) return std::unexpected(Errc::busy);
  if (sole_voter()) {
    effects.reads.push_back({request, Errc::ok, commit_});
    return {};
  }
  // One round at a time: a request that finds one under way is answered by the next.
  const bool idle = reads_.empty();
  if (idle) broadcast_heartbeat(effects);
  reads_.push_back({request, idle ? round_ : round_ + 1, commit_});
  update_deadline();
  return {};
}

std::uint64_t Core::confirmed_round() const {
  VoterValues rounds;
  for (const NodeId voter : configurations_.current().voters) {
    std::uint64_t reached = voter == config_.node ? round_ : 0;
    for (const Progress& peer : peers_) {
      if (peer.node == voter) reached = peer.round;
    }
    rounds.push_back(reached);
  }
  return majority_value(rounds);
}

void Core::confirm_reads(Effects& effects) {
  if (role_ != Role::leader || reads_.empty()) return;
  const std::uint64_t confirmed = confirmed_round();
  std::size_t done = 0;
  while (done < reads_.size() && reads_[done].round <= confirmed) {
    effects.reads.push_back({reads_[done].request, Errc::ok, reads_[done].index});
    ++done;
  }
  if (done > 0) {
    for (std::size_t i = done; i < reads_.size(); ++i) reads_[i - done] = reads_[i];
    for (std::size_t i = 0; i < done; ++i) reads_.pop_back();
  }
  if (!reads_.empty() && reads_[0].round > round_) broadcast_heartbeat(effects);
}

void Core::fail_reads(Effects& effects) {
  for (const Read& read : reads_) effects.reads.push_back({read.request, Errc::not_leader, Index(0)});
  reads_.clear();
}

}  // namespace esc::raft
