#include "admission.h"

#include <algorithm>

#include "esc/replica/group.h"
#include "membership.h"
#include "peer_sender.h"
#include "snapshot_messages.h"

namespace esc::replica {
namespace {

constexpr Nanos kCheckEvery = 20 * kMillisecond;
constexpr Nanos kReplaceAgainAfter = kSecond;
constexpr Nanos kHandOverAgainAfter = kSecond;
constexpr Nanos kAskAfter = 300 * kMillisecond;  // a leader that knows has handed over by then
constexpr Nanos kHeartbeats = 3;  // whoever has answered none of the last ones is not counted on

}  // namespace

std::uint32_t Admission::do_work(Nanos now) {
  if (group_.shutting_down_ || group_.handover_deadline_ != 0 || now < next_check_) return 0;
  next_check_ = now + kCheckEvery;
  if (!group_.leading_) return ask_to_lead(now);
  ask_at_ = 0;
  if (group_.options_.replica_plant == Plant::blank_disk_is_member) return 0;
  const raft::Core& core = *group_.core_;
  if (core.configurations().current_index() > core.commit_index() || core.configurations().full()) return 0;
  // Who is new must not be fed from what is void.
  if (core.log().snapshot_index() < group_.membership_->voided()) return 0;
  if (dismiss(now)) return 1;
  for (const peer::PeerAddress& peer : group_.options_.peers) {
    if (peer.node != group_.options_.node && group_.nodes_.stays(peer.node) && judge(peer.node, now))
      return 1;
  }
  return 0;
}

bool Admission::dismiss(Nanos now) {
  const NodeId self = group_.options_.node;
  if (!group_.nodes_.stays(self)) return step_aside(now);
  const raft::Configuration& members = group_.core_->configuration();
  for (const raft::MemberIncarnation& member : members.incarnations) {
    if (group_.nodes_.stays(member.node)) continue;
    if (members.is_voter(member.node) && !majority_without(member.node, now)) {
      group_.log_.log_limited(wait_limiter_, obs::Level::warn, "member_waits",
                              {{"group", group_.options_.id},
                               {"node", member.node},
                               {"cause", "it is to leave, and no majority of the other voters is heard from"},
                               {"fix", "start the other nodes"}});
      return false;
    }
    return propose({raft::ChangeKind::remove, member.node, {}}, "it leaves the cluster", "it is no member");
  }
  return false;
}

bool Admission::step_aside(Nanos now) {
  if (now < step_aside_at_) return false;
  step_aside_at_ = now + kHandOverAgainAfter;
  group_.log_.info(
      "leadership_offered",
      {{"group", group_.options_.id}, {"to", NodeId(0)}, {"why", "this node leaves the cluster"}});
  if (group_.core_->transfer_leadership(NodeId(0), group_.effects_)) group_.handle_effects();
  return true;
}

std::uint32_t Admission::ask_to_lead(Nanos now) {
  const raft::Core& core = *group_.core_;
  const NodeId leader = core.leader();
  const NodeId self = group_.options_.node;
  if (leader == NodeId(0) || group_.nodes_.stays(leader) || !group_.nodes_.stays(self) ||
      !core.configuration().is_voter(self)) {
    ask_at_ = 0;
  } else if (ask_at_ == 0) {
    ask_at_ = now + kAskAfter;
  } else if (now >= ask_at_) {
    ask_at_ = now + kHandOverAgainAfter;
    PeerSender* const to = group_.sender(leader);
    return to != nullptr && to->queue_service({kLeadRequest, kLeaderLeaves}, {}) ? 1 : 0;
  }
  return 0;
}

bool Admission::judge(NodeId node, Nanos now) {
  const raft::Configuration& members = group_.core_->configuration();
  const raft::Incarnation seen(group_.links_->incarnation(node));
  if (seen == raft::Incarnation(0)) return false;
  if (members.incarnation_of(node) != seen && !may_be_taken_in(node)) return false;
  if (!members.contains(node)) {
    return propose({raft::ChangeKind::add_learner, node, seen},
                   "it is a node of the cluster and no member yet", "it gets the log, then becomes a voter");
  }
  if (members.incarnation_of(node) != seen) {
    if (node == replaced_last_ && now - replaced_at_ < kReplaceAgainAfter) return false;
    if (members.is_voter(node) && !majority_without(node, now)) {
      group_.log_.log_limited(
          wait_limiter_, obs::Level::warn, "member_waits",
          {{"group", group_.options_.id},
           {"node", node},
           {"incarnation", seen},
           {"cause", "its data are new, and without it no majority of the other voters is heard from"},
           {"fix", "start the other nodes: a majority of those that hold the log is needed"}});
      return false;
    }
    replaced_last_ = node;
    replaced_at_ = now;
    return propose({raft::ChangeKind::replace, node, seen}, "its data are of another incarnation: a new disk",
                   "it votes no more, gets the log, then becomes a voter again");
  }
  if (!members.is_learner(node) || !caught_up(node)) return false;
  return propose({raft::ChangeKind::promote, node, {}}, "it has caught up", "it votes");
}

// Data of another history would contradict the log that they get, or worse, not contradict it.
bool Admission::may_be_taken_in(NodeId node) {
  if (!group_.membership_->heard(node)) return false;
  if (!group_.membership_->is_foreign(node)) return true;
  group_.log_.log_limited(
      wait_limiter_, obs::Level::error, "member_refused",
      {{"group", group_.options_.id},
       {"node", node},
       {"cause",
        "its data are of other members than this group has: from before a forced start, or of another "
        "cluster"},
       {"fix", "copy its data directory away if it may hold something, then start it with an empty one"}});
  return false;
}

bool Admission::propose(const raft::ConfigurationChange& change, std::string_view cause,
                        std::string_view next) {
  // The open frame has given out the indexes that it will have.
  if (!group_.seal_open() || !group_.has_room_to_lead()) return false;
  const auto index = group_.core_->propose_configuration(change, group_.effects_);
  if (!index) return false;
  constexpr std::string_view kNames[] = {"add_learner", "promote", "remove", "replace"};
  group_.log_.info("member_change",
                   {{"group", group_.options_.id},
                    {"change", kNames[static_cast<std::size_t>(change.kind)]},
                    {"node", change.node},
                    {"incarnation", group_.core_->configuration().incarnation_of(change.node)},
                    {"index", *index},
                    {"cause", cause},
                    {"next", next}});
  group_.handle_effects();
  return true;
}

// Whether a majority of the voters that remain without `node` is heard from, this node included.
bool Admission::majority_without(NodeId node, Nanos now) const {
  const raft::Core& core = *group_.core_;
  const raft::Configuration& members = core.configuration();
  std::size_t remaining = 0;
  std::size_t alive = 0;
  for (const NodeId voter : members.voters) {
    if (voter == node) continue;
    ++remaining;
    const auto peer = std::ranges::find(core.peers(), voter, &raft::Progress::node);
    const bool heard = voter == group_.options_.node ||
                       (peer != core.peers().end() && peer->state != raft::ProgressState::regressed &&
                        raft::Incarnation(group_.links_->incarnation(voter)) == peer->incarnation &&
                        now - peer->last_contact < kHeartbeats * group_.options_.timeouts.heartbeat_interval);
    if (heard) ++alive;
  }
  return alive >= remaining / 2 + 1;
}

// It has, durably, all that was committed without it: everything up to the change that made it a learner.
bool Admission::caught_up(NodeId node) const {
  const raft::Core& core = *group_.core_;
  const auto peer = std::ranges::find(core.peers(), node, &raft::Progress::node);
  return peer != core.peers().end() && peer->state == raft::ProgressState::replicate &&
         peer->match >= core.configurations().current_index();
}

}  // namespace esc::replica
