#include "esc/raft/core.h"

#include <algorithm>
#include <limits>

#include "esc/base/assert.h"

namespace esc::raft {
namespace {

constexpr Nanos kNever = std::numeric_limits<Nanos>::max() / 2;

}  // namespace

Core::Core(const Config& config, const Restored& restored)
    : config_(config),
      prng_(config.seed),
      hard_state_(restored.hard_state),
      durable_hard_state_(restored.hard_state),
      log_(restored.snapshot_index, restored.snapshot_term, restored.runs, restored.last_index),
      sizes_(restored.last_index, config.limits.entry_bytes_estimate),
      configurations_(restored.configuration, restored.snapshot_index),
      durable_(restored.last_index),
      commit_(restored.commit),
      applied_(restored.applied),
      verified_(restored.commit) {
  ESC_ASSERT(config.node != NodeId(0));
  ESC_ASSERT(config.timeouts.heartbeat_interval > 0);
  ESC_ASSERT(config.timeouts.election_timeout_min > config.timeouts.heartbeat_interval);
  ESC_ASSERT(config.timeouts.election_timeout_max >= config.timeouts.election_timeout_min);
  ESC_ASSERT(config.limits.inflight_messages_max > 0);
  ESC_ASSERT(config.limits.inflight_messages_max <= Inflight::kCapacity);
  ESC_ASSERT(restored.snapshot_index <= restored.applied);
  ESC_ASSERT(restored.applied <= restored.commit);
  ESC_ASSERT(restored.commit <= restored.last_index);
  ESC_ASSERT(log_.last_term() <= restored.hard_state.term);
  for (const ConfigurationEntry& entry : restored.configurations) {
    ESC_ASSERT(entry.index <= restored.last_index);
    configurations_.append(entry.index, entry.configuration);
  }
}

// --- inputs -------------------------------------------------------------------------------------

void Core::tick(Nanos now, Effects& effects) {
  if (started_ && now < next_deadline_) {
    now_ = std::max(now_, now);
    return;
  }
  ESC_ASSERT(effects.has_room());
  ESC_ASSERT(now >= now_);
  const Nanos late = started_ && next_deadline_ != 0 ? now - next_deadline_ : 0;
  now_ = now;
  if (!started_) {
    started_ = true;
    reset_election_deadline();
    if (sole_voter()) election_deadline_ = now;  // nobody to wait for
  } else if (late > config_.timeouts.heartbeat_interval) {
    forgive_pause(late);
  }
  if (role_ == Role::leader) {
    leader_tick(effects);
  } else if (now_ >= election_deadline_) {
    if (may_campaign()) {
      start_pre_vote(effects);
    } else if (leader_ != NodeId(0)) {  // silent: it may be gone, and another one lead that nobody here knows
      become_follower(hard_state_.term, NodeId(0), effects);
    } else {
      reset_election_deadline();
    }
  }
  update_deadline();
}

void Core::message(const Message& message, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  if (message.to != config_.node || message.from == config_.node || message.from == NodeId(0)) return;
  if (const auto* request = std::get_if<VoteRequest>(&message.payload)) {
    on_vote_request(message, *request, effects);
    return update_deadline();
  }
  const auto* vote = std::get_if<VoteReply>(&message.payload);
  if (vote != nullptr && vote->pre_vote && vote->granted) {  // carries the term asked about, not a real one
    on_vote_reply(message, *vote, effects);
    return update_deadline();
  }
  if (message.term < hard_state_.term) return on_stale(message, effects);
  if (message.term > hard_state_.term) become_follower(message.term, NodeId(0), effects);

  struct Dispatch {
    Core& core;
    const Message& message;
    Effects& effects;
    void operator()(const AppendEntries& m) { core.on_append(message, m, effects); }
    void operator()(const AppendReply& m) { core.on_append_reply(message, m, effects); }
    void operator()(const Heartbeat& m) { core.on_heartbeat(message, m, effects); }
    void operator()(const HeartbeatReply& m) { core.on_heartbeat_reply(message, m, effects); }
    void operator()(const VoteRequest&) {}  // handled above
    void operator()(const VoteReply& m) { core.on_vote_reply(message, m, effects); }
    void operator()(const TimeoutNow&) { core.on_timeout_now(message, effects); }
    void operator()(const InstallSnapshot& m) { core.on_install_snapshot(message, m, effects); }
    void operator()(const SnapshotFailed&) { core.on_snapshot_failed(message, effects); }
  };
  std::visit(Dispatch{*this, message, effects}, message.payload);
  update_deadline();
}

std::expected<Index, Errc> Core::propose(Proposal proposal, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  ESC_ASSERT(proposal.count > 0);
  if (role_ != Role::leader) return std::unexpected(Errc::not_leader);
  if (transfer_to_ != NodeId(0)) return std::unexpected(Errc::busy);
  const std::uint64_t uncommitted = sizes_.uncommitted_bytes();
  if (uncommitted > 0 && uncommitted + proposal.bytes > config_.limits.uncommitted_bytes_max)
    return std::unexpected(Errc::busy);
  if (sizes_.full_of_uncommitted()) return std::unexpected(Errc::busy);
  const Index first = append_own(EntryKind::proposal, proposal.count, proposal.bytes, effects);
  send_appends(effects);
  return first;
}

std::expected<Index, Errc> Core::propose_configuration(ConfigurationChange what, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  if (role_ != Role::leader) return std::unexpected(Errc::not_leader);
  if (transfer_to_ != NodeId(0) || configurations_.full()) return std::unexpected(Errc::busy);
  // One change at a time, and none before a commit of this term: without the second rule single-step
  // changes are unsafe across leaders (Ongaro's correction to the dissertation, raft-dev 2015).
  if (commit_ < term_start_ || configurations_.current_index() > commit_) return std::unexpected(Errc::busy);
  const auto next = change(configurations_.current(), what);
  if (!next) return std::unexpected(next.error());
  if (what.kind == ChangeKind::promote) {
    const Progress* peer = find_peer(what.node);
    ESC_ASSERT(peer != nullptr);
    const bool caught_up = peer->match >= term_start_ &&
                           log_.last_index() - peer->match <= config_.limits.promote_lag_entries_max;
    if (!caught_up) return std::unexpected(Errc::busy);
  }
  if (what.kind == ChangeKind::replace && what.node == config_.node)
    return std::unexpected(Errc::invalid_argument);
  const Index index = append_own(EntryKind::configuration, 1, config_.limits.entry_bytes_estimate, effects);
  configurations_.append(index, *next);
  configuration_changed(effects);
  rebuild_peers();
  advance_commit(effects);  // the majority may have become smaller
  if (role_ == Role::leader) send_appends(effects);
  update_deadline();
  return index;
}

void Core::persisted(const WriteMark& mark, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  const HardState& seen = mark.hard_state;
  const bool newer = seen.term > durable_hard_state_.term ||
                     (seen.term == durable_hard_state_.term && durable_hard_state_.vote == NodeId(0));
  const Index acknowledged = durable_for_leader();  // before: a durable term may be what was missing
  if (newer) durable_hard_state_ = seen;
  // A mark of an earlier epoch says nothing about entries: what it covered may have been truncated
  // and even appended again since. The write that truncated brings its own mark.
  const bool current = mark.epoch == epoch_ || config_.plant == Plant::stale_mark_counted;
  const Index upto = std::min(mark.index, log_.last_index());
  const bool progressed = current && upto > durable_;
  if (progressed) {
    durable_ = upto;
    write_progress_ = now_;
  }
  if (role_ == Role::leader) {
    if (progressed) advance_commit(effects);
    return;
  }
  on_own_state_durable(effects);
  if (append_reply_pending_ && durable_for_leader() > acknowledged) acknowledge(0, effects);
}

void Core::applied(Index index) {
  ESC_ASSERT(index <= commit_);
  applied_ = std::max(applied_, index);
}

void Core::compacted(Index index) {
  ESC_ASSERT(index <= applied_);
  if (index <= log_.snapshot_index()) return;
  log_.compact(index);
  configurations_.compact(index);
}

void Core::peer_unreachable(NodeId peer, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  if (role_ == Role::leader) {
    Progress* progress = find_peer(peer);
    if (progress != nullptr && progress->state == ProgressState::replicate) {
      progress->become_probe(progress->received.next());
      progress->probe_sent = true;  // wait for the next sign of life
    }
    return;
  }
  if (role_ != Role::follower || peer != leader_ || !started_) return;
  leader_contact_valid_ = false;  // the lease of stickiness ends with the connection
  if (may_campaign()) start_pre_vote(effects);
  update_deadline();
}

void Core::peer_connected(NodeId peer, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  if (role_ != Role::leader) return;
  Progress* progress = find_peer(peer);
  if (progress == nullptr || progress->state == ProgressState::regressed) return;
  // What it had received but not made durable may be gone.
  if (progress->state != ProgressState::snapshot) progress->become_probe(progress->match.next());
  progress->probe_sent = false;
  send_appends_to(*progress, effects);
  update_deadline();
}

// --- shared -------------------------------------------------------------------------------------

WriteMark Core::mark() const {
  return {hard_state_, log_.last_index(), log_.last_term(), epoch_};
}

void Core::set_hard_state(HardState state, Effects& effects) {
  hard_state_ = state;
  effects.hard_state = state;
  effects.mark = mark();
}

Index Core::append_own(EntryKind kind, std::uint32_t count, std::uint64_t bytes, Effects& effects) {
  const Index previous = log_.last_index();
  if (durable_ == previous) write_progress_ = now_;  // the disk was idle: the stall clock starts now
  const Index last = previous + count;
  log_.append(last, hard_state_.term);
  sizes_.append(last, bytes);
  write({.kind = kind,
         .truncate_from = Index(0),
         .first = previous.next(),
         .last = last,
         .term = hard_state_.term},
        effects);
  return previous.next();
}

void Core::write(const LogWrite& write, Effects& effects) {
  const bool proposal = write.kind == EntryKind::proposal;
  if (proposal && !effects.log_writes.empty() && effects.log_writes.back().kind == EntryKind::proposal &&
      effects.log_writes.back().term == write.term && effects.log_writes.back().last.next() == write.first) {
    effects.log_writes.back().last = write.last;
  } else {
    effects.log_writes.push_back(write);
  }
  effects.mark = mark();
}

void Core::commit_to(Index index, Effects& effects) {
  if (index <= commit_) return;
  ESC_ASSERT(index <= log_.last_index());
  commit_ = index;
  sizes_.commit(index);
  effects.commit = index;
}

void Core::configuration_changed(Effects& effects) {
  effects.configuration = ConfigurationEntry{configurations_.current_index(), configurations_.current()};
}

void Core::announce_leadership(bool stepped_down, Effects& effects) {
  const bool leads = role_ == Role::leader;
  const bool earlier = effects.leadership && effects.leadership->stepped_down;
  effects.leadership = LeadershipChange{.term = hard_state_.term,
                                        .leader = leader_,
                                        .is_leader = leads,
                                        .stepped_down = stepped_down || earlier,
                                        .noop_index = leads ? term_start_ : Index(0)};
}

void Core::send(NodeId to, Term term, const Payload& payload, Effects& effects) {
  effects.messages.push_back(Message{config_.node, to, term, payload});
}

void Core::update_deadline() {
  if (!started_) return;
  if (role_ != Role::leader) {
    next_deadline_ = election_deadline_;
    return;
  }
  next_deadline_ = peers_.empty() ? kNever : heartbeat_deadline_;
  if (transfer_to_ != NodeId(0)) next_deadline_ = std::min(next_deadline_, transfer_deadline_);
  if (unsent_) next_deadline_ = 0;
}

// This process did not run for a while: its timers ran out, but the others may have spoken. What they
// said waits in the sockets, so their silence is not held against them yet.
void Core::forgive_pause(Nanos late) {
  if (role_ == Role::leader) {
    quorum_check_after_ = now_ + config_.timeouts.election_timeout_min;
    write_progress_ += std::min(late, now_ - write_progress_);
    return;
  }
  if (pause_forgiven_) return;
  pause_forgiven_ = true;
  election_deadline_ = std::max(election_deadline_, now_ + config_.timeouts.heartbeat_interval);
}

bool Core::sole_voter() const {
  return configurations_.current().voters.size() == 1 && configurations_.current().is_voter(config_.node);
}

bool Core::all_durable() const {
  return durable_hard_state_ == hard_state_ && durable_ == log_.last_index();
}

// A message of an earlier term. Its sender must learn the new one, or it could lead or ask in vain
// for ever; replies need no answer.
void Core::on_stale(const Message& message, Effects& effects) {
  if (const auto* append = std::get_if<AppendEntries>(&message.payload)) {
    AppendReply reply;
    reply.rejected_prev = append->prev_index;
    send(message.from, hard_state_.term, reply, effects);
  } else if (std::holds_alternative<Heartbeat>(message.payload) ||
             std::holds_alternative<InstallSnapshot>(message.payload)) {
    send(message.from, hard_state_.term, HeartbeatReply{}, effects);
  }
}

}  // namespace esc::raft
