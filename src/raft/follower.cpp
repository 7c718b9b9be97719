// The receiving side of replication (Raft 5.3) and of snapshots (7).
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/raft/core.h"

namespace esc::raft {

// A message of the leader of our term.
void Core::follow(const Message& message, Effects& effects) {
  ESC_ASSERT_MSG(role_ != Role::leader, "two leaders in one term");
  if (role_ != Role::follower || leader_ != message.from) {
    become_follower(hard_state_.term, message.from, effects);
  }
  leader_contact_ = now_;
  leader_contact_valid_ = true;
  pre_vote_rounds_ = 0;
  reset_election_deadline();
}

// What the leader may count: durable here, equal to its log, and with its term on our disk too. A
// node that could forget the term could also acknowledge an earlier leader after a restart.
Index Core::durable_for_leader() const {
  if (config_.plant == Plant::ack_before_durable) return verified_;
  if (durable_hard_state_.term != hard_state_.term) return Index(0);
  return std::min(durable_, verified_);
}

void Core::acknowledge(std::uint64_t round, Effects& effects) {
  if (leader_ == NodeId(0)) return;
  AppendReply reply;
  reply.accepted = true;
  reply.received = verified_;
  reply.durable = durable_for_leader();
  reply.round = round;
  send(leader_, hard_state_.term, reply, effects);
  append_reply_pending_ = durable_ < log_.last_index() || durable_hard_state_.term != hard_state_.term;
}

void Core::on_append(const Message& message, const AppendEntries& append, Effects& effects) {
  const Index last = append.prev_index + append.count;
  const bool nonsense = last < append.prev_index || append.entries_term > message.term ||
                        (append.count > 0 && append.entries_term < append.prev_term) ||
                        (append.configuration && append.count != 1);
  if (nonsense) return;
  follow(message, effects);
  // The committed prefix is equal by leader completeness; only what is beyond it needs a look.
  if (last <= commit_) return acknowledge(append.round, effects);
  if (append.prev_index < commit_) return accept_entries(message, append, commit_, effects);
  const bool unchecked = config_.plant == Plant::prefix_unchecked && append.prev_index <= log_.last_index();
  if (!log_.matches(append.prev_index, append.prev_term) && !unchecked) {
    return reject_append(message, append, effects);
  }
  accept_entries(message, append, append.prev_index, effects);
}

void Core::reject_append(const Message& message, const AppendEntries& append, Effects& effects) {
  AppendReply reply;
  reply.accepted = false;
  reply.received = verified_;
  reply.durable = durable_for_leader();
  reply.rejected_prev = append.prev_index;
  reply.hint_index = log_.last_at_or_below(append.prev_index, append.prev_term);
  reply.hint_term = log_.term_at(reply.hint_index);
  reply.round = append.round;
  send(message.from, hard_state_.term, reply, effects);
}

// Discards the log from here on and starts a new epoch of completions.
void Core::discard_from(Index from, Effects& effects) {
  ESC_ASSERT_MSG(from > commit_, "a leader contradicts a committed entry");
  log_.truncate(from);
  sizes_.truncate(from);
  durable_ = std::min(durable_, from.prev());
  ++epoch_;
  if (configurations_.truncate(from)) configuration_changed(effects);
}

void Core::accept_entries(const Message& message, const AppendEntries& append, Index prev, Effects& effects) {
  const Index last = append.prev_index + append.count;
  const Term term = append.entries_term;
  Index have = prev;
  while (have < last && have < log_.last_index() && log_.term_at(have.next()) == term) {
    have = std::min(last, log_.run_end(have.next()));
  }
  const bool conflict = have < last && have < log_.last_index();
  if (conflict && config_.plant == Plant::conflict_off_by_one) have = have.next();
  if (have < last) {
    if (term < log_.term_at(have)) return;  // nonsense: terms never fall along a log
    if (append.configuration && configurations_.full())
      return;  // until the driver compacts; it is sent again
    const Index first = have.next();
    const bool truncate = have < log_.last_index();
    if (truncate) discard_from(first, effects);
    log_.append(last, term);
    ESC_ASSERT(append.count > 0);  // `last` lies beyond what is there already
    sizes_.append(last, append.bytes * (last - have) / append.count);
    write({.kind = EntryKind::received,
           .truncate_from = truncate ? first : Index(0),
           .first = first,
           .last = last,
           .term = term},
          effects);
    if (append.configuration) {
      configurations_.append(last, *append.configuration);
      configuration_changed(effects);
    }
    append_reply_pending_ = true;
  }
  verified_ = std::max(verified_, last);
  commit_to(std::min(append.commit, verified_), effects);
  // What has to be written is acknowledged once it is durable; the heartbeats tell what has arrived.
  const bool answer_now = have >= last || config_.plant == Plant::ack_before_durable;
  if (answer_now && message.from == leader_) acknowledge(append.round, effects);
}

void Core::on_heartbeat(const Message& message, const Heartbeat& heartbeat, Effects& effects) {
  follow(message, effects);
  commit_to(std::min(heartbeat.commit, verified_), effects);
  const HeartbeatReply reply{
      .received = verified_, .durable = durable_for_leader(), .round = heartbeat.round};
  send(message.from, hard_state_.term, reply, effects);
}

void Core::on_install_snapshot(const Message& message, const InstallSnapshot& install, Effects& effects) {
  follow(message, effects);
  if (install.index <= std::min(commit_, durable_for_leader())) return acknowledge(0, effects);
  if (install.index <= commit_ || snapshot_fetch_ != Index(0)) return;
  snapshot_fetch_ = install.index;
  effects.snapshot_request = SnapshotRequest{message.from, install.index, install.index_term};
}

void Core::snapshot_done(const SnapshotDone& done, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  snapshot_fetch_ = Index(0);
  if (!done.installed) {
    if (role_ == Role::follower && leader_ != NodeId(0))
      send(leader_, hard_state_.term, SnapshotFailed{}, effects);
    return;
  }
  if (done.index > commit_) {
    if (log_.matches(done.index, done.index_term)) {
      commit_to(done.index, effects);  // the log beyond it stays
    } else {
      log_.reset(done.index, done.index_term);
      sizes_.reset(done.index);
      configurations_ = ConfigurationLog(done.configuration, done.index);
      configuration_changed(effects);
      ++epoch_;
      durable_ = Index(0);  // until the log's reset is on disk
      append_reply_pending_ = true;
      write({.kind = EntryKind::reset,
             .truncate_from = Index(0),
             .first = done.index.next(),
             .last = done.index,
             .term = done.index_term},
            effects);
      commit_to(done.index, effects);
    }
    applied_ = std::max(applied_, done.index);
    verified_ = std::max(verified_, done.index);
  }
  if (role_ == Role::follower && durable_for_leader() >= done.index) acknowledge(0, effects);
  update_deadline();
}

}  // namespace esc::raft
