// The Raft consensus core: a pure state machine (Ongaro and Ousterhout 2014; Ongaro's dissertation).
//
// It names no clock, thread, file or socket. Inputs are the methods below, time comes only through
// tick(), randomness only from Config::seed; outputs go to the caller's Effects (see effects.h).
// It knows which term each index has and never sees an entry's bytes. The same inputs always give the
// same outputs. Nothing is allocated after construction except when terms change.
//
// Durability: the leader writes its disk in parallel with sending. A vote (also for itself), a term
// and an index count only after the driver has handed back their WriteMark, and messages that promise
// them are emitted only then; so whatever is in Effects::messages may be sent at once.
//
// Threading: one owner. Errors of calls are Errc values: not_leader, busy (try again later),
// invalid_argument, too_large; a broken Raft invariant aborts.
#pragma once

#include <cstdint>
#include <expected>

#include "esc/base/ids.h"
#include "esc/base/prng.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/raft/config.h"
#include "esc/raft/configuration.h"
#include "esc/raft/effects.h"
#include "esc/raft/log_sizes.h"
#include "esc/raft/messages.h"
#include "esc/raft/progress.h"
#include "esc/raft/term_runs.h"

namespace esc::raft {

enum class Role : std::uint8_t { follower, pre_candidate, candidate, leader };

struct Proposal {
  std::uint32_t count = 1;  // entries, at least 1
  std::uint64_t bytes = 0;  // of all of them, as they travel
};

// A snapshot fetch has ended. `installed`: the state up to `index` is durable here.
struct SnapshotDone {
  bool installed = false;
  Index index{};
  Term index_term{};
  Configuration configuration{};  // in force at index
};

class Core {
 public:
  Core(const Config& config, const Restored& restored);

  // --- inputs ---------------------------------------------------------------------------------

  // `now` never goes back. Call it at next_deadline() at the latest, and before other inputs of a
  // loop turn so that they see a fresh time. The first call starts the timers; a single voter
  // campaigns at once. A late call (the process was paused) first gives waiting messages a chance.
  void tick(Nanos now, Effects& effects);

  // A message of a peer. Of AppendEntries the driver keeps the bytes until it has looked at
  // log_writes, so it clears Effects after each message that carries entries.
  void message(const Message& message, Effects& effects);

  // Appends entries at the leader. Returns the index of the first. The bytes are the driver's.
  // busy: too much is uncommitted, or leadership is being transferred.
  [[nodiscard]] std::expected<Index, Errc> propose(Proposal proposal, Effects& effects);

  // Appends one configuration entry. busy: an earlier change or the no-op of the term is not
  // committed yet, or the learner to promote is too far behind.
  [[nodiscard]] std::expected<Index, Errc> propose_configuration(ConfigurationChange what, Effects& effects);

  // The write that `mark` came with, and every earlier one, is durable. Marks may be skipped (a later
  // one covers them) and superseded ones are ignored. A mark is good for the core that gave it out.
  void persisted(const WriteMark& mark, Effects& effects);

  // The state machine has applied up to here (at most commit).
  void applied(Index index);

  // The driver has discarded the log up to here (at most applied): older peers need a snapshot.
  void compacted(Index index);

  void snapshot_done(const SnapshotDone& done, Effects& effects);

  // Asks for an index at which a linearizable read may be served (dissertation 6.4). The answer
  // comes in Effects::reads, for a single voter in this call. busy: the no-op of the term is not
  // committed yet, or kReadsMax are pending.
  [[nodiscard]] std::expected<void, Errc> read_index(std::uint64_t request, Effects& effects);

  // Hands leadership to a voter; node 0 picks the one with the longest log. New proposals are refused
  // until Effects::transfer tells the outcome.
  [[nodiscard]] std::expected<void, Errc> transfer_leadership(NodeId to, Effects& effects);

  // The connection to a peer broke (RST, FIN). If it was the leader, a pre-vote starts at once.
  void peer_unreachable(NodeId peer, Effects& effects);
  // False: never campaigns (the driver cannot prove the log whole); it still follows and votes.
  void set_electable(bool electable) { electable_ = electable; }
  // A new connection to a peer is up: what was in flight to it is lost.
  void peer_connected(NodeId peer, Effects& effects);

  // --- observers ------------------------------------------------------------------------------

  [[nodiscard]] Nanos next_deadline() const { return next_deadline_; }
  [[nodiscard]] NodeId node() const { return config_.node; }
  [[nodiscard]] Role role() const { return role_; }
  [[nodiscard]] bool is_leader() const { return role_ == Role::leader; }
  [[nodiscard]] NodeId leader() const { return leader_; }
  [[nodiscard]] Term term() const { return hard_state_.term; }
  [[nodiscard]] HardState hard_state() const { return hard_state_; }
  [[nodiscard]] HardState durable_hard_state() const { return durable_hard_state_; }
  [[nodiscard]] Index commit_index() const { return commit_; }
  [[nodiscard]] Index applied_index() const { return applied_; }
  [[nodiscard]] Index last_index() const { return log_.last_index(); }
  [[nodiscard]] Index durable_index() const { return durable_; }
  [[nodiscard]] const TermRuns& log() const { return log_; }
  [[nodiscard]] const Configuration& configuration() const { return configurations_.current(); }
  [[nodiscard]] const ConfigurationLog& configurations() const { return configurations_; }
  // Of the leader: one per other member.
  [[nodiscard]] const FixedVector<Progress, kPeersMax>& peers() const { return peers_; }
  // The mark of everything handed out so far.
  [[nodiscard]] WriteMark mark() const;

 private:
  // elections (election.cpp)
  void become_follower(Term term, NodeId leader, Effects& effects);
  void start_pre_vote(Effects& effects);
  void start_campaign(bool transfer, Effects& effects);
  void request_votes(bool pre_vote, bool transfer, Effects& effects);
  void become_leader(Effects& effects);
  void on_vote_request(const Message& message, const VoteRequest& request, Effects& effects);
  void on_vote_reply(const Message& message, const VoteReply& reply, Effects& effects);
  void on_timeout_now(const Message& message, Effects& effects);
  void count_votes(Effects& effects);
  void on_own_state_durable(Effects& effects);
  void step_down_if_removed(Effects& effects);
  [[nodiscard]] bool hears_leader() const;
  [[nodiscard]] bool log_is_current(Index last_index, Term last_term) const;
  [[nodiscard]] bool may_campaign() const;
  void reset_election_deadline();

  // following (follower.cpp)
  void on_append(const Message& message, const AppendEntries& append, Effects& effects);
  void on_heartbeat(const Message& message, const Heartbeat& heartbeat, Effects& effects);
  void on_install_snapshot(const Message& message, const InstallSnapshot& install, Effects& effects);
  void accept_entries(const Message& message, const AppendEntries& append, Index prev, Effects& effects);
  void reject_append(const Message& message, const AppendEntries& append, Effects& effects);
  void acknowledge(std::uint64_t round, Effects& effects);
  void discard_from(Index from, Effects& effects);
  void follow(const Message& message, Effects& effects);
  [[nodiscard]] Index durable_for_leader() const;

  // leading (leader.cpp)
  void on_append_reply(const Message& message, const AppendReply& reply, Effects& effects);
  void on_heartbeat_reply(const Message& message, const HeartbeatReply& reply, Effects& effects);
  void on_append_rejected(Progress& peer, const AppendReply& reply, Effects& effects);
  void on_snapshot_failed(const Message& message, Effects& effects);
  void leader_tick(Effects& effects);
  void broadcast_heartbeat(Effects& effects);
  void send_appends(Effects& effects);
  void send_appends_to(Progress& peer, Effects& effects);
  [[nodiscard]] bool send_append(Progress& peer, Effects& effects);
  void advance_match(Progress& peer, Index received, Index durable, Effects& effects);
  void advance_commit(Effects& effects);
  void rebuild_peers();
  [[nodiscard]] bool has_quorum_contact() const;
  [[nodiscard]] Progress* find_peer(NodeId node);
  void check_transfer(Effects& effects);
  void finish_transfer(TransferOutcome outcome, Effects& effects);
  void check_disk_stall(Effects& effects);

  // reads (read_index.cpp)
  void confirm_reads(Effects& effects);
  void fail_reads(Effects& effects);
  [[nodiscard]] std::uint64_t confirmed_round() const;

  // shared (core.cpp)
  void set_hard_state(HardState state, Effects& effects);
  Index append_own(EntryKind kind, std::uint32_t count, std::uint64_t bytes, Effects& effects);
  void write(const LogWrite& write, Effects& effects);
  void commit_to(Index index, Effects& effects);
  void configuration_changed(Effects& effects);
  void announce_leadership(bool stepped_down, Effects& effects);
  void send(NodeId to, Term term, const Payload& payload, Effects& effects);
  void update_deadline();
  void forgive_pause(Nanos late);
  [[nodiscard]] bool sole_voter() const;
  [[nodiscard]] bool all_durable() const;
  void on_stale(const Message& message, Effects& effects);

  Config config_;
  Prng prng_;
  Nanos now_ = 0;
  bool started_ = false;
  Nanos next_deadline_ = 0;  // 0: tick as soon as possible

  HardState hard_state_;
  HardState durable_hard_state_;
  TermRuns log_;
  LogSizes sizes_;
  ConfigurationLog configurations_;
  std::uint64_t epoch_ = 0;  // counts truncations
  Index durable_;
  Index commit_;
  Index applied_;

  Role role_ = Role::follower;
  NodeId leader_;

  // follower and candidates
  Nanos election_timeout_ = 0;  // drawn once per term and role change
  Nanos election_deadline_ = 0;
  Nanos leader_contact_ = 0;  // when the leader was last heard from; see hears_leader()
  bool leader_contact_valid_ = false;
  bool pause_forgiven_ = false;              // one grace per election timeout
  Index verified_;                           // the log equals the current leader's up to here
  NodeId vote_reply_pending_;                // granted; the reply waits for the disk
  bool append_reply_pending_ = false;        // ditto for received entries
  Index snapshot_fetch_;                     // a fetch of at least this index is under way; 0: none
  FixedVector<NodeId, kVotersMax> granted_;  // votes for us, without our own
  FixedVector<NodeId, kVotersMax> refused_;  // who denied the present pre-vote
  bool electable_ = true;
  std::uint32_t pre_vote_rounds_ = 0;  // attempts since a leader was heard
  bool campaign_is_transfer_ = false;
  bool votes_requested_ = false;  // requests go out only once our own vote is durable

  // leader
  Index term_start_;  // the no-op of our term
  FixedVector<Progress, kPeersMax> peers_;
  bool unsent_ = false;  // Effects had no room for more messages
  Nanos heartbeat_deadline_ = 0;
  Nanos quorum_check_after_ = 0;
  Nanos write_progress_ = 0;  // when our own disk last made progress or had nothing to do
  NodeId transfer_to_;
  Nanos transfer_deadline_ = 0;
  bool transfer_sent_ = false;

  // reads, oldest first
  struct Read {
    std::uint64_t request = 0;
    std::uint64_t round = 0;  // confirmed when a majority answered this round
    Index index;
  };
  std::uint64_t round_ = 0;
  FixedVector<Read, kReadsMax> reads_;
};

}  // namespace esc::raft
