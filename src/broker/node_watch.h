// Which nodes are gone, as clients are to be told: one to which this node has had no link for a while.
// Clients go on dialling whatever the metadata name, some of them for minutes.
//
// Only who is linked with a majority says so of others; whoever is alone may be the one that is cut off, and
// names everybody. A node is back as soon as there is a link.
//
// A stopped process (SIGSTOP) keeps its links and stays named: nobody but the leader notices, and the leader
// is not asked here.
//
// Threading: the core of group 0, whose links are watched. Pure: time and links are told.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/units.h"

namespace esc::broker {

class NodeWatch {
 public:
  // Two nodes that both live find each other again within 0.5 s, the longest pause between two attempts to
  // dial: twice that is no lost connection any more.
  static constexpr Nanos kGoneAfter = kSecond;

  explicit NodeWatch(NodeId self) : self_(self) {}

  // `nodes` are all of the cluster, this one too. A node that was never seen has its time, too. True when
  // gone() has changed.
  bool look(Nanos now, std::span<const NodeId> nodes, const std::function<bool(NodeId)>& linked);
  [[nodiscard]] const std::vector<NodeId>& gone() const { return gone_; }

 private:
  struct Seen {
    NodeId node;
    Nanos at = 0;
  };
  Nanos& seen(NodeId node, Nanos now);

  NodeId self_;
  std::vector<Seen> seen_;
  std::vector<NodeId> gone_;  // ascending as `nodes` are
  std::vector<NodeId> next_;  // kept for its memory
};

}  // namespace esc::broker
