// One handler per API, each in its own file under api/. A handler ends, at once or later, with
// Broker::respond, Broker::complete or Broker::protocol_error for its request.
#pragma once

#include "esc/broker/broker.h"
#include "esc/wire/error_code.h"

namespace esc::broker {

[[nodiscard]] inline wire::Uuid to_uuid(const replica::TopicId& id) {
  wire::Uuid uuid;
  uuid.bytes = id;
  return uuid;
}

[[nodiscard]] inline std::int32_t to_wire(NodeId node) {
  return node == NodeId(0) ? -1 : static_cast<std::int32_t>(node.value());
}

// Where the partition that a client names is: fills item.partition and item.group. False, with item.code,
// when there is none.
template <class Item>
bool locate(const TopicView* view, std::int32_t index, Item& item) {
  const replica::PartitionAssignment* assignment = Directory::partition(view, index);
  if (assignment == nullptr) {
    item.code = wire::ErrorCode::unknown_topic_or_partition;
    return false;
  }
  item.partition = assignment->id;
  item.group = assignment->group;
  return true;
}

// Whether this node may answer a reader of a partition that the directory knows. `leader_epoch` is the one
// the client believes in, -1: none. In Kafka's order: epochs first, then leadership.
[[nodiscard]] inline wire::ErrorCode check_reader(const replica::Group& group,
                                                  const replica::Partition* partition,
                                                  std::int32_t leader_epoch) {
  const auto epoch = static_cast<std::int32_t>(group.term().value());
  if (leader_epoch != -1 && leader_epoch < epoch) return wire::ErrorCode::fenced_leader_epoch;
  if (leader_epoch > epoch) return wire::ErrorCode::unknown_leader_epoch;
  // A partition that the leader has not created yet exists in a moment: retriable all the same.
  if (!group.leading() || partition == nullptr) return wire::ErrorCode::not_leader_or_follower;
  return wire::ErrorCode::none;
}

// Picks the handler; answers ApiVersions of unknown versions, closes on anything unsupported.
void handle_request(Broker& broker, Request& request);

void handle_api_versions(Broker& broker, Request& request);
void handle_metadata(Broker& broker, Request& request);
void handle_produce(Broker& broker, Request& request);
void handle_fetch(Broker& broker, Request& request);
void handle_list_offsets(Broker& broker, Request& request);
void handle_create_topics(Broker& broker, Request& request);
void handle_delete_topics(Broker& broker, Request& request);
void handle_create_partitions(Broker& broker, Request& request);
void handle_describe_configs(Broker& broker, Request& request);
void handle_find_coordinator(Broker& broker, Request& request);
void handle_join_group(Broker& broker, Request& request);
void handle_sync_group(Broker& broker, Request& request);
void handle_heartbeat(Broker& broker, Request& request);
void handle_leave_group(Broker& broker, Request& request);
void handle_offset_commit(Broker& broker, Request& request);
void handle_offset_fetch(Broker& broker, Request& request);
void handle_offset_delete(Broker& broker, Request& request);
void handle_describe_groups(Broker& broker, Request& request);
void handle_list_groups(Broker& broker, Request& request);
void handle_delete_groups(Broker& broker, Request& request);
void handle_group_lag(Broker& broker, Request& request);
void handle_alter_nodes(Broker& broker, Request& request);
void handle_describe_nodes(Broker& broker, Request& request);
void handle_describe_cluster(Broker& broker, Request& request);
void handle_alter_configs(Broker& broker, Request& request);
void handle_incremental_alter_configs(Broker& broker, Request& request);
void handle_describe_log_dirs(Broker& broker, Request& request);
void handle_delete_records(Broker& broker, Request& request);
void handle_offset_for_leader_epoch(Broker& broker, Request& request);
void handle_init_producer_id(Broker& broker, Request& request);
void handle_node_status(Broker& broker, Request& request);

}  // namespace esc::broker
