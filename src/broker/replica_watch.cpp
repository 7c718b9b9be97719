#include "replica_watch.h"

#include <algorithm>

#include "esc/broker/lifecycle.h"
#include "esc/raft/core.h"
#include "every_core.h"
#include "in_sync.h"

namespace esc::broker {

void ReplicaWatch::do_work(Nanos now) {
  if (now < next_) return;
  next_ = now + kInterval;
  for (std::uint32_t id = 0; id < groups_.size(); ++id) {
    if (replica::Group* group = broker_.group(GroupId(id))) look(*group, groups_[id], now);
  }
}

void ReplicaWatch::look(replica::Group& group, Watched& watched, Nanos now) {
  seen_.clear();
  if (group.leading()) {
    seen_.push_back(broker_.options().node);
    for (const raft::Progress& peer : group.core().peers()) {
      if (in_sync(peer, now)) seen_.push_back(peer.node);
    }
    std::ranges::sort(seen_);
  } else {
    const auto heard = watched.heard.of(group.leader(), group.term());
    seen_.assign(heard.begin(), heard.end());
  }
  const bool changed = seen_ != watched.told;
  if (group.leading() && (changed || now >= watched.tell_again) && tell_members(group))
    watched.tell_again = now + kTellAgain;
  if (!changed) return;
  watched.told = seen_;
  tell_every_core(broker_, [id = group.id(), nodes = seen_](Broker& target) {
    target.directory().set_in_sync(id, nodes);
  });
}

// False: a message before this one has not left yet.
bool ReplicaWatch::tell_members(replica::Group& group) {
  payload_.clear();
  encode_in_sync(seen_, payload_);
  const peer::Service service{.kind = kServiceInSync, .tag = group.term().value()};
  bool all = true;
  for (const raft::Progress& peer : group.core().peers()) {
    const bool sent = !group.linked(peer.node) || group.send_service(peer.node, service, payload_);
    all = all && sent;
  }
  return all;
}

}  // namespace esc::broker
