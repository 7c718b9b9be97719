// Metadata and DescribeCluster: where everything is. Unknown topics are created first when that is allowed.
#include "esc/wire/api/metadata.h"

#include <cstring>

#include "../controller.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/describe_cluster.h"

namespace esc::broker {
namespace {

wire::Uuid to_uuid(const replica::TopicId& id) {
  wire::Uuid uuid;
  uuid.bytes = id;
  return uuid;
}

struct Builder {
  Broker& broker;
  Request& request;
  std::span<std::int32_t> self;  // the one replica
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
      partitions[i].replica_nodes = self;
      partitions[i].isr_nodes = self;
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
      // A name that lost the race to another creation exists by the next request.
      if (order.name == *asked.name && order.code != wire::ErrorCode::topic_already_exists)
        answer.error_code = order.code;
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
  Builder builder{broker, request, broker.allocate<std::int32_t>(request, 1)};
  const auto brokers = broker.allocate<wire::MetadataResponse::Broker>(request, 1);
  const bool all = wants_all(asked, request.header.version);
  const auto topics = broker.allocate<wire::MetadataResponse::Topic>(
      request, all ? directory.topics().size() : asked.topics->size());
  if (builder.self.data() == nullptr || brokers.data() == nullptr || topics.data() == nullptr) {
    broker.protocol_error(request, "no memory for the metadata response");
    return;
  }
  builder.self[0] = static_cast<std::int32_t>(options.node.value());
  brokers[0].node_id = builder.self[0];
  brokers[0].host = options.advertised_host;
  brokers[0].port = options.advertised_port;
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
  response.controller_id = builder.self[0];
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
  wire::DescribeClusterResponse::Broker self;
  self.broker_id = static_cast<std::int32_t>(broker.options().node.value());
  self.host = broker.options().advertised_host;
  self.port = broker.options().advertised_port;
  wire::DescribeClusterResponse response;
  response.cluster_id = broker.options().cluster_id;
  response.controller_id = self.broker_id;
  response.brokers = {&self, 1};
  response.endpoint_type = asked->endpoint_type;
  broker.respond(request, response);
}

}  // namespace esc::broker
