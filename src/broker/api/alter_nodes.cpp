// AlterNodes: a node is to be added or removed.
#include "esc/wire/api/alter_nodes.h"

#include <limits>

#include "../controller.h"
#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

void node_order_done(Call& base, Broker& broker) {
  const std::unique_ptr<NodeOrder> order(&static_cast<NodeOrder&>(base));
  wire::AlterNodesResponse response;
  response.error_code = order->code;
  response.error_message = order->message;
  broker.respond(*order->request, response);
}

bool is_port(std::int32_t port) {
  return port >= 0 && port <= std::numeric_limits<std::uint16_t>::max();
}

}  // namespace

void handle_alter_nodes(Broker& broker, Request& request) {
  using Asked = wire::AlterNodesRequest;
  const auto* asked = broker.decode<Asked>(request);
  if (asked == nullptr) return;
  const bool known = asked->action == Asked::kAdd || asked->action == Asked::kRemove;
  if (!known || asked->node_id < 1 || !is_port(asked->port) || !is_port(asked->peer_port)) {
    wire::AlterNodesResponse response;
    response.error_code = wire::ErrorCode::invalid_request;
    response.error_message = "no such action, no node number, or no port";
    return broker.respond(request, response);
  }
  auto order = std::make_unique<NodeOrder>();
  order->request = &request;
  order->remove = asked->action == Asked::kRemove;
  order->record.node = NodeId(static_cast<std::uint32_t>(asked->node_id));
  order->record.host = asked->host;
  order->record.port = static_cast<std::uint16_t>(asked->port);
  order->record.peer_host = asked->peer_host;
  order->record.peer_port = static_cast<std::uint16_t>(asked->peer_port);
  order->record.rack = asked->rack;
  NodeOrder& sent = *order.release();
  sent.target = broker.core_of(GroupId(0));
  sent.run = [](Call& base, Broker& target) {
    target.controller().node_admin().enqueue(static_cast<NodeOrder&>(base));
  };
  sent.done = &node_order_done;
  broker.router().send(sent);
}

}  // namespace esc::broker
