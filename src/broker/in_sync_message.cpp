#include "in_sync_message.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "esc/raft/configuration.h"

namespace esc::broker {

void encode_in_sync(std::span<const NodeId> nodes, std::vector<std::byte>& payload) {
  ByteWriter writer(payload);
  writer.number(static_cast<std::uint32_t>(nodes.size()));
  for (const NodeId node : nodes) writer.number(node.value());
}

void HeardInSync::take(NodeId from, std::uint64_t term, ByteView payload) {
  ByteReader reader(payload);
  const std::uint32_t count = reader.count(sizeof(std::uint32_t));
  if (count == 0 || count > raft::kVotersMax + raft::kLearnersMax) return;
  std::vector<NodeId> nodes;
  for (std::uint32_t i = 0; i < count; ++i) nodes.emplace_back(reader.number<std::uint32_t>());
  const bool ascending =
      std::ranges::adjacent_find(nodes, std::greater_equal<>(), &NodeId::value) == nodes.end();
  if (!reader.at_end() || !ascending || nodes.front() == NodeId(0)) return;
  from_ = from;
  term_ = Term(term);
  nodes_ = std::move(nodes);
}

std::span<const NodeId> HeardInSync::of(NodeId leader, Term term) const {
  if (leader == NodeId(0) || leader != from_ || term != term_) return {};
  return nodes_;
}

}  // namespace esc::broker
