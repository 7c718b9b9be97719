#include "node_watch.h"

#include <algorithm>
#include <utility>

namespace esc::broker {

Nanos& NodeWatch::seen(NodeId node, Nanos now) {
  const auto found = std::ranges::find(seen_, node, &Seen::node);
  return found != seen_.end() ? found->at : seen_.emplace_back(Seen{node, now}).at;
}

bool NodeWatch::look(Nanos now, std::span<const NodeId> nodes, const std::function<bool(NodeId)>& linked) {
  std::erase_if(seen_, [&](const Seen& each) { return std::ranges::find(nodes, each.node) == nodes.end(); });
  next_.clear();
  std::size_t together = 0;
  for (const NodeId node : nodes) {
    Nanos& at = seen(node, now);
    if (node == self_ || linked(node)) {
      at = now;
      ++together;
    } else if (now - at >= kGoneAfter) {
      next_.push_back(node);
    }
  }
  if (together <= nodes.size() / 2) next_.clear();
  std::swap(gone_, next_);
  return gone_ != next_;
}

}  // namespace esc::broker
