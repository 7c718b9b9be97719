// Metadata and DescribeCluster: where everything is. Unknown topics are created first when that is allowed.
#include "esc/wire/api/metadata.h"

#include <algorithm>

#include "../controller.h"
#include "../elsewhere.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/describe_cluster.h"
#include "esc/wire/api/describe_nodes.h"

namespace esc::broker {
namespace {

// Who changes metadata: the leader of group 0, -1 when nobody is known.
std::int32_t controller_id(const Directory& directory) {
  return to_wire(directory.leader(GroupId(0)));
}

// Nodes that are gone are not named: clients would go on dialling them.
template <class Node>
std::span<Node> named(std::span<Node> room, const Directory& directory, std::int32_t Node::* id) {
  std::size_t count = 0;
  for (const NodeView& node : directory.nodes()) {
    if (node.gone) continue;
    room[count].*id = to_wire(node.record.node);
    room[count].host = node.record.host;
    room[count].port = node.record.port;
    if (!node.record.rack.empty()) room[count].rack = node.record.rack;
    ++count;
  }
  return room.first(count);
}

// Every partition is on every node, so there is nothing to tell of one that does not hold for its group.
struct Replicas {
  std::span<std::int32_t> all;
  std::span<std::int32_t> in_sync;
  std::span<std::int32_t> offline;
};

// As the group's leader knows it; without one all nodes that are there are believed to be in sync.
bool is_in_sync(const Directory& directory, GroupId group, const NodeView& node) {
  const std::vector<NodeId>& known = directory.in_sync(group);
  return !node.gone && (known.empty() || std::ranges::find(known, node.record.node) != known.end());
}

void list_replicas(const Directory& directory, GroupId group, std::span<std::int32_t> room,
                   Replicas& replicas) {
  const std::vector<NodeView>& nodes = directory.nodes();
  std::size_t in_sync = 0;
  std::size_t offline = 0;
  replicas.all = room.first(nodes.size());
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::int32_t id = replicas.all[i] = to_wire(nodes[i].record.node);
    // Those in sync from the front, those offline from the back; one that only lags is neither.
    if (is_in_sync(directory, group, nodes[i])) room[nodes.size() + in_sync++] = id;
    if (nodes[i].gone) room[room.size() - ++offline] = id;
  }
  replicas.in_sync = room.subspan(nodes.size(), in_sync);
  replicas.offline = room.last(offline);
}

// By group; empty without memory.
std::span<Replicas> list_replicas(Broker& broker, Request& request) {
  const Directory& directory = broker.directory();
  const std::size_t each = 2 * directory.nodes().size();
  const auto lists = broker.allocate<Replicas>(request, directory.group_count());
  const auto room = broker.allocate<std::int32_t>(request, each * directory.group_count());
  if (lists.data() == nullptr || room.data() == nullptr) return {};
  for (std::uint32_t id = 0; id < lists.size(); ++id)
    list_replicas(directory, GroupId(id), room.subspan(each * id, each), lists[id]);
  return lists;
}

struct Builder {
  Broker& broker;
  Request& request;
  std::span<Replicas> replicas;  // by group
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
      const Replicas& copies = replicas[known.partitions[i].group.value()];
      partitions[i].partition_index = static_cast<std::int32_t>(i);
      partitions[i].leader_id = to_wire(broker.directory().leader(known.partitions[i].group));
      if (partitions[i].leader_id == -1) partitions[i].error_code = wire::ErrorCode::leader_not_available;
      partitions[i].leader_epoch = static_cast<std::int32_t>(group.term.value());
      partitions[i].replica_nodes = copies.all;
      partitions[i].isr_nodes = copies.in_sync;
      partitions[i].offline_replicas = copies.offline;
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
  const Directory& directory = broker.directory();
  const std::span<Replicas> replicas = list_replicas(broker, request);
  const auto brokers = broker.allocate<wire::MetadataResponse::Broker>(request, directory.nodes().size());
  const bool all = wants_all(asked, request.header.version);
  const auto topics = broker.allocate<wire::MetadataResponse::Topic>(
      request, all ? directory.topics().size() : asked.topics->size());
  if (replicas.empty() || brokers.data() == nullptr || topics.data() == nullptr) {
    broker.protocol_error(request, "no memory for the metadata response");
    return;
  }
  Builder builder{broker, request, replicas};
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
  response.brokers = named(brokers, directory, &wire::MetadataResponse::Broker::node_id);
  response.cluster_id = broker.options().cluster_id;
  response.controller_id = controller_id(directory);
  response.topics = topics;
  note_search_for_leaders(broker, request);
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
  const Directory& directory = broker.directory();
  const auto brokers =
      broker.allocate<wire::DescribeClusterResponse::Broker>(request, directory.nodes().size());
  if (brokers.data() == nullptr) return broker.protocol_error(request, "no memory for the nodes");
  wire::DescribeClusterResponse response;
  response.cluster_id = broker.options().cluster_id;
  response.controller_id = controller_id(directory);
  response.brokers = named(brokers, directory, &wire::DescribeClusterResponse::Broker::broker_id);
  response.endpoint_type = asked->endpoint_type;
  broker.respond(request, response);
}

void handle_describe_nodes(Broker& broker, Request& request) {
  if (broker.decode<wire::DescribeNodesRequest>(request) == nullptr) return;
  const std::vector<NodeView>& known = broker.directory().nodes();
  const auto nodes = broker.allocate<wire::DescribeNodesResponse::Node>(request, known.size());
  if (nodes.data() == nullptr) return broker.protocol_error(request, "no memory for the nodes");
  for (std::size_t i = 0; i < known.size(); ++i) {
    const replica::NodeRecord& record = known[i].record;
    nodes[i] = {.node_id = to_wire(record.node),
                .host = record.host,
                .port = record.port,
                .peer_host = record.peer_host,
                .peer_port = record.peer_port,
                .rack = record.rack,
                .gone = known[i].gone,
                .leaving = record.leaving};
  }
  wire::DescribeNodesResponse response;
  response.node_id = to_wire(broker.options().node);
  response.recorded = !broker.directory().catalog().nodes().nodes.empty();
  response.nodes = nodes;
  broker.respond(request, response);
}

}  // namespace esc::broker
