// Who is in sync in the groups that this core leads, told to every core when it changes, so that Metadata
// need not ask around. Of a group that another node leads nothing is known here.
//
// Threading: one core. Memory: a few node ids per group.
#pragma once

#include <vector>

#include "esc/broker/broker.h"

namespace esc::broker {

class ReplicaWatch {
 public:
  static constexpr Nanos kInterval = 100 * kMillisecond;

  explicit ReplicaWatch(Broker& broker) : broker_(broker), told_(broker.options().groups) {}
  void do_work(Nanos now);

 private:
  void look(const replica::Group& group, Nanos now);
  void tell(GroupId group);

  Broker& broker_;
  // By group: the nodes in sync, ascending; empty where this node does not lead.
  std::vector<std::vector<NodeId>> told_;
  std::vector<NodeId> seen_;  // kept for its memory
  Nanos next_ = 0;
};

}  // namespace esc::broker
