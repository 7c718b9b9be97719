// InitProducerId: an id of its own for every idempotent producer, epoch 0. Transactions are refused: there
// are none yet.
#include "esc/wire/api/init_producer_id.h"

#include "../handlers.h"
#include "../producer_ids.h"
#include "../respond.h"

namespace esc::broker {
namespace {

void answer(Broker& broker, Request& request, wire::ErrorCode code, std::int64_t id) {
  wire::InitProducerIdResponse response;
  response.error_code = code;
  response.producer_id = id;
  response.producer_epoch = static_cast<std::int16_t>(id < 0 ? -1 : 0);
  broker.respond(request, response);
}

// A group that this node leads, or else one of which anybody knows the leader.
GroupId choose_group(const Broker& broker) {
  GroupId chosen{0};
  bool known = false;
  for (std::uint32_t id = 0; id < broker.directory().group_count(); ++id) {
    const NodeId leader = broker.directory().group(GroupId(id)).leader;
    if (leader == broker.options().node) return GroupId(id);
    if (leader != NodeId(0) && !known) chosen = GroupId(id);
    known = known || leader != NodeId(0);
  }
  return chosen;
}

}  // namespace

void handle_init_producer_id(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::InitProducerIdRequest>(request);
  if (asked == nullptr) return;
  // Final for every client, as FindCoordinator says of transactions.
  if (asked->transactional_id)
    return answer(broker, request, wire::ErrorCode::transactional_id_authorization_failed, -1);
  if ((asked->producer_id < 0) != (asked->producer_epoch < 0))
    return answer(broker, request, wire::ErrorCode::invalid_request, -1);
  const auto calls = broker.allocate<ProducerIdCall>(request, 1);
  if (calls.data() == nullptr) return broker.protocol_error(request, "no memory for the request");
  ProducerIdCall& call = calls[0];
  call.request = &request;
  call.group = choose_group(broker);
  call.target = broker.core_of(call.group);
  call.run = [](Call& base, Broker& target) {
    target.producer_ids().enqueue(static_cast<ProducerIdCall&>(base));
  };
  call.done = [](Call& base, Broker& origin) {
    const auto& done = static_cast<ProducerIdCall&>(base);
    answer(origin, *done.request, done.code, done.id);
  };
  broker.router().send(call);
}

}  // namespace esc::broker
