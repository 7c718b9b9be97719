// What nodes of a group say to each other. Metadata only: an AppendEntries names an index range, and
// the driver attaches the bytes of that range from its WAL frames. The wire encoding is not here.
//
// Every message of a term is safe to send the moment the core hands it out: what a message promises
// (a vote, a durable index) has been made durable before.
#pragma once

#include <cstdint>
#include <optional>
#include <variant>

#include "esc/base/ids.h"
#include "esc/raft/configuration.h"

namespace esc::raft {

// Raft section 5.3. All entries of one message have the same term, so a range needs no list; a
// configuration entry travels alone, with its content for the core.
struct AppendEntries {
  Index prev_index{};       // the entries are prev_index + 1 .. prev_index + count
  Term prev_term{};         //
  Term entries_term{};      // meaningless when count is 0
  std::uint32_t count = 0;  // 0: a probe of the prefix
  std::uint64_t bytes = 0;  // of the range as the leader knows it; an estimate for old entries
  Index commit{};           // the leader's commit index
  std::uint64_t round = 0;  // heartbeat round of the sender, returned in the reply
  std::optional<Configuration> configuration{};  // set: count is 1 and this entry carries it
};

// Answer to AppendEntries: at once when rejected or when nothing had to be written, otherwise when
// the entries are durable here.
struct AppendReply {
  bool accepted = false;
  Index received{};         // the local log matches the leader's up to here
  Index durable{};          // ... and is on stable storage up to here; this is what counts for commit
  Index rejected_prev{};    // rejected: the prev_index that did not match
  Index hint_index{};       // rejected: try at or below this index,
  Term hint_term{};         //           whose term here is this (the whole run is skipped at once)
  std::uint64_t round = 0;  // of the message answered; 0 when the answer came from the disk
};

// Never waits on disk on either side. `round` numbers confirm reads (ReadIndex) and detect loss.
struct Heartbeat {
  Index commit{};
  std::uint64_t round = 0;
};
struct HeartbeatReply {
  Index received{};
  Index durable{};
  std::uint64_t round = 0;
};

// Raft section 5.2 and the dissertation's 9.6. A pre-vote asks "would you vote for me" about the
// term in Message::term without anybody moving to it.
struct VoteRequest {
  bool pre_vote = false;
  bool transfer = false;  // the leader asked for this election (TimeoutNow): stickiness does not apply
  Index last_index{};
  Term last_term{};
};
struct VoteReply {
  bool pre_vote = false;
  bool granted = false;
};

// Leadership transfer: campaign now (dissertation 3.10).
struct TimeoutNow {};

// The log below `index` is gone at the leader: fetch a snapshot at `index` or later from it (the
// transfer is the drivers' business), then go on with the log. Repeated until it is answered.
struct InstallSnapshot {
  Index index{};
  Term index_term{};
};
// The fetch failed: the leader probes and asks again. Success is an accepted AppendReply.
struct SnapshotFailed {};

using Payload = std::variant<AppendEntries, AppendReply, Heartbeat, HeartbeatReply, VoteRequest, VoteReply,
                             TimeoutNow, InstallSnapshot, SnapshotFailed>;

struct Message {
  NodeId from{};
  NodeId to{};
  Term term{};  // the sender's; of a pre-vote request and its granted reply, the term asked about
  Payload payload{};
};

}  // namespace esc::raft
