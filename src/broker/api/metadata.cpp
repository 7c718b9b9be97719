// Metadata and DescribeCluster: where everything is. Unknown topics are created first when that is allowed.
#include "esc/wire/api/metadata.h"

#include <algorithm>
#include <cstring>

#include "../controller.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/describe_cluster.h"

namespace esc::broker {
namespace {

// Who changes metadata: the leader of group 0, -1 when nobody is known.
std::int32_t controller_id(const Directory& directory) {
  const NodeId leader = directory.group(GroupId(0)).leader;
  return leader == NodeId(0) ? -1 : static_cast<std::int32_t>(leader.value());
}

struct Builder {
  Broker& broker;
  Request& request;
  std::span<std::int32_t> replicas;  // every node holds every partition
  bool failed = false;

  wire::MetadataResponse::Topic topic(const TopicView& view) {
    const replica::Topic& known = *view.topic;
    wire::MetadataResponse::Topic answer;
    answer.name = known.name;
    answer.topic_id = to_uuid(known.id);
    const auto partitions =
        broker.allocate<wire::MetadataResponse::Partition>(request, known.partitions.size());
    failed = failed || partitions.data() == nullptr;
    for (std::size_t i = 0; i < partitions.size(); ++i) {
      const GroupView& group = broker.directory().group(known.partitions[i].group);
      partitions[i].partition_index = static_cast<std::int32_t>(i);
      partitions[i].leader_id =
          group.leader == NodeId(0) ? -1 : static_cast<std::int32_t>(group.leader.value());
      if (group.leader == NodeId(0)) partitions[i].error_code = wire::ErrorCode::leader_not_available;
      partitions[i].leader_epoch = static_cast<std::int32_t>(group.term.value());
      partitions[i].replica_nodes = replicas;
      partitions[i].isr_nodes = replicas;
    }
    answer.partitions = partitions;
    return answer;
  }

  wire::MetadataResponse::Topic unknown(const wire::MetadataRequest::Topic& asked, const AdminCall* created) {
    wire::MetadataResponse::Topic answer;
    answer.name = asked.name;
    answer.topic_id = asked.topic_id;
    answer.error_code =
        asked.name ? wire::ErrorCode::unknown_topic_or_partition : wire::ErrorCode::unknown_topic_id;
    if (asked.name && topic_name_problem(*asked.name) != nullptr)
      answer.error_code = wire::ErrorCode::invalid_topic;
    if (created == nullptr || !asked.name) return answer;
    for (const TopicOrder& order : created->orders) {
      if (order.name != *asked.name) continue;
      // Created, or lost the race to another creation, or asked of the controller: it exists by the next
      // request.
      const bool soon = order.code == wire::ErrorCode::none ||
                        order.code == wire::ErrorCode::topic_already_exists ||
                        order.code == wire::ErrorCode::not_controller;
      answer.error_code = soon ? wire::ErrorCode::leader_not_available : order.code;
    }
    return answer;
  }
};

const TopicView* find_topic(const Directory& directory, const wire::MetadataRequest::Topic& asked) {
  if (asked.name) return directory.find(*asked.name);
  return directory.find(replica::TopicId(asked.topic_id.bytes));
}

bool wants_all(const wire::MetadataRequest& asked, std::int16_t version) {
  return !asked.topics || (version == 0 && asked.topics->empty());
}

void answer_metadata(Broker& broker, Request& request, const wire::MetadataRequest& asked,
                     const AdminCall* created) {
  const BrokerOptions& options = broker.options();
  const Directory& directory = broker.directory();
  const std::size_t nodes = node_count(options);
  Builder builder{broker, request, broker.allocate<std::int32_t>(request, nodes)};
  const auto brokers = broker.allocate<wire::MetadataResponse::Broker>(request, nodes);
  const bool all = wants_all(asked, request.header.version);
  const auto topics = broker.allocate<wire::MetadataResponse::Topic>(
      request, all ? directory.topics().size() : asked.topics->size());
  if (builder.replicas.data() == nullptr || brokers.data() == nullptr || topics.data() == nullptr) {
    broker.protocol_error(request, "no memory for the metadata response");
    return;
  }
  for (std::size_t i = 0; i < nodes; ++i) {
    const NodeAddress node = node_address(options, i);
    builder.replicas[i] = brokers[i].node_id = node.id;
    brokers[i].host = node.host;
    brokers[i].port = node.port;
  }
  std::size_t at = 0;
  if (all) {
    for (const auto& [name, view] : directory.topics()) topics[at++] = builder.topic(view);
  } else {
    for (const wire::MetadataRequest::Topic& topic : *asked.topics) {
      const TopicView* view = find_topic(directory, topic);
      topics[at++] = view == nullptr ? builder.unknown(topic, created) : builder.topic(*view);
    }
  }
  if (builder.failed) {
    broker.protocol_error(request, "no memory for the metadata response");
    return;
  }
  wire::MetadataResponse response;
  response.brokers = brokers;
  response.cluster_id = options.cluster_id;
  response.controller_id = controller_id(directory);
  response.topics = topics;
  broker.respond(request, response);
}

}  // namespace

void handle_metadata(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::MetadataRequest>(request);
  if (asked == nullptr) return;
  const bool may_create = broker.options().auto_create_topics && asked->allow_auto_topic_creation;
  if (wants_all(*asked, request.header.version) || !may_create)
    return answer_metadata(broker, request, *asked, nullptr);
  auto call = std::make_unique<AdminCall>();
  for (const wire::MetadataRequest::Topic& topic : *asked->topics) {
    if (!topic.name || find_topic(broker.directory(), topic) != nullptr ||
        topic_name_problem(*topic.name) != nullptr)
      continue;
    call->orders.emplace_back().name = std::string(*topic.name);
    call->automatic = true;
  }
  if (call->orders.empty()) return answer_metadata(broker, request, *asked, nullptr);
  request.state = const_cast<wire::MetadataRequest*>(asked);
  call->request = &request;
  call->finish = [](Broker& origin, AdminCall& finished) {
    answer_metadata(origin, *finished.request, *static_cast<wire::MetadataRequest*>(finished.request->state),
                    &finished);
  };
  submit_admin_call(broker, std::move(call));
}

void handle_describe_cluster(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::DescribeClusterRequest>(request);
  if (asked == nullptr) return;
  const BrokerOptions& options = broker.options();
  const auto brokers = broker.allocate<wire::DescribeClusterResponse::Broker>(request, node_count(options));
  for (std::size_t i = 0; i < brokers.size(); ++i) {
    const NodeAddress node = node_address(options, i);
    brokers[i].broker_id = node.id;
    brokers[i].host = node.host;
    brokers[i].port = node.port;
  }
  wire::DescribeClusterResponse response;
  response.cluster_id = options.cluster_id;
  response.controller_id = controller_id(broker.directory());
  response.brokers = brokers;
  response.endpoint_type = asked->endpoint_type;
  broker.respond(request, response);
}

}  // namespace esc::broker
