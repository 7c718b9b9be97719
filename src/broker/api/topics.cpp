// CreateTopics, DeleteTopics, CreatePartitions: orders for the controller.
#include <algorithm>

#include "../controller.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/create_partitions.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_topics.h"

namespace esc::broker {
namespace {

wire::NullableString message_of(const TopicOrder& order) {
  if (order.message.empty()) return std::nullopt;
  return std::string_view(order.message);
}

void refuse(TopicOrder& order, wire::ErrorCode code, std::string message) {
  order.code = code;
  order.message = std::move(message);
}

template <class T>
std::span<T> answers(Broker& broker, AdminCall& call) {
  const auto results = broker.allocate<T>(*call.request, call.orders.size());
  if (results.data() == nullptr) broker.protocol_error(*call.request, "no memory for the response");
  return results;
}

void answer_create_topics(Broker& broker, AdminCall& call) {
  const auto results = answers<wire::CreateTopicsResponse::Topic>(broker, call);
  if (results.data() == nullptr) return;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const TopicOrder& order = call.orders[i];
    results[i].name = order.name;
    results[i].error_code = order.code;
    results[i].error_message = message_of(order);
    if (order.code != wire::ErrorCode::none) continue;
    results[i].topic_id = to_uuid(order.id);
    results[i].num_partitions = order.partitions;
    results[i].replication_factor = static_cast<std::int16_t>(broker.replication_factor());
    results[i].configs.emplace();
  }
  wire::CreateTopicsResponse response;
  response.topics = results;
  broker.respond(*call.request, response);
}

void answer_delete_topics(Broker& broker, AdminCall& call) {
  const auto results = answers<wire::DeleteTopicsResponse::Topic>(broker, call);
  if (results.data() == nullptr) return;
  for (std::size_t i = 0; i < results.size(); ++i) {
    const TopicOrder& order = call.orders[i];
    if (!order.name.empty()) results[i].name = order.name;
    results[i].topic_id = to_uuid(order.id);
    results[i].error_code = order.code;
    results[i].error_message = message_of(order);
  }
  wire::DeleteTopicsResponse response;
  response.responses = results;
  broker.respond(*call.request, response);
}

void answer_create_partitions(Broker& broker, AdminCall& call) {
  const auto results = answers<wire::CreatePartitionsResponse::Topic>(broker, call);
  if (results.data() == nullptr) return;
  for (std::size_t i = 0; i < results.size(); ++i) {
    results[i].name = call.orders[i].name;
    results[i].error_code = call.orders[i].code;
    results[i].error_message = message_of(call.orders[i]);
  }
  wire::CreatePartitionsResponse response;
  response.results = results;
  broker.respond(*call.request, response);
}

bool names_every_node(const Broker& broker, std::span<const std::int32_t> ids) {
  const auto named = [&](NodeId node) {
    return std::count(ids.begin(), ids.end(), static_cast<std::int32_t>(node.value())) == 1;
  };
  if (ids.size() != broker.replication_factor()) return false;
  return std::ranges::all_of(broker.directory().nodes(),
                             [&](const NodeView& node) { return named(node.record.node); });
}

// Kafka answers a name that a request lists twice with an error for it, once.
void refuse_duplicates(std::vector<TopicOrder>& orders) {
  for (std::size_t i = 0; i < orders.size(); ++i) {
    for (std::size_t k = i + 1; k < orders.size();) {
      if (orders[i].name.empty() || orders[k].name != orders[i].name) {
        ++k;
        continue;
      }
      refuse(orders[i], wire::ErrorCode::invalid_request, "the request names this topic more than once");
      orders.erase(orders.begin() + static_cast<std::ptrdiff_t>(k));
    }
  }
}

}  // namespace

void handle_create_topics(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::CreateTopicsRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<AdminCall>();
  call->request = &request;
  call->validate_only = asked->validate_only;
  call->finish = &answer_create_topics;
  for (const auto& topic : asked->topics) {
    TopicOrder& order = call->orders.emplace_back();
    order.name = std::string(topic.name);
    order.partitions = topic.num_partitions;
    order.replication_factor = topic.replication_factor;
    if (!topic.assignments.empty()) {
      if (topic.num_partitions != -1 || topic.replication_factor != -1) {
        refuse(order, wire::ErrorCode::invalid_request, "give either counts or an assignment, not both");
      }
      order.partitions = static_cast<std::int32_t>(topic.assignments.size());
      for (const auto& assignment : topic.assignments) {
        if (names_every_node(broker, assignment.broker_ids)) continue;
        refuse(order, wire::ErrorCode::invalid_replica_assignment,
               "every partition is on all " + std::to_string(broker.replication_factor()) +
                   " nodes: name each once, in any order");
      }
    }
    for (const auto& config : topic.configs) {
      if (config.value) order.overrides.emplace_back(std::string(config.name), std::string(*config.value));
    }
  }
  refuse_duplicates(call->orders);
  submit_admin_call(broker, std::move(call));
}

void handle_delete_topics(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::DeleteTopicsRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<AdminCall>();
  call->request = &request;
  call->finish = &answer_delete_topics;
  for (const auto& topic : asked->topics) {
    TopicOrder& order = call->orders.emplace_back();
    order.kind = TopicOrder::Kind::remove;
    if (topic.name) order.name = std::string(*topic.name);
    order.id = topic.topic_id.bytes;
  }
  for (const std::string_view name : asked->topic_names) {
    TopicOrder& order = call->orders.emplace_back();
    order.kind = TopicOrder::Kind::remove;
    order.name = std::string(name);
  }
  refuse_duplicates(call->orders);
  submit_admin_call(broker, std::move(call));
}

void handle_create_partitions(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::CreatePartitionsRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<AdminCall>();
  call->request = &request;
  call->validate_only = asked->validate_only;
  call->finish = &answer_create_partitions;
  for (const auto& topic : asked->topics) {
    TopicOrder& order = call->orders.emplace_back();
    order.kind = TopicOrder::Kind::add_partitions;
    order.name = std::string(topic.name);
    order.partitions = topic.count;
  }
  refuse_duplicates(call->orders);
  submit_admin_call(broker, std::move(call));
}

}  // namespace esc::broker
