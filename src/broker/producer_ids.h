// Producer ids for clients: from a group that this core leads, or asked of the node that leads it.
//
// Groups take ids out of blocks that they hand out through their logs, so an id is never given twice, whoever
// leads. A node that leads no group asks a leader over the group's own link; what is lost is asked again.
//
// Threading: one core. Memory: the calls are their requests'.
#pragma once

#include "esc/broker/broker.h"
#include "esc/wire/error_code.h"

namespace esc::broker {

struct ProducerIdCall : Call {
  Request* request = nullptr;
  GroupId group;
  std::uint64_t tag = 0;
  Nanos deadline = 0;
  Nanos ask_again_at = 0;
  std::int64_t id = -1;
  wire::ErrorCode code = wire::ErrorCode::none;
};

class ProducerIds {
 public:
  explicit ProducerIds(Broker& broker) : broker_(broker) {}

  // On the core of call.group; replied to when there is an id, or after a second without.
  void enqueue(ProducerIdCall& call);
  void on_service(GroupId group, NodeId from, peer::Service service, ByteView payload);
  std::uint32_t do_work(Nanos now);

 private:
  [[nodiscard]] bool advance(ProducerIdCall& call, Nanos now);
  void ask_leader(ProducerIdCall& call, Nanos now);

  Broker& broker_;
  IntrusiveList<Call> waiting_;
  std::uint64_t last_tag_ = 0;
};

}  // namespace esc::broker
