// FindCoordinator: the leader of the Raft group that has the consumer group.
#include "esc/wire/api/find_coordinator.h"

#include "../coordinators.h"
#include "../elsewhere.h"
#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

using Coordinator = wire::FindCoordinatorResponse::Coordinator;

constexpr std::int8_t kKeyTypeGroup = 0;
constexpr std::int8_t kKeyTypeTransaction = 1;

Coordinator refuse(wire::ErrorCode code, std::string_view message) {
  Coordinator answer;
  answer.node_id = answer.port = -1;
  answer.error_code = code;
  answer.error_message = message;
  return answer;
}

Coordinator locate(const Broker& broker, std::int8_t key_type, std::string_view key) {
  if (key_type == kKeyTypeTransaction) {
    return refuse(wire::ErrorCode::transactional_id_authorization_failed,
                  "transactions are not supported: leave transactional.id unset");
  }
  if (key_type != kKeyTypeGroup) return refuse(wire::ErrorCode::invalid_request, "unknown key type");
  if (key.empty()) return refuse(wire::ErrorCode::invalid_group_id, "the group id is empty");
  const GroupId home = Coordinators::home(key, broker.options().groups);
  const NodeView* leader = broker.directory().find_node(broker.directory().leader(home));
  if (leader == nullptr) {
    return refuse(wire::ErrorCode::coordinator_not_available, "the coordinator is being elected: try again");
  }
  Coordinator answer;
  answer.node_id = to_wire(leader->record.node);
  answer.host = leader->record.host;
  answer.port = leader->record.port;
  return answer;
}

}  // namespace

void handle_find_coordinator(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::FindCoordinatorRequest>(request);
  if (asked == nullptr) return;
  const auto coordinators = broker.allocate<Coordinator>(request, asked->coordinator_keys.size());
  if (coordinators.data() == nullptr && !asked->coordinator_keys.empty()) {
    broker.protocol_error(request, "no memory for the coordinators");
    return;
  }
  for (std::size_t i = 0; i < coordinators.size(); ++i) {
    coordinators[i] = locate(broker, asked->key_type, asked->coordinator_keys[i]);
    coordinators[i].key = asked->coordinator_keys[i];
  }
  wire::FindCoordinatorResponse response;
  if (request.header.version < 4) {
    const Coordinator one = locate(broker, asked->key_type, asked->key);
    response.error_code = one.error_code;
    response.error_message = one.error_message;
    response.node_id = one.node_id;
    response.host = one.host;
    response.port = one.port;
  }
  response.coordinators = coordinators;
  note_search_for_leaders(broker, request);
  broker.respond(request, response);
}

}  // namespace esc::broker
