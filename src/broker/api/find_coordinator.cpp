// FindCoordinator: there are no consumer groups yet, so no coordinator is ever available. The API is
// advertised all the same, because librdkafka takes its absence for a broker too old for lz4 and then sends
// batches uncompressed.
#include "esc/wire/api/find_coordinator.h"

#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {

void handle_find_coordinator(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::FindCoordinatorRequest>(request);
  if (asked == nullptr) return;
  constexpr auto kCode = wire::ErrorCode::coordinator_not_available;
  constexpr std::string_view kMessage = "consumer groups are not supported yet: assign partitions yourself";
  wire::FindCoordinatorResponse response;
  response.error_code = kCode;
  response.error_message = kMessage;
  response.node_id = -1;
  response.port = -1;
  const auto coordinators =
      broker.allocate<wire::FindCoordinatorResponse::Coordinator>(request, asked->coordinator_keys.size());
  for (std::size_t i = 0; i < coordinators.size(); ++i) {
    coordinators[i].key = asked->coordinator_keys[i];
    coordinators[i].node_id = -1;
    coordinators[i].port = -1;
    coordinators[i].error_code = kCode;
    coordinators[i].error_message = kMessage;
  }
  response.coordinators = coordinators;
  broker.respond(request, response);
}

}  // namespace esc::broker
