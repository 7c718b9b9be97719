// Who is in sync in each group of this core, told to every core when it changes, so that Metadata need not
// ask around. Where this node leads it looks; the leader tells the other members, and there what it told
// last counts. Of a group without a leader nothing is known.
//
// Threading: one core. Memory: a few node ids per group.
#pragma once

#include <vector>

#include "esc/broker/broker.h"
#include "in_sync_message.h"

namespace esc::broker {

class ReplicaWatch {
 public:
  static constexpr Nanos kInterval = 100 * kMillisecond;
  // To those that have missed it: new links, messages that found no room.
  static constexpr Nanos kTellAgain = 500 * kMillisecond;

  explicit ReplicaWatch(Broker& broker) : broker_(broker), groups_(broker.options().groups) {}
  void do_work(Nanos now);
  void on_in_sync(GroupId group, NodeId from, std::uint64_t term, ByteView payload) {
    groups_[group.value()].heard.take(from, term, payload);
  }

 private:
  struct Watched {
    std::vector<NodeId> told;  // in sync, ascending; empty where nothing is known
    HeardInSync heard;
    Nanos tell_again = 0;
  };

  void look(replica::Group& group, Watched& watched, Nanos now);
  [[nodiscard]] bool tell_members(replica::Group& group);

  Broker& broker_;
  std::vector<Watched> groups_;
  std::vector<NodeId> seen_;        // kept for its memory,
  std::vector<std::byte> payload_;  // likewise
  Nanos next_ = 0;
};

}  // namespace esc::broker
