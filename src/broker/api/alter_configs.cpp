// AlterConfigs (the whole configuration of a topic) and IncrementalAlterConfigs (some keys of it): orders for
// the controller. Settings of nodes are in their files.
#include "esc/wire/api/alter_configs.h"

#include <algorithm>

#include "../controller.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/incremental_alter_configs.h"

namespace esc::broker {
namespace {

constexpr std::int8_t kResourceTopic = 2;
using Operation = ConfigChange::Operation;

template <class Response>
void answer(Broker& broker, AdminCall& call) {
  const auto results = broker.allocate<typename Response::Resource>(*call.request, call.orders.size() + 1);
  if (results.data() == nullptr) return broker.protocol_error(*call.request, "no memory for the response");
  for (std::size_t i = 0; i < call.orders.size(); ++i) {
    const TopicOrder& order = call.orders[i];
    results[i].error_code = order.code;
    if (!order.message.empty()) results[i].error_message = std::string_view(order.message);
    results[i].resource_type = order.resource_type;
    results[i].resource_name = order.name;
  }
  Response response;
  response.responses = results.first(call.orders.size());
  broker.respond(*call.request, response);
}

void refuse(TopicOrder& order, wire::ErrorCode code, std::string message) {
  order.code = code;
  order.message = std::move(message);
}

TopicOrder& add_order(AdminCall& call, std::int8_t type, std::string_view name) {
  for (TopicOrder& before : call.orders) {
    if (before.resource_type == type && before.name == name)
      refuse(before, wire::ErrorCode::invalid_request, "the request names this topic more than once");
  }
  TopicOrder& order = call.orders.emplace_back();
  order.kind = TopicOrder::Kind::configure;
  order.name = std::string(name);
  order.resource_type = type;
  if (type != kResourceTopic) {
    refuse(order, wire::ErrorCode::invalid_request,
           "only topics (2) can be configured here; settings of a node are in its configuration file");
  }
  return order;
}

void add_change(TopicOrder& order, Operation operation, std::string_view key, wire::NullableString value) {
  if (std::ranges::find(order.changes, key, &ConfigChange::key) != order.changes.end())
    refuse(order, wire::ErrorCode::invalid_request, std::string(key) + " is named more than once");
  if (!value && operation != Operation::remove)
    refuse(order, wire::ErrorCode::invalid_config, std::string(key) + " has no value");
  const bool with_value = value && operation != Operation::remove;
  order.changes.push_back(
      {.operation = operation, .key = std::string(key), .value = std::string(with_value ? *value : "")});
}

template <class Asked>
std::unique_ptr<AdminCall> make_call(Request& request, const Asked& asked) {
  auto call = std::make_unique<AdminCall>();
  call->request = &request;
  call->validate_only = asked.validate_only;
  return call;
}

}  // namespace

void handle_alter_configs(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::AlterConfigsRequest>(request);
  if (asked == nullptr) return;
  auto call = make_call(request, *asked);
  call->finish = &answer<wire::AlterConfigsResponse>;
  for (const auto& resource : asked->resources) {
    TopicOrder& order = add_order(*call, resource.resource_type, resource.resource_name);
    order.replaces_all = true;
    for (const auto& config : resource.configs) {
      if (config.value) add_change(order, Operation::set, config.name, config.value);
    }
  }
  submit_admin_call(broker, std::move(call));
}

void handle_incremental_alter_configs(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::IncrementalAlterConfigsRequest>(request);
  if (asked == nullptr) return;
  auto call = make_call(request, *asked);
  call->finish = &answer<wire::IncrementalAlterConfigsResponse>;
  for (const auto& resource : asked->resources) {
    TopicOrder& order = add_order(*call, resource.resource_type, resource.resource_name);
    for (const auto& config : resource.configs) {
      const std::int8_t operation = config.config_operation;
      if (operation < 0 || operation > static_cast<std::int8_t>(Operation::subtract)) {
        refuse(order, wire::ErrorCode::invalid_request,
               std::string(config.name) + ": there is no operation " + std::to_string(operation));
      } else {
        add_change(order, static_cast<Operation>(operation), config.name, config.value);
      }
    }
  }
  submit_admin_call(broker, std::move(call));
}

}  // namespace esc::broker
