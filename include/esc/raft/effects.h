// What the core wants done. Owned by the caller, reused for ever, never allocates.
//
// Effects accumulate over several inputs until clear(); an input may be given only while has_room().
// The driver, each turn: (1) starts the writes: `hard_state`, then `log_writes` in their order, and
// keeps `mark` beside the write; (2) sends `messages`, at once and in parallel with the writes;
// (3) looks at the rest; (4) clears. When the write and all earlier ones are durable it hands the
// mark back through Core::persisted(). A turn that has a mark but nothing the WAL must write (a
// driver whose snapshot install already covered it) hands it back immediately.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "esc/base/fixed_vector.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/raft/messages.h"

namespace esc::raft {

inline constexpr std::size_t kMessagesMax = 64;   // capacity of one Effects
inline constexpr std::size_t kLogWritesMax = 32;  //
inline constexpr std::size_t kReadsMax = 64;      // pending ReadIndex requests at the core
inline constexpr std::size_t kReadAnswersMax = 2 * kReadsMax;

// What must survive a crash besides the log (Raft figure 2). Vote 0: none in this term.
struct HardState {
  Term term{};
  NodeId vote{};
  friend bool operator==(const HardState&, const HardState&) = default;
};

// Describes the log and hard state as of a point in the sequence of writes. Truncations start a new
// epoch, so a completion that a truncation overtook is recognised even when the same (index, term)
// has been appended again since.
struct WriteMark {
  HardState hard_state{};
  Index index{};
  Term term{};
  std::uint64_t epoch = 0;
};

enum class EntryKind : std::uint8_t {
  proposal,       // of Core::propose: the driver has the bytes
  noop,           // of a new leader: the driver writes an empty entry
  configuration,  // of Core::propose_configuration: the driver encodes `Effects::configuration`
  received,       // of the AppendEntries just given in: the bytes that came with it, from `first` on
  reset,          // after a snapshot: discard the whole log; the next entry is `first` (last = first - 1)
};

// Append entries first..last, all of `term`, after discarding everything at and above
// `truncate_from` unless that is 0. Consecutive proposals of a turn are merged into one.
struct LogWrite {
  EntryKind kind = EntryKind::proposal;
  Index truncate_from{};
  Index first{};
  Index last{};
  Term term{};
};

struct ReadAnswer {
  std::uint64_t request = 0;
  Errc code = Errc::ok;  // not_leader: leadership was lost before the read was confirmed
  Index index{};         // serve the read once this index is applied
};

// Emitted when role, term as leader, or the known leader changes. The last change of a turn wins.
struct LeadershipChange {
  Term term{};
  NodeId leader{};            // 0: unknown
  bool is_leader = false;     // this node leads `term`...
  bool stepped_down = false;  // ...or has just ceased to lead
  Index noop_index{};         // is_leader: the no-op of the term; assign offsets once this is applied
};

enum class TransferOutcome : std::uint8_t { done, timed_out, aborted };
struct TransferResult {
  NodeId to{};
  TransferOutcome outcome = TransferOutcome::done;
};

// The leader has no log for us any more: fetch a snapshot at `index` or later from it and call
// Core::snapshot_done(). Repeats for a fetch already under way are not emitted.
struct SnapshotRequest {
  NodeId from{};
  Index index{};
  Term index_term{};
};

struct Effects {
  std::optional<HardState> hard_state{};
  FixedVector<LogWrite, kLogWritesMax> log_writes;
  std::optional<WriteMark> mark{};  // set exactly when something above is
  FixedVector<Message, kMessagesMax> messages;
  // The commit index advanced to this. It may be above the local durable index (a majority of
  // others has it): answer clients and apply, but never checkpoint past Core::durable_index().
  std::optional<Index> commit{};
  FixedVector<ReadAnswer, kReadAnswersMax> reads;
  std::optional<LeadershipChange> leadership{};
  std::optional<TransferResult> transfer{};
  std::optional<SnapshotRequest> snapshot_request{};
  std::optional<ConfigurationEntry>
      configuration{};  // another configuration came into force (maybe uncommitted)
  // A peer rejects what it had acknowledged as durable: its disk lost data. It is not replicated to
  // until it is removed and comes back as a new member.
  NodeId regressed_peer{};
  // Room for messages ran out: clear and call Core::tick() with the same time to get the rest.
  bool more = false;

  // Whether one more input is allowed before clear().
  [[nodiscard]] bool has_room() const {
    return messages.room() >= 2 * kPeersMax + 2 && log_writes.room() >= 4 && reads.room() >= kReadsMax;
  }
  void clear() {
    hard_state.reset();
    log_writes.clear();
    mark.reset();
    messages.clear();
    commit.reset();
    reads.clear();
    leadership.reset();
    transfer.reset();
    snapshot_request.reset();
    configuration.reset();
    regressed_peer = NodeId(0);
    more = false;
  }
};

}  // namespace esc::raft
