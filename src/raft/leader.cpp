// The sending side: heartbeats, pipelined AppendEntries, commit, transfer (Raft 5.3, 5.4; dissertation 3.10).
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/raft/core.h"
#include "esc/raft/quorum.h"

namespace esc::raft {
namespace {

// Messages every input may need besides AppendEntries: a heartbeat to each peer and a few replies.
constexpr std::size_t kMessagesReserved = kPeersMax + 2;
// InstallSnapshot is repeated after this many heartbeat rounds (receivers ignore repetitions).
constexpr std::uint64_t kSnapshotRepeatRounds = 4;

}  // namespace

Progress* Core::find_peer(NodeId node) {
  for (Progress& peer : peers_) {
    if (peer.node == node) return &peer;
  }
  return nullptr;
}

// Brings peers_ in line with the configuration, keeping what is known about those that stay: what another
// incarnation had acknowledged is gone with its disk.
void Core::rebuild_peers() {
  const Configuration& configuration = configurations_.current();
  for (std::size_t i = peers_.size(); i-- > 0;) {
    const Progress& peer = peers_[i];
    const bool same = configuration.incarnation_of(peer.node) == peer.incarnation;
    if (!configuration.contains(peer.node) || (!same && config_.plant != Plant::progress_outlives_disk))
      peers_.erase_at(i);
  }
  const auto add = [this, &configuration](NodeId node) {
    if (node == config_.node || find_peer(node) != nullptr) return;
    Progress peer;
    peer.node = node;
    peer.incarnation = configuration.incarnation_of(node);
    peer.next = log_.last_index().next();
    peer.last_contact = now_;
    peers_.push_back(peer);
  };
  for (const NodeId node : configuration.voters) add(node);
  for (const NodeId node : configuration.learners) add(node);
}

void Core::leader_tick(Effects& effects) {
  if (peers_.empty()) {
    unsent_ = false;
    return;
  }
  if (now_ >= quorum_check_after_ && !has_quorum_contact()) {
    return become_follower(hard_state_.term, NodeId(0), effects);  // CheckQuorum (dissertation 6.2)
  }
  if (transfer_to_ != NodeId(0) && now_ >= transfer_deadline_)
    finish_transfer(TransferOutcome::timed_out, effects);
  if (now_ >= heartbeat_deadline_) {
    transfer_sent_ = false;  // TimeoutNow may have been lost
    broadcast_heartbeat(effects);
  }
  check_disk_stall(effects);
  check_transfer(effects);
  send_appends(effects);
}

void Core::broadcast_heartbeat(Effects& effects) {
  ++round_;
  heartbeat_deadline_ = now_ + config_.timeouts.heartbeat_interval;
  for (const Progress& peer : peers_) {
    send(peer.node, hard_state_.term, Heartbeat{.commit = commit_, .round = round_}, effects);
  }
}

bool Core::has_quorum_contact() const {
  const Configuration& configuration = configurations_.current();
  std::size_t alive = configuration.is_voter(config_.node) ? 1 : 0;
  for (const Progress& peer : peers_) {
    const bool recent = now_ - peer.last_contact < config_.timeouts.election_timeout_max;
    if (recent && configuration.is_voter(peer.node)) ++alive;
  }
  return alive >= configuration.majority();
}

void Core::send_appends(Effects& effects) {
  unsent_ = false;
  for (Progress& peer : peers_) send_appends_to(peer, effects);
}

void Core::send_appends_to(Progress& peer, Effects& effects) {
  for (;;) {
    if (effects.messages.room() <= kMessagesReserved) {
      unsent_ = true;
      effects.more = true;
      next_deadline_ = 0;
      return;
    }
    if (!send_append(peer, effects)) return;
  }
}

// Sends one message if the peer's state and window allow it.
bool Core::send_append(Progress& peer, Effects& effects) {
  const Index log_last = log_.last_index();
  switch (peer.state) {
    case ProgressState::regressed:
    case ProgressState::snapshot: return false;
    case ProgressState::probe:
      if (peer.probe_sent) return false;
      break;
    case ProgressState::replicate:
      if (peer.next > log_last || peer.inflight.count() >= config_.limits.inflight_messages_max ||
          peer.inflight.bytes() >= config_.limits.inflight_bytes_max)
        return false;
      break;
  }
  peer.activity_round = round_;
  const Index prev = peer.next.prev();
  if (prev < log_.snapshot_index()) {
    peer.become_snapshot();
    send(peer.node, hard_state_.term, InstallSnapshot{log_.snapshot_index(), log_.snapshot_term()}, effects);
    return false;
  }
  AppendEntries append;
  append.prev_index = prev;
  append.prev_term = log_.term_at(prev);
  append.commit = commit_;
  append.round = round_;
  if (peer.next <= log_last) {
    append.entries_term = log_.term_at(peer.next);
    Index last = log_.run_end(peer.next);
    const Index configuration = configurations_.next_after(prev);
    if (configuration == peer.next) {
      append.configuration = *configurations_.at(configuration);
      last = peer.next;
    } else if (configuration != Index(0)) {
      last = std::min(last, configuration.prev());
    }
    const LogSizes::Range range =
        sizes_.take(prev, last, config_.limits.message_bytes_max, config_.limits.message_entries_max);
    append.count = static_cast<std::uint32_t>(range.last - prev);
    append.bytes = range.bytes;
  }
  send(peer.node, hard_state_.term, append, effects);
  if (peer.state == ProgressState::probe) {
    peer.probe_sent = true;
    return false;
  }
  peer.next = peer.next + append.count;
  peer.inflight.push(peer.next.prev(), append.bytes);
  return true;
}

// The peer reports how far its log equals ours, and how much of that is durable.
void Core::advance_match(Progress& peer, Index received, Index durable, Effects& effects) {
  peer.inflight.free_up_to(received);
  if (received > peer.received) {
    peer.received = received;
    peer.activity_round = round_;
  }
  if (durable <= peer.match) return;
  peer.match = durable;
  peer.match_round = round_;
  advance_commit(effects);
}

// Raft 5.4.2: only an entry of the current term is committed by counting; earlier ones follow it.
void Core::advance_commit(Effects& effects) {
  const Configuration& configuration = configurations_.current();
  VoterValues reached;
  for (const NodeId voter : configuration.voters) {
    if (voter == config_.node) {
      const bool planted = config_.plant == Plant::ack_before_durable;
      reached.push_back((planted ? log_.last_index() : durable_).value());
    } else {
      const Progress* peer = find_peer(voter);
      reached.push_back(peer == nullptr ? 0 : peer->match.value());
    }
  }
  if (config_.plant == Plant::learner_counted) {
    for (const NodeId learner : configuration.learners) {
      const Progress* peer = find_peer(learner);
      if (peer != nullptr && !reached.full()) reached.push_back(peer->match.value());
    }
  }
  const Index agreed(majority_value(reached));
  if (agreed <= commit_) return;
  if (agreed < term_start_ && config_.plant != Plant::old_term_commit) return;
  commit_to(agreed, effects);
  step_down_if_removed(effects);
}

void Core::on_append_reply(const Message& message, const AppendReply& reply, Effects& effects) {
  if (role_ != Role::leader) return;
  Progress* peer = find_peer(message.from);
  if (peer == nullptr || reply.received > log_.last_index() || reply.durable > reply.received) return;
  peer->last_contact = now_;
  if (!reply.accepted) {
    on_append_rejected(*peer, reply, effects);
  } else {
    advance_match(*peer, reply.received, reply.durable, effects);
    if (role_ != Role::leader) return;
    switch (peer->state) {
      case ProgressState::probe: peer->become_replicate(reply.received.next()); break;
      case ProgressState::replicate: peer->next = std::max(peer->next, reply.received.next()); break;
      case ProgressState::snapshot:
        if (reply.received >= log_.snapshot_index()) peer->become_replicate(reply.received.next());
        break;
      case ProgressState::regressed: break;
    }
  }
  check_transfer(effects);
  send_appends_to(*peer, effects);
}

void Core::on_append_rejected(Progress& peer, const AppendReply& reply, Effects& effects) {
  if (peer.state == ProgressState::snapshot || peer.state == ProgressState::regressed) return;
  const Index prev = reply.rejected_prev;
  if (prev < peer.match || prev == Index(0) || prev > log_.last_index()) return;  // overtaken
  if (prev == peer.match) {
    // Sent after it had reported this very index as durable, so this is no stale answer.
    if (reply.round > peer.match_round) {
      peer.state = ProgressState::regressed;
      effects.regressed_peer = peer.node;
    }
    return;
  }
  if (peer.state == ProgressState::probe && prev != peer.next.prev()) return;  // of an earlier probe
  const Index hint = log_.last_at_or_below(std::min(reply.hint_index, prev), reply.hint_term);
  peer.become_probe(std::max(peer.match, std::min(hint, prev.prev())).next());
}

void Core::on_heartbeat_reply(const Message& message, const HeartbeatReply& reply, Effects& effects) {
  if (role_ != Role::leader) return;
  Progress* peer = find_peer(message.from);
  if (peer == nullptr || reply.received > log_.last_index() || reply.durable > reply.received) return;
  peer->last_contact = now_;
  peer->round = std::max(peer->round, std::min(reply.round, round_));
  advance_match(*peer, reply.received, reply.durable, effects);
  if (role_ != Role::leader) return;
  switch (peer->state) {
    case ProgressState::probe:
      if (reply.received >= peer->next.prev() && reply.received > Index(0)) {
        peer->become_replicate(reply.received.next());
      } else if (reply.round > peer->activity_round) {
        peer->probe_sent = false;  // asked after the probe, and still nothing: it was lost
      }
      break;
    case ProgressState::replicate:
      // Two rounds without sending, and what was sent has not arrived: it was lost.
      if (reply.received < peer->next.prev() && reply.round > peer->activity_round + 1) {
        peer->become_probe(std::max(peer->match, reply.received).next());
      }
      break;
    case ProgressState::snapshot:
      if (reply.received >= log_.snapshot_index()) {
        peer->become_replicate(reply.received.next());
      } else if (reply.round >= peer->activity_round + kSnapshotRepeatRounds) {
        peer->become_probe(peer->match.next());
      }
      break;
    case ProgressState::regressed: break;
  }
  confirm_reads(effects);
  check_transfer(effects);
  send_appends_to(*peer, effects);
}

void Core::on_snapshot_failed(const Message& message, Effects& effects) {
  if (role_ != Role::leader) return;
  Progress* peer = find_peer(message.from);
  if (peer == nullptr || peer->state != ProgressState::snapshot) return;
  peer->last_contact = now_;
  // Not at once: the next heartbeat round probes, finds the log gone, and asks again.
  peer->become_probe(peer->match.next());
  peer->probe_sent = true;
  peer->activity_round = round_;
  update_deadline();
  static_cast<void>(effects);
}

std::expected<void, Errc> Core::transfer_leadership(NodeId to, Effects& effects) {
  ESC_ASSERT(effects.has_room());
  if (role_ != Role::leader) return std::unexpected(Errc::not_leader);
  const Configuration& configuration = configurations_.current();
  if (to == NodeId(0)) {
    const Progress* best = nullptr;
    for (const Progress& peer : peers_) {
      const bool fit = configuration.is_voter(peer.node) && peer.state == ProgressState::replicate &&
                       now_ - peer.last_contact < config_.timeouts.election_timeout_min;
      if (fit && (best == nullptr || peer.received > best->received)) best = &peer;
    }
    if (best == nullptr) return std::unexpected(Errc::invalid_argument);
    to = best->node;
  }
  if (to == config_.node || !configuration.is_voter(to)) return std::unexpected(Errc::invalid_argument);
  if (transfer_to_ != NodeId(0)) return std::unexpected(Errc::busy);
  transfer_to_ = to;
  transfer_sent_ = false;
  transfer_deadline_ = now_ + config_.timeouts.election_timeout_max;
  check_transfer(effects);
  update_deadline();
  return {};
}

// The target may campaign once it has the whole log: nobody's log is then more complete than its own.
void Core::check_transfer(Effects& effects) {
  if (role_ != Role::leader || transfer_to_ == NodeId(0) || transfer_sent_) return;
  const Progress* peer = find_peer(transfer_to_);
  if (peer == nullptr) return finish_transfer(TransferOutcome::aborted, effects);
  if (peer->received < log_.last_index()) return;
  transfer_sent_ = true;
  send(transfer_to_, hard_state_.term, TimeoutNow{}, effects);
}

void Core::finish_transfer(TransferOutcome outcome, Effects& effects) {
  if (transfer_to_ == NodeId(0)) return;
  effects.transfer = TransferResult{transfer_to_, outcome};
  transfer_to_ = NodeId(0);
  transfer_sent_ = false;
}

// Acknowledgements do not need our own disk, but a leader that cannot write should not lead.
void Core::check_disk_stall(Effects& effects) {
  const Nanos limit = config_.timeouts.disk_stall;
  if (limit == 0 || transfer_to_ != NodeId(0) || durable_ == log_.last_index()) return;
  if (now_ - write_progress_ < limit) return;
  write_progress_ = now_;  // when it fails, try again after as long
  const auto started = transfer_leadership(NodeId(0), effects);
  static_cast<void>(started);  // nobody fit to take over: keep leading
}

}  // namespace esc::raft
