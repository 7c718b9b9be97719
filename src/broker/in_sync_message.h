// Who is in sync in a group, as its leader tells the other members (service 69, docs/PROTOCOL.md), and what
// was heard of it. At most once, so it is told again and again; what an earlier leader said is void.
//
// Threading: one core. Memory: a few node ids.
#pragma once

#include <span>
#include <vector>

#include "esc/base/byte_codec.h"
#include "esc/peer/codec.h"

namespace esc::broker {

// The message that a leader sends in this term; its tag is the term.
void encode_in_sync(std::span<const NodeId> nodes, std::vector<std::byte>& payload);

class HeardInSync {
 public:
  // What does not decode is ignored.
  void take(NodeId from, std::uint64_t term, ByteView payload);
  // Ascending. Empty: nothing is known of this leader in this term.
  [[nodiscard]] std::span<const NodeId> of(NodeId leader, Term term) const;

 private:
  NodeId from_;
  Term term_;
  std::vector<NodeId> nodes_;
};

}  // namespace esc::broker
