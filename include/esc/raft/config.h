// What a core is told once: who it is, its timeouts and limits, and what recovery found on disk.
#pragma once

#include <cstdint>
#include <span>

#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/raft/configuration.h"
#include "esc/raft/effects.h"

namespace esc::raft {

struct Timeouts {
  Nanos heartbeat_interval = 50 * kMillisecond;
  // Each election timeout is drawn uniformly from [min, max]. A follower that heard from its leader
  // within `min`, less half a heartbeat interval, refuses (pre-)votes: leader stickiness. Pre-votes,
  // which bind nobody, are repeated after one or two heartbeat intervals.
  Nanos election_timeout_min = 250 * kMillisecond;
  Nanos election_timeout_max = 400 * kMillisecond;
  // A leader whose own writes made no progress for this long hands leadership over. 0: never.
  Nanos disk_stall = 300 * kMillisecond;
};

struct Limits {
  std::uint32_t inflight_messages_max = 64;         // per peer, at most Inflight::kCapacity
  std::uint64_t inflight_bytes_max = 16 * kMiB;     // per peer
  std::uint64_t message_bytes_max = 1 * kMiB;       // one proposal larger than this travels alone
  std::uint32_t message_entries_max = 4096;         //
  std::uint64_t uncommitted_bytes_max = 64 * kMiB;  // more is refused with Errc::busy
  std::uint64_t promote_lag_entries_max = 1024;     // how far a learner may be behind to be promoted
  std::uint64_t entry_bytes_estimate = 4 * kKiB;    // for entries whose size is no longer known
};

// Faults planted on purpose, so that tests can show that the checkers find them. Never set in service.
enum class Plant : std::uint8_t {
  none,
  vote_before_durable,     // replies with a vote that is not on disk yet
  ack_before_durable,      // reports and counts received entries as durable
  stale_mark_counted,      // accepts completions of an earlier epoch
  old_term_commit,         // commits entries of earlier terms by counting (Raft figure 8)
  conflict_off_by_one,     // keeps the first conflicting entry of a follower
  vote_without_log_check,  // votes for candidates with a shorter log
  prefix_unchecked,        // appends without looking at prev_term
  progress_outlives_disk,  // what a member had acknowledged still counts when its data are of another
                           // incarnation
  learner_counted,         // acknowledgements of learners count for commits
};

struct Config {
  NodeId node{};           // not 0
  std::uint64_t seed = 1;  // of the election timeouts; give every node and group its own
  Timeouts timeouts{};
  Limits limits{};
  Plant plant = Plant::none;
};

// A run of entries of one term in the log, from `start` to the next run's start or the log's end.
struct TermRun {
  Index start{};
  Term term{};
};

// What recovery found. The log is (snapshot_index, last_index]; a fresh node has everything at zero
// and the bootstrap configuration. All of it is durable.
struct Restored {
  HardState hard_state{};
  Index snapshot_index{};  // the log below and at this index is compacted away
  Term snapshot_term{};
  std::span<const TermRun> runs{};  // ascending, the first starts at snapshot_index + 1; empty log: empty
  Index last_index{};               // snapshot_index when the log is empty
  Index commit{};                   // as far as known, at least snapshot_index
  Index applied{};                  // at most commit
  // In force at snapshot_index (or bootstrap). No voters: not known yet, the log or a snapshot will tell.
  Configuration configuration{};
  std::span<const ConfigurationEntry> configurations{};  // entries in the log, ascending
};

}  // namespace esc::raft
