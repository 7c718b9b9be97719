// Terms, votes and leadership (Raft 5.2, 5.4.1; dissertation 3.10, 6.4.1 and 9.6).
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/raft/core.h"

namespace esc::raft {

void Core::become_follower(Term term, NodeId leader, Effects& effects) {
  ESC_ASSERT(term >= hard_state_.term);
  const bool was_leader = role_ == Role::leader;
  const bool leader_changed = leader != leader_ || term != hard_state_.term;
  const TransferOutcome outcome =
      transfer_sent_ && term > hard_state_.term ? TransferOutcome::done : TransferOutcome::aborted;
  if (term > hard_state_.term) {
    set_hard_state({term, NodeId(0)}, effects);
    vote_reply_pending_ = NodeId(0);
    // The new term's leader has the committed entries (leader completeness); beyond them nothing is
    // known. Within a term there is one leader, so what it verified stays.
    verified_ = commit_;
    append_reply_pending_ = false;
  }
  role_ = Role::follower;
  leader_ = leader;
  leader_contact_valid_ = false;
  granted_.clear();
  if (was_leader) {
    fail_reads(effects);
    finish_transfer(outcome, effects);
    peers_.clear();
    unsent_ = false;
  }
  election_timeout_ = 0;
  reset_election_deadline();
  if (was_leader || leader_changed) announce_leadership(was_leader, effects);
}

void Core::reset_election_deadline() {
  if (election_timeout_ == 0) {
    election_timeout_ =
        prng_.between(config_.timeouts.election_timeout_min, config_.timeouts.election_timeout_max);
  }
  election_deadline_ = now_ + election_timeout_;
  pause_forgiven_ = false;
}

bool Core::may_campaign() const {
  return electable_ && configurations_.current().is_voter(config_.node);
}

bool Core::hears_leader() const {
  if (role_ == Role::leader) return true;  // CheckQuorum would have made it step down
  // Heartbeats reach the followers at slightly different times. Without the allowance, the one whose
  // timer runs out first would sometimes be refused by one that heard the dead leader a moment later.
  const Nanos allowance = config_.timeouts.heartbeat_interval / 2;
  return leader_contact_valid_ && now_ - leader_contact_ < config_.timeouts.election_timeout_min - allowance;
}

// Raft 5.4.1: the voter's log must not be more complete than the candidate's.
bool Core::log_is_current(Index last_index, Term last_term) const {
  if (config_.plant == Plant::vote_without_log_check) return true;
  if (last_term != log_.last_term()) return last_term > log_.last_term();
  return last_index >= log_.last_index();
}

void Core::start_pre_vote(Effects& effects) {
  ESC_ASSERT(role_ != Role::leader);
  const bool knew_leader = leader_ != NodeId(0);
  leader_ = NodeId(0);
  granted_.clear();
  refused_.clear();
  ++pre_vote_rounds_;
  const Nanos interval = config_.timeouts.heartbeat_interval;
  election_timeout_ = prng_.between(interval, 2 * interval);
  reset_election_deadline();
  if (sole_voter()) return start_campaign(false, effects);
  role_ = Role::pre_candidate;
  if (knew_leader) announce_leadership(false, effects);
  request_votes(true, false, effects);
}

void Core::start_campaign(bool transfer, Effects& effects) {
  ESC_ASSERT(role_ != Role::leader);
  role_ = Role::candidate;
  leader_ = NodeId(0);
  leader_contact_valid_ = false;
  granted_.clear();
  vote_reply_pending_ = NodeId(0);
  append_reply_pending_ = false;
  verified_ = commit_;
  campaign_is_transfer_ = transfer;
  votes_requested_ = false;
  set_hard_state({hard_state_.term.next(), config_.node}, effects);
  election_timeout_ = 0;
  reset_election_deadline();
  if (config_.plant == Plant::vote_before_durable) {
    votes_requested_ = true;
    request_votes(false, transfer, effects);
    count_votes(effects);
  }
}

void Core::request_votes(bool pre_vote, bool transfer, Effects& effects) {
  const Term term = pre_vote ? hard_state_.term.next() : hard_state_.term;
  const VoteRequest request{.pre_vote = pre_vote,
                            .transfer = transfer,
                            .last_index = log_.last_index(),
                            .last_term = log_.last_term()};
  for (const NodeId voter : configurations_.current().voters) {
    if (voter != config_.node) send(voter, term, request, effects);
  }
}

void Core::on_vote_request(const Message& message, const VoteRequest& request, Effects& effects) {
  const bool current = log_is_current(request.last_index, request.last_term);
  const bool sticky = hears_leader() && !request.transfer;
  if (request.pre_vote) {
    bool granted = message.term > hard_state_.term && !sticky && current;
    // Two that lost their leader in the same instant would split the real votes. The one with the
    // lower id yields; the other refuses, unless it has been refused itself or in a later round.
    const bool rival = role_ == Role::pre_candidate && message.term == hard_state_.term.next();
    const bool log_equal = request.last_index == log_.last_index() && request.last_term == log_.last_term();
    const bool refused_us = std::find(refused_.begin(), refused_.end(), message.from) != refused_.end();
    const bool hopeful = pre_vote_rounds_ <= 1 && !refused_us;
    if (granted && rival && log_equal && message.from < config_.node && hopeful) granted = false;
    if (granted && rival && (!log_equal || message.from > config_.node)) {
      role_ = Role::follower;
      granted_.clear();
      election_timeout_ = 0;
      reset_election_deadline();
    }
    const Term term = granted ? message.term : hard_state_.term;
    return send(message.from, term, VoteReply{.pre_vote = true, .granted = granted}, effects);
  }
  if (message.term > hard_state_.term) {
    if (sticky) return;  // a disruptive server: neither vote nor move to its term (dissertation 4.2.3)
    become_follower(message.term, NodeId(0), effects);
  }
  const bool free =
      hard_state_.vote == message.from || (hard_state_.vote == NodeId(0) && leader_ == NodeId(0));
  if (message.term < hard_state_.term || !free || !current) {
    return send(message.from, hard_state_.term, VoteReply{.pre_vote = false, .granted = false}, effects);
  }
  if (hard_state_.vote == NodeId(0)) {
    set_hard_state({hard_state_.term, message.from}, effects);
    reset_election_deadline();
  }
  vote_reply_pending_ = message.from;
  on_own_state_durable(effects);  // a repeated request may find the vote on disk already
}

void Core::on_vote_reply(const Message& message, const VoteReply& reply, Effects& effects) {
  if (!reply.granted) {
    if (reply.pre_vote && role_ == Role::pre_candidate && !refused_.full()) refused_.push_back(message.from);
    return;
  }
  const bool expected = reply.pre_vote
                            ? role_ == Role::pre_candidate && message.term == hard_state_.term.next()
                            : role_ == Role::candidate && message.term == hard_state_.term;
  if (!expected || !configurations_.current().is_voter(message.from)) return;
  if (std::find(granted_.begin(), granted_.end(), message.from) != granted_.end()) return;
  granted_.push_back(message.from);
  count_votes(effects);
}

void Core::count_votes(Effects& effects) {
  const bool pre_vote = role_ == Role::pre_candidate;
  const bool own_vote =
      pre_vote || durable_hard_state_ == hard_state_ || config_.plant == Plant::vote_before_durable;
  const std::size_t votes =
      granted_.size() + (own_vote && configurations_.current().is_voter(config_.node) ? 1 : 0);
  if (votes < configurations_.current().majority()) return;
  if (!pre_vote) return become_leader(effects);
  // With a stalled disk the campaign could not be won, only raise the term and unseat a leader.
  if (all_durable()) start_campaign(false, effects);
}

// Something of our own became durable while we do not lead: votes may go out or count now.
void Core::on_own_state_durable(Effects& effects) {
  if (role_ == Role::pre_candidate) return count_votes(effects);
  const bool vote_durable = durable_hard_state_ == hard_state_ || config_.plant == Plant::vote_before_durable;
  if (vote_reply_pending_ != NodeId(0) && vote_durable) {
    ESC_ASSERT(vote_reply_pending_ == hard_state_.vote);
    send(vote_reply_pending_, hard_state_.term, VoteReply{.pre_vote = false, .granted = true}, effects);
    vote_reply_pending_ = NodeId(0);
  }
  // The request names our last entry. If that could still be lost, a vote granted for it could be
  // counted after a restart by a candidate with a shorter log.
  if (role_ == Role::candidate && !votes_requested_ && all_durable()) {
    votes_requested_ = true;
    request_votes(false, campaign_is_transfer_, effects);
    count_votes(effects);
  }
}

void Core::on_timeout_now(const Message& message, Effects& effects) {
  if (role_ != Role::follower || message.from != leader_ || !may_campaign()) return;
  start_campaign(true, effects);  // the leader has vouched for us: no pre-vote
}

void Core::become_leader(Effects& effects) {
  ESC_ASSERT(role_ == Role::candidate);
  role_ = Role::leader;
  leader_ = config_.node;
  granted_.clear();
  pre_vote_rounds_ = 0;
  reads_.clear();
  transfer_to_ = NodeId(0);
  transfer_sent_ = false;
  peers_.clear();
  rebuild_peers();
  heartbeat_deadline_ = now_ + config_.timeouts.heartbeat_interval;
  quorum_check_after_ = now_ + config_.timeouts.election_timeout_max;
  // Raft 8 and 5.4.2: entries of earlier terms are committed through the first one of ours.
  term_start_ = append_own(EntryKind::noop, 1, config_.limits.entry_bytes_estimate, effects);
  announce_leadership(false, effects);
  send_appends(effects);
  update_deadline();
}

// A leader that is no longer a voter leads until the entry that removed it is committed
// (dissertation 4.2.2), tells the others, and leaves.
void Core::step_down_if_removed(Effects& effects) {
  if (configurations_.current().is_voter(config_.node) || configurations_.current_index() > commit_) return;
  broadcast_heartbeat(effects);
  become_follower(hard_state_.term, NodeId(0), effects);
}

}  // namespace esc::raft
