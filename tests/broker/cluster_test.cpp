// What a node of a cluster says and does about groups that it leads, and about those it does not.
#include "esc/wire/api/describe_cluster.h"
#include "esc/wire/api/describe_nodes.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/find_coordinator.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/api/node_status.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/record_batch.h"
#include "world.h"

namespace esc::broker::test {
namespace {

using wire::ErrorCode;

wire::MetadataResponse metadata_of(World& world, std::string_view topic, bool create = false) {
  const std::array topics = {wire::MetadataRequest::Topic{.name = topic}};
  wire::MetadataRequest request;
  request.topics = topics;
  request.allow_auto_topic_creation = create;
  return world.call<wire::MetadataResponse>(request, 12);
}

void ask_fetch(World& world, std::string_view topic, std::int32_t epoch, std::int32_t max_wait_ms,
               std::int64_t offset = 0) {
  const std::array partitions = {wire::FetchRequest::Partition{
      .partition = 0, .current_leader_epoch = epoch, .fetch_offset = offset, .partition_max_bytes = 1 << 20}};
  const std::array topics = {wire::FetchRequest::Topic{.topic = topic, .partitions = partitions}};
  wire::FetchRequest request;
  request.max_wait_ms = max_wait_ms;
  request.min_bytes = 1;
  request.max_bytes = 1 << 20;
  request.topics = topics;
  world.ask(request, 12);
}

ErrorCode fetch_error(World& world, std::string_view topic, std::int32_t epoch) {
  ask_fetch(world, topic, epoch, 0);
  EXPECT_TRUE(world.turn_until([&] { return world.answered(); }));
  return world.answer<wire::FetchResponse>(12).responses[0].partitions[0].error_code;
}

ErrorCode produce_error(World& world, std::string_view topic) {
  std::vector<std::byte> buffer(1024);
  wire::BatchBuilder builder(buffer);
  EXPECT_TRUE(builder.append(world.clock.wall_ms(), {}, wire::NullableBytes(as_bytes("value"))));
  const ByteView batch = builder.finish();
  const std::array partitions = {
      wire::ProduceRequest::Partition{.index = 0, .records = wire::NullableBytes(batch)}};
  const std::array topics = {wire::ProduceRequest::Topic{.name = topic, .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  return world.call<wire::ProduceResponse>(request, 9).responses[0].partition_responses[0].error_code;
}

TEST(Follower, metadata_names_all_nodes_and_says_that_no_leader_is_known) {
  World world(3);
  world.apply_topic("orders", {1});
  const auto answer = metadata_of(world, "orders");
  ASSERT_EQ(answer.brokers.size(), 3u);
  EXPECT_EQ(answer.brokers[2].host, "host3");
  EXPECT_EQ(answer.controller_id, -1);
  const auto& partition = answer.topics[0].partitions[0];
  EXPECT_EQ(partition.error_code, ErrorCode::leader_not_available);
  EXPECT_EQ(partition.leader_id, -1);
  EXPECT_EQ(partition.replica_nodes.size(), 3u);
}

TEST(Follower, metadata_follows_what_the_groups_say_about_leaders) {
  World world(3);
  world.apply_topic("orders", {1});
  world.on_leader_changed(GroupId(0), NodeId(3), Term(4));
  world.on_leader_changed(GroupId(1), NodeId(2), Term(9));
  const auto answer = metadata_of(world, "orders");
  EXPECT_EQ(answer.controller_id, 3);
  EXPECT_EQ(answer.topics[0].partitions[0].leader_id, 2);
  EXPECT_EQ(answer.topics[0].partitions[0].leader_epoch, 9);
  EXPECT_EQ(answer.topics[0].partitions[0].error_code, ErrorCode::none);
  world.on_leader_changed(GroupId(1), NodeId(0), Term(9));
  EXPECT_EQ(metadata_of(world, "orders").topics[0].partitions[0].leader_id, -1);
}

std::vector<std::int32_t> in_sync(World& world) {
  const auto answer = metadata_of(world, "orders");
  const auto& nodes = answer.topics[0].partitions[0].isr_nodes;
  EXPECT_TRUE(answer.topics[0].partitions[0].offline_replicas.empty());
  EXPECT_EQ(answer.topics[0].partitions[0].replica_nodes.size(), 3u);
  return {nodes.begin(), nodes.end()};
}

TEST(Follower, metadata_believe_nodes_that_are_there_to_be_in_sync) {
  World world(3);
  world.apply_topic("orders", {1});
  EXPECT_EQ(in_sync(world), (std::vector<std::int32_t>{1, 2, 3}));
}

TEST(Leader, metadata_name_those_that_follow) {
  World world(1);
  world.lead();
  world.apply_topic("orders", {1});
  world.turn_for(200 * kMillisecond);
  EXPECT_EQ(in_sync(world), (std::vector<std::int32_t>{1})) << "the others are no members of its groups";
  world.broker->directory().set_in_sync(GroupId(1), {NodeId(1), NodeId(3)});
  EXPECT_EQ(in_sync(world), (std::vector<std::int32_t>{1, 3}));
  world.broker->directory().set_in_sync(GroupId(0), {NodeId(2)});
  EXPECT_EQ(in_sync(world), (std::vector<std::int32_t>{1, 3})) << "another group's";
}

TEST(Follower, metadata_do_not_name_a_node_that_is_gone) {
  World world(3);
  world.apply_topic("orders", {1});
  world.on_leader_changed(GroupId(0), NodeId(3), Term(4));
  world.on_leader_changed(GroupId(1), NodeId(3), Term(9));
  world.broker->directory().set_gone({NodeId(3)});
  const auto answer = metadata_of(world, "orders");
  ASSERT_EQ(answer.brokers.size(), 2u);
  EXPECT_EQ(answer.brokers[1].node_id, 2);
  EXPECT_EQ(answer.controller_id, -1);
  // Its groups have no leader that a client could find, until the next one is known.
  const auto& partition = answer.topics[0].partitions[0];
  EXPECT_EQ(partition.leader_id, -1);
  EXPECT_EQ(partition.error_code, ErrorCode::leader_not_available);
  ASSERT_EQ(partition.replica_nodes.size(), 3u);
  ASSERT_EQ(partition.isr_nodes.size(), 2u);
  EXPECT_EQ(partition.isr_nodes[0], 1);
  EXPECT_EQ(partition.isr_nodes[1], 2);
  ASSERT_EQ(partition.offline_replicas.size(), 1u);
  EXPECT_EQ(partition.offline_replicas[0], 3);
  world.on_leader_changed(GroupId(1), NodeId(2), Term(10));
  EXPECT_EQ(metadata_of(world, "orders").topics[0].partitions[0].leader_id, 2);
  world.broker->directory().set_gone({});
  const auto back = metadata_of(world, "orders");
  EXPECT_EQ(back.brokers.size(), 3u);
  EXPECT_EQ(back.topics[0].partitions[0].isr_nodes.size(), 3u);
  EXPECT_EQ(back.topics[0].partitions[0].offline_replicas.size(), 0u);
}

TEST(Follower, describe_cluster_and_find_coordinator_do_not_name_a_node_that_is_gone) {
  World world(3);
  world.on_leader_changed(GroupId(0), NodeId(3), Term(4));
  world.on_leader_changed(GroupId(1), NodeId(3), Term(4));
  const std::array<wire::String, 2> keys = {"orders", "audit"};
  wire::FindCoordinatorRequest find;
  find.coordinator_keys = keys;
  for (const auto& found : world.call<wire::FindCoordinatorResponse>(find, 4).coordinators) {
    EXPECT_EQ(found.node_id, 3);
    EXPECT_EQ(found.host, "host3");
  }
  world.broker->directory().set_gone({NodeId(3)});
  const auto described = world.call<wire::DescribeClusterResponse>(wire::DescribeClusterRequest{}, 1);
  EXPECT_EQ(described.brokers.size(), 2u);
  EXPECT_EQ(described.controller_id, -1);
  for (const auto& found : world.call<wire::FindCoordinatorResponse>(find, 4).coordinators) {
    EXPECT_EQ(found.node_id, -1);
    EXPECT_EQ(found.error_code, ErrorCode::coordinator_not_available);
  }
  // Operators see it all the same.
  const auto nodes = world.call<wire::DescribeNodesResponse>(wire::DescribeNodesRequest{}, 0);
  ASSERT_EQ(nodes.nodes.size(), 3u);
  EXPECT_FALSE(nodes.nodes[1].gone);
  EXPECT_TRUE(nodes.nodes[2].gone);
  EXPECT_EQ(nodes.nodes[2].host, "host3");
}

// A node that is cut off knows no leader, and a client that is connected asks no other.
TEST(Follower, who_looks_for_leaders_in_vain_is_sent_elsewhere) {
  World world(3);
  world.apply_topic("orders", {1});
  const std::array<wire::String, 1> keys = {"orders"};
  wire::FindCoordinatorRequest find;
  find.coordinator_keys = keys;
  for (int round = 0; round < 9; ++round) {
    EXPECT_EQ(metadata_of(world, "orders").topics[0].partitions[0].leader_id, -1);
    world.call<wire::FindCoordinatorResponse>(find, 4);
    world.turn_for(100 * kMillisecond);
  }
  EXPECT_TRUE(world.net.closed.empty()) << "an election may take so long";
  // It learns of a leader: the search is over, the next one begins anew.
  world.on_leader_changed(GroupId(0), NodeId(3), Term(4));
  world.turn_for(200 * kMillisecond);
  EXPECT_EQ(metadata_of(world, "orders").topics[0].partitions[0].leader_id, -1) << "another group's";
  world.on_leader_changed(GroupId(0), NodeId(0), Term(4));
  metadata_of(world, "orders");
  world.turn_for(900 * kMillisecond);
  metadata_of(world, "orders");
  world.turn_for(10 * kMillisecond);
  EXPECT_TRUE(world.net.closed.empty());
  world.turn_for(100 * kMillisecond);
  EXPECT_EQ(metadata_of(world, "orders").brokers.size(), 3u) << "the last answer is an answer";
  world.turn_for(10 * kMillisecond);
  EXPECT_TRUE(world.net.closed.contains(0));
}

TEST(Follower, who_looks_for_a_coordinator_in_vain_is_sent_elsewhere) {
  World world(3);
  const std::array<wire::String, 1> keys = {"orders"};
  wire::FindCoordinatorRequest find;
  find.coordinator_keys = keys;
  world.call<wire::FindCoordinatorResponse>(find, 4);
  world.turn_for(1'100 * kMillisecond);
  EXPECT_TRUE(world.net.closed.empty()) << "who does not ask is left alone";
  world.call<wire::FindCoordinatorResponse>(find, 4);
  world.turn_for(10 * kMillisecond);
  EXPECT_TRUE(world.net.closed.contains(0));
}

TEST(Follower, produce_fetch_and_list_offsets_send_the_client_elsewhere) {
  World world(3);
  world.apply_topic("orders", {1});
  EXPECT_EQ(produce_error(world, "orders"), ErrorCode::not_leader_or_follower);
  EXPECT_EQ(fetch_error(world, "orders", -1), ErrorCode::not_leader_or_follower);
  EXPECT_EQ(fetch_error(world, "unknown", -1), ErrorCode::unknown_topic_or_partition);
  const std::array partitions = {wire::ListOffsetsRequest::Partition{.partition_index = 0, .timestamp = -1}};
  const std::array topics = {wire::ListOffsetsRequest::Topic{.name = "orders", .partitions = partitions}};
  wire::ListOffsetsRequest request;
  request.topics = topics;
  EXPECT_EQ(world.call<wire::ListOffsetsResponse>(request, 7).topics[0].partitions[0].error_code,
            ErrorCode::not_leader_or_follower);
}

TEST(Follower, metadata_changes_are_the_controllers) {
  World world(3);
  EXPECT_EQ(world.create_topic("orders", -1), ErrorCode::not_controller);
  // On first use the client is told to come again; meanwhile the controller is asked.
  EXPECT_EQ(metadata_of(world, "orders", true).topics[0].error_code, ErrorCode::leader_not_available);
}

TEST(Follower, its_partitions_are_left_to_the_leader) {
  World world(3);
  world.apply_topic("orders", {1, 2});
  world.turn_for(50 * kMillisecond);
  EXPECT_TRUE(world.groups[1]->partitions().empty());
  EXPECT_EQ(world.groups[1]->core().last_index(), Index(0));
}

TEST(Leader, a_topic_exists_when_its_creation_is_answered) {
  World world(1);
  world.lead();
  EXPECT_EQ(world.create_topic("orders", 3, 4), ErrorCode::none);
  EXPECT_EQ(world.groups[0]->partitions().size() + world.groups[1]->partitions().size(), 4u);
  EXPECT_EQ(world.create_topic("orders", -1), ErrorCode::topic_already_exists);
  EXPECT_EQ(world.create_topic("more", 4), ErrorCode::invalid_replication_factor);
  EXPECT_EQ(produce_error(world, "orders"), ErrorCode::none);
}

TEST(Leader, a_reader_with_another_epoch_is_told_which_of_them_is_behind) {
  World world(1);
  world.lead();
  ASSERT_EQ(world.create_topic("orders", -1), ErrorCode::none);
  const auto epoch = static_cast<std::int32_t>(world.groups[1]->term().value());
  EXPECT_EQ(fetch_error(world, "orders", epoch), ErrorCode::none);
  EXPECT_EQ(fetch_error(world, "orders", epoch - 1), ErrorCode::fenced_leader_epoch);
  EXPECT_EQ(fetch_error(world, "orders", epoch + 1), ErrorCode::unknown_leader_epoch);
}

TEST(Leader, brings_its_groups_in_line_with_what_others_have_changed) {
  World world(1);
  world.lead();
  world.apply_topic("orders", {1, 2});
  ASSERT_TRUE(world.turn_until([&] { return world.groups[1]->partitions().size() == 2; }));
  world.apply_deletion("orders");
  ASSERT_TRUE(world.turn_until([&] { return world.groups[1]->partitions().empty(); }));
}

// An earlier leader of the group may have known more than this node's copy of the catalog.
TEST(Leader, does_not_delete_what_its_directory_does_not_know_yet) {
  World world(1);
  world.lead();
  replica::PartitionIdentity identity;
  identity.id = PartitionId(9);
  identity.topic = "newer";
  ASSERT_TRUE(world.groups[1]->create_partition(identity).has_value());
  ASSERT_TRUE(world.turn_until([&] { return world.groups[1]->find(PartitionId(9)) != nullptr; }));
  world.apply_topic("orders", {3});
  world.turn_for(100 * kMillisecond);
  EXPECT_NE(world.groups[1]->find(PartitionId(9)), nullptr);
  // Nor does it make anew what must have been deleted before 9 was created.
  EXPECT_EQ(world.groups[1]->find(PartitionId(3)), nullptr);
  // Once the directory has passed number 9 without it, it is gone.
  world.apply_topic("later", {10});
  ASSERT_TRUE(world.turn_until([&] { return world.groups[1]->find(PartitionId(9)) == nullptr; }));
  EXPECT_NE(world.groups[1]->find(PartitionId(10)), nullptr);
}

TEST(Leader, answers_parked_fetches_when_the_node_stops) {
  World world(1);
  world.lead();
  ASSERT_EQ(world.create_topic("orders", -1), ErrorCode::none);
  ask_fetch(world, "orders", -1, 30'000);
  world.turn_for(100 * kMillisecond);
  EXPECT_FALSE(world.answered());
  world.broker->begin_shutdown();
  const Nanos before = world.clock.now();
  ASSERT_TRUE(world.turn_until([&] { return world.answered(); }));
  EXPECT_LT(world.clock.now() - before, 10 * kMillisecond);
  EXPECT_EQ(world.answer<wire::FetchResponse>(12).responses[0].partitions[0].error_code, ErrorCode::none);
  ASSERT_TRUE(world.turn_until([&] { return world.broker->quiet(); }));
}

TEST(NodeStatus, tells_role_indexes_and_who_led_before) {
  World world(1);
  world.lead();
  ASSERT_EQ(world.create_topic("orders", -1, 3), ErrorCode::none);
  const auto status = world.call<wire::NodeStatusResponse>(wire::NodeStatusRequest{}, 0);
  EXPECT_EQ(status.node_id, 1);
  EXPECT_EQ(status.cluster_id, "test");
  ASSERT_EQ(status.groups.size(), kGroups);
  std::int32_t partitions = 0;
  for (const auto& group : status.groups) {
    EXPECT_EQ(group.role, static_cast<std::int8_t>(raft::Role::leader));
    EXPECT_TRUE(group.serving);
    EXPECT_EQ(group.leader_id, 1);
    EXPECT_EQ(group.previous_leader_id, -1);
    EXPECT_GE(group.elected_ms, 0);
    EXPECT_EQ(group.commit_index, group.last_index);
    partitions += group.partitions;
  }
  EXPECT_EQ(partitions, 3);
}

}  // namespace
}  // namespace esc::broker::test
