#include "repair.h"

#include <algorithm>

#include "esc/replica/group.h"
#include "peer_sender.h"
#include "snapshot_messages.h"

namespace esc::replica {
namespace {

constexpr Nanos kCheckEvery = 50 * kMillisecond;
constexpr Nanos kPatience = kSecond;       // before leadership is moved for it
constexpr Nanos kStepEvery = 5 * kSecond;  // leadership is asked for, or handed over
constexpr Nanos kHeartbeats = 3;

}  // namespace

Repair::Repair(Group& group) : group_(group), scrub_(group, group.log_) {}

void Repair::found(std::string_view what) {
  if (wanted() || group_.core_->configuration().voters.size() < 3) return;
  cause_ = what;
  next_check_ = group_.now_ + kCheckEvery;  // whoever has read it gets his answer
  next_step_ = group_.now_ + kPatience;
  group_.log_.error("group_damage_found",
                    {{"group", group_.options_.id},
                     {"what", what},
                     {"next",
                      "as soon as the other nodes can do without this one its data of the group are "
                      "put aside, and learned again"}});
}

std::uint32_t Repair::do_work(Nanos now) {
  if (!wanted()) {
    const bool settled = group_.fetch_ == nullptr && !group_.shutting_down_;
    return settled ? scrub_.do_work(now) : 0;
  }
  if (now < next_check_ || group_.shutting_down_ || group_.handover_deadline_ != 0) return 0;
  next_check_ = now + kCheckEvery;
  const bool ready = others_linked();
  if (group_.leading_ && ready && others_follow(now)) {
    group_.leave_damaged(cause_);
    return 1;
  }
  if (now < next_step_) return 0;
  next_step_ = now + kStepEvery;
  if (group_.leading_) {
    hand_over(now);
  } else if (ready) {
    ask_to_lead(now);
  }
  return 1;
}

// All members are voters, and here: nobody learns, nobody is missing.
bool Repair::others_linked() const {
  const raft::Core& core = *group_.core_;
  const raft::Configuration& members = core.configuration();
  if (core.configurations().current_index() > core.commit_index() || members.voters.size() < 3 ||
      !members.learners.empty() || !members.is_voter(group_.options_.node))
    return false;
  return std::ranges::all_of(members.voters, [&](NodeId voter) {
    return voter == group_.options_.node ||
           (group_.links_->up(voter) &&
            raft::Incarnation(group_.links_->incarnation(voter)) == members.incarnation_of(voter));
  });
}

bool Repair::others_follow(Nanos now) const {
  return std::ranges::all_of(group_.core_->peers(), [&](const raft::Progress& peer) {
    return peer.state == raft::ProgressState::replicate &&
           now - peer.last_contact < kHeartbeats * group_.options_.timeouts.heartbeat_interval;
  });
}

// Who is behind may need just what is damaged here.
void Repair::hand_over(Nanos) {
  group_.log_.log_limited(
      wait_limiter_, obs::Level::warn, "group_repair_waits",
      {{"group", group_.options_.id},
       {"cause", "a node is missing, or has not caught up: the data here may still be needed"},
       {"damage", std::string_view(cause_)},
       {"fix", "start the other nodes; leadership is offered to one that has everything"}});
  if (group_.core_->transfer_leadership(NodeId(0), group_.effects_)) group_.handle_effects();
}

void Repair::ask_to_lead(Nanos) {
  PeerSender* const leader = group_.sender(group_.core_->leader());
  if (leader != nullptr) static_cast<void>(leader->queue_service({kLeadRequest, kDamagedHere}, {}));
}

void Repair::on_request(NodeId from, std::uint64_t tag) {
  const auto peer = std::ranges::find(group_.core_->peers(), from, &raft::Progress::node);
  if (!group_.leading_ || group_.handover_deadline_ != 0 || peer == group_.core_->peers().end() ||
      peer->state != raft::ProgressState::replicate)
    return;
  group_.log_.info("leadership_offered",
                   {{"group", group_.options_.id},
                    {"to", from},
                    {"why", tag == kLeaderLeaves ? "it says that this node leaves the cluster"
                                                 : "its data are damaged, a leader can leave"}});
  if (group_.core_->transfer_leadership(from, group_.effects_)) group_.handle_effects();
}

}  // namespace esc::replica
