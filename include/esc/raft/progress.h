// What the leader knows about one peer, and what it may send to it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/raft/configuration.h"

namespace esc::raft {

// Messages sent and not yet acknowledged, oldest first: (last index, bytes) in a fixed ring.
class Inflight {
 public:
  static constexpr std::size_t kCapacity = 256;

  void push(Index last, std::uint64_t bytes);
  // Everything up to `index` has arrived.
  void free_up_to(Index index);
  void clear() { head_ = tail_, bytes_ = 0; }
  [[nodiscard]] std::size_t count() const { return tail_ - head_; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  struct Sent {
    Index last;
    std::uint64_t bytes = 0;
  };
  std::size_t head_ = 0;
  std::size_t tail_ = 0;
  std::uint64_t bytes_ = 0;
  std::array<Sent, kCapacity> ring_;
};

enum class ProgressState : std::uint8_t {
  probe,      // the common prefix is unknown: one message at a time
  replicate,  // the prefix is known: pipeline
  snapshot,   // the log it needs is gone: waiting until a snapshot is installed
  regressed,  // it lost what it had acknowledged: never again (blueprint: rejoin as a new member)
};

struct Progress {
  NodeId node;
  Incarnation incarnation;  // of its data: what follows is void for another one
  ProgressState state = ProgressState::probe;
  Index match;                       // durable at the peer and equal to ours: counts for commit
  Index received;                    // known to have arrived (at least match)
  Index next;                        // the next index to send
  bool probe_sent = false;           // probe: wait for the answer or the next heartbeat round
  Nanos last_contact = 0;            // when it was last heard from in this term
  std::uint64_t round = 0;           // newest heartbeat round it answered
  std::uint64_t activity_round = 0;  // round current when something was last sent or had arrived
  std::uint64_t match_round = 0;     // round current when `match` last advanced
  Inflight inflight;

  void become_probe(Index from);
  void become_replicate(Index from);
  void become_snapshot();
};

}  // namespace esc::raft
