#include "replica_watch.h"

#include <algorithm>

#include "esc/raft/core.h"
#include "in_sync.h"

namespace esc::broker {

void ReplicaWatch::do_work(Nanos now) {
  if (now < next_) return;
  next_ = now + kInterval;
  for (std::uint32_t id = 0; id < told_.size(); ++id) {
    if (const replica::Group* group = broker_.group(GroupId(id))) look(*group, now);
  }
}

void ReplicaWatch::look(const replica::Group& group, Nanos now) {
  seen_.clear();
  if (group.leading()) {
    seen_.push_back(broker_.options().node);
    for (const raft::Progress& peer : group.core().peers()) {
      if (in_sync(peer, now)) seen_.push_back(peer.node);
    }
    std::ranges::sort(seen_);
  }
  std::vector<NodeId>& told = told_[group.id().value()];
  if (seen_ == told) return;
  told = seen_;
  tell(group.id());
}

void ReplicaWatch::tell(GroupId group) {
  struct InSyncCall : Call {
    GroupId group;
    std::vector<NodeId> nodes;
  };
  for (std::uint32_t core = 0; core < broker_.router().cores(); ++core) {
    auto* call = new InSyncCall;
    call->group = group;
    call->nodes = told_[group.value()];
    call->target = CoreId(core);
    call->run = [](Call& base, Broker& target) {
      auto& told = static_cast<InSyncCall&>(base);
      target.directory().set_in_sync(told.group, told.nodes);
      target.router().reply(base);
    };
    call->done = [](Call& base, Broker&) { delete &static_cast<InSyncCall&>(base); };
    broker_.router().send(*call);
  }
}

}  // namespace esc::broker
