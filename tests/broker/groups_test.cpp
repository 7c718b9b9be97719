// Consumer groups as clients see them: what each request gets of the node that coordinates the group, and of
// one that does not. The protocol itself is the coordinator's (tests/coord).
#include "esc/wire/api/delete_groups.h"
#include "esc/wire/api/describe_groups.h"
#include "esc/wire/api/group_lag.h"
#include "esc/wire/api/heartbeat.h"
#include "esc/wire/api/join_group.h"
#include "esc/wire/api/leave_group.h"
#include "esc/wire/api/list_groups.h"
#include "esc/wire/api/offset_commit.h"
#include "esc/wire/api/offset_delete.h"
#include "esc/wire/api/offset_fetch.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/api/sync_group.h"
#include "esc/wire/record_batch.h"
#include "world.h"

namespace esc::broker::test {
namespace {

using wire::ErrorCode;

constexpr std::string_view kGroup = "readers";

// Subscribed to "orders", as ConsumerProtocolSubscription v0.
const std::vector<std::byte>& subscription() {
  static const std::vector<std::byte> kBytes = [] {
    std::vector<std::byte> bytes;
    for (const int byte : {0, 0, 0, 0, 0, 1, 0, 6}) bytes.push_back(static_cast<std::byte>(byte));
    for (const char letter : std::string_view("orders")) bytes.push_back(static_cast<std::byte>(letter));
    for (int i = 0; i < 4; ++i) bytes.push_back(std::byte{0xff});
    return bytes;
  }();
  return kBytes;
}

wire::JoinGroupResponse join(World& world, std::string_view member) {
  const std::array protocols = {
      wire::JoinGroupRequest::Protocol{.name = "range", .metadata = ByteView(subscription())}};
  wire::JoinGroupRequest request;
  request.group_id = kGroup;
  request.session_timeout_ms = 30'000;
  request.rebalance_timeout_ms = 30'000;
  request.member_id = member;
  request.protocol_type = "consumer";
  request.protocols = protocols;
  return world.call<wire::JoinGroupResponse>(request, 9);
}

wire::SyncGroupResponse sync(World& world, std::string_view member, std::int32_t generation) {
  const std::array assignments = {
      wire::SyncGroupRequest::Assignment{.member_id = member, .assignment = as_bytes("all of it")}};
  wire::SyncGroupRequest request;
  request.group_id = kGroup;
  request.generation_id = generation;
  request.member_id = member;
  request.protocol_type = "consumer";
  request.protocol_name = "range";
  request.assignments = assignments;
  return world.call<wire::SyncGroupResponse>(request, 5);
}

// The only member of a stable group.
std::string join_alone(World& world) {
  const auto first = join(world, "");
  EXPECT_EQ(first.error_code, ErrorCode::member_id_required);
  const std::string id(first.member_id);
  const auto joined = join(world, id);
  EXPECT_EQ(joined.error_code, ErrorCode::none);
  EXPECT_EQ(joined.generation_id, 1);
  EXPECT_EQ(joined.leader, id);
  const auto synced = sync(world, id, 1);
  EXPECT_EQ(synced.error_code, ErrorCode::none);
  EXPECT_EQ(as_text(synced.assignment), "all of it");
  return id;
}

ErrorCode heartbeat(World& world, std::string_view member, std::int32_t generation) {
  wire::HeartbeatRequest request;
  request.group_id = kGroup;
  request.generation_id = generation;
  request.member_id = member;
  return world.call<wire::HeartbeatResponse>(request, 4).error_code;
}

ErrorCode leave(World& world, std::string_view member) {
  const std::array members = {wire::LeaveGroupRequest::Member{.member_id = member}};
  wire::LeaveGroupRequest request;
  request.group_id = kGroup;
  request.members = members;
  const auto answer = world.call<wire::LeaveGroupResponse>(request, 5);
  if (answer.error_code != ErrorCode::none) return answer.error_code;
  return answer.members[0].error_code;
}

struct Commit {
  std::string_view topic = "orders";
  std::int32_t partition = 0;
  std::int64_t offset = 0;
  std::string_view metadata{};
  std::string_view member{};
  std::int32_t generation = -1;
};

ErrorCode commit(World& world, const Commit& commit) {
  const std::array partitions = {wire::OffsetCommitRequest::Partition{.partition_index = commit.partition,
                                                                      .committed_offset = commit.offset,
                                                                      .committed_metadata = commit.metadata}};
  const std::array topics = {
      wire::OffsetCommitRequest::Topic{.name = commit.topic, .partitions = partitions}};
  wire::OffsetCommitRequest request;
  request.group_id = kGroup;
  request.generation_id_or_member_epoch = commit.generation;
  request.member_id = commit.member;
  request.topics = topics;
  return world.call<wire::OffsetCommitResponse>(request, 8).topics[0].partitions[0].error_code;
}

// Of "orders"; -2: error.
std::int64_t committed(World& world, std::int32_t partition = 0) {
  const std::array indexes = {partition};
  const std::array topics = {
      wire::OffsetFetchRequest::GroupTopic{.name = "orders", .partition_indexes = indexes}};
  const std::array groups = {wire::OffsetFetchRequest::Group{
      .group_id = kGroup, .topics = wire::Array<wire::OffsetFetchRequest::GroupTopic>(topics)}};
  wire::OffsetFetchRequest request;
  request.groups = groups;
  const auto answer = world.call<wire::OffsetFetchResponse>(request, 8);
  if (answer.groups[0].error_code != ErrorCode::none) return -2;
  return answer.groups[0].topics[0].partitions[0].committed_offset;
}

wire::DescribeGroupsResponse::Group describe(World& world) {
  const std::array groups = {wire::String(kGroup)};
  wire::DescribeGroupsRequest request;
  request.groups = groups;
  return world.call<wire::DescribeGroupsResponse>(request, 5).groups[0];
}

ErrorCode remove(World& world) {
  const std::array groups = {wire::String(kGroup)};
  wire::DeleteGroupsRequest request;
  request.groups_names = groups;
  return world.call<wire::DeleteGroupsResponse>(request, 2).results[0].error_code;
}

// Of the first topic and of the group.
struct Forgotten {
  ErrorCode group;
  ErrorCode partition;
};
Forgotten forget(World& world, std::string_view topic) {
  const std::array partitions = {wire::OffsetDeleteRequest::Partition{.partition_index = 0}};
  const std::array topics = {wire::OffsetDeleteRequest::Topic{.name = topic, .partitions = partitions}};
  wire::OffsetDeleteRequest request;
  request.group_id = kGroup;
  request.topics = topics;
  const auto answer = world.call<wire::OffsetDeleteResponse>(request, 0);
  const bool found = !answer.topics.empty();
  return {answer.error_code, found ? answer.topics[0].partitions[0].error_code : ErrorCode::none};
}

std::vector<std::string> list(World& world, std::string_view state = {}) {
  const std::array states = {wire::String(state)};
  wire::ListGroupsRequest request;
  if (!state.empty()) request.states_filter = states;
  const auto answer = world.call<wire::ListGroupsResponse>(request, 4);
  EXPECT_EQ(answer.error_code, ErrorCode::none);
  std::vector<std::string> names;
  for (const auto& group : answer.groups) names.emplace_back(group.group_id);
  return names;
}

wire::GroupLagResponse lag(World& world) {
  wire::GroupLagRequest request;
  request.group_id = kGroup;
  return world.call<wire::GroupLagResponse>(request, 0);
}

void produce(World& world, std::size_t records) {
  std::vector<std::byte> buffer(4096);
  wire::BatchBuilder builder(buffer);
  for (std::size_t i = 0; i < records; ++i)
    ASSERT_TRUE(builder.append(world.clock.wall_ms(), {}, wire::NullableBytes(as_bytes("value"))));
  const std::array partitions = {
      wire::ProduceRequest::Partition{.index = 0, .records = wire::NullableBytes(builder.finish())}};
  const std::array topics = {wire::ProduceRequest::Topic{.name = "orders", .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  const auto answer = world.call<wire::ProduceResponse>(request, 9);
  ASSERT_EQ(answer.responses[0].partition_responses[0].error_code, ErrorCode::none);
}

TEST(GroupRequests, of_a_member_from_its_first_join_to_its_leave) {
  World world(1);
  world.lead_with_topic("orders", 2);
  const std::string id = join_alone(world);
  EXPECT_EQ(heartbeat(world, id, 1), ErrorCode::none);
  EXPECT_EQ(heartbeat(world, id, 2), ErrorCode::illegal_generation);
  EXPECT_EQ(heartbeat(world, "stranger", 1), ErrorCode::unknown_member_id);
  const auto stable = describe(world);
  EXPECT_EQ(stable.group_state, "Stable");
  EXPECT_EQ(stable.protocol_data, "range");
  ASSERT_EQ(stable.members.size(), 1u);
  EXPECT_EQ(stable.members[0].member_id, id);
  EXPECT_EQ(as_text(stable.members[0].member_assignment), "all of it");
  EXPECT_EQ(stable.members[0].member_metadata.size(), subscription().size());
  EXPECT_EQ(remove(world), ErrorCode::non_empty_group);
  EXPECT_EQ(leave(world, "stranger"), ErrorCode::unknown_member_id);
  EXPECT_EQ(leave(world, id), ErrorCode::none);
  EXPECT_EQ(describe(world).group_state, "Empty");
  EXPECT_EQ(remove(world), ErrorCode::none);
  EXPECT_EQ(describe(world).group_state, "Dead");
  EXPECT_EQ(remove(world), ErrorCode::group_id_not_found);
}

TEST(GroupRequests, offsets_are_of_partitions_that_exist_and_of_the_present_generation) {
  World world(1);
  world.lead_with_topic("orders", 2);
  EXPECT_EQ(committed(world), -1) << "no group yet";
  EXPECT_EQ(commit(world, {.offset = 7}), ErrorCode::none);
  EXPECT_EQ(committed(world), 7);
  EXPECT_EQ(committed(world, 1), -1);
  EXPECT_EQ(commit(world, {.topic = "nowhere"}), ErrorCode::unknown_topic_or_partition);
  EXPECT_EQ(commit(world, {.partition = 2}), ErrorCode::unknown_topic_or_partition);
  EXPECT_EQ(commit(world, {.offset = 8, .metadata = std::string(4097, 'x')}),
            ErrorCode::offset_metadata_too_large);
  const std::string id = join_alone(world);
  EXPECT_EQ(commit(world, {.offset = 9}), ErrorCode::unknown_member_id) << "it has members now";
  EXPECT_EQ(commit(world, {.offset = 9, .member = id, .generation = 0}), ErrorCode::illegal_generation);
  EXPECT_EQ(committed(world), 7);
  EXPECT_EQ(commit(world, {.offset = 9, .member = id, .generation = 1}), ErrorCode::none);
  EXPECT_EQ(committed(world), 9);
}

TEST(GroupRequests, offset_fetch_without_topics_tells_all_that_the_group_has) {
  World world(1);
  world.lead_with_topic("orders", 2);
  ASSERT_EQ(commit(world, {.partition = 1, .offset = 5, .metadata = "mark"}), ErrorCode::none);
  wire::OffsetFetchRequest request;
  request.group_id = kGroup;
  const auto answer = world.call<wire::OffsetFetchResponse>(request, 7);
  EXPECT_EQ(answer.error_code, ErrorCode::none);
  ASSERT_EQ(answer.topics.size(), 1u);
  EXPECT_EQ(answer.topics[0].name, "orders");
  ASSERT_EQ(answer.topics[0].partitions.size(), 1u);
  EXPECT_EQ(answer.topics[0].partitions[0].partition_index, 1);
  EXPECT_EQ(answer.topics[0].partitions[0].committed_offset, 5);
  EXPECT_EQ(answer.topics[0].partitions[0].metadata, "mark");
  const std::array groups = {wire::OffsetFetchRequest::Group{.group_id = "others"},
                             wire::OffsetFetchRequest::Group{.group_id = kGroup},
                             wire::OffsetFetchRequest::Group{}};
  wire::OffsetFetchRequest several;
  several.groups = groups;
  const auto all = world.call<wire::OffsetFetchResponse>(several, 8);
  ASSERT_EQ(all.groups.size(), 3u);
  EXPECT_TRUE(all.groups[0].topics.empty());
  EXPECT_EQ(all.groups[1].topics[0].partitions[0].committed_offset, 5);
  EXPECT_EQ(all.groups[2].error_code, ErrorCode::invalid_group_id);
}

TEST(GroupRequests, offsets_of_a_topic_that_was_created_anew_are_not_those_of_the_old_one) {
  World world(1);
  world.lead_with_topic("orders", 2);
  ASSERT_EQ(commit(world, {.offset = 7}), ErrorCode::none);
  world.apply_deletion("orders");
  world.apply_topic("orders", {9});
  EXPECT_EQ(committed(world), -1);
}

TEST(GroupRequests, offsets_are_deleted_unless_a_member_reads_the_topic) {
  World world(1);
  world.lead_with_topic("orders", 2);
  EXPECT_EQ(forget(world, "orders").group, ErrorCode::group_id_not_found);
  const std::string id = join_alone(world);
  ASSERT_EQ(commit(world, {.offset = 3, .member = id, .generation = 1}), ErrorCode::none);
  EXPECT_EQ(forget(world, "orders").partition, ErrorCode::group_subscribed_to_topic);
  EXPECT_EQ(committed(world), 3);
  ASSERT_EQ(leave(world, id), ErrorCode::none);
  EXPECT_EQ(forget(world, "orders").partition, ErrorCode::none);
  EXPECT_EQ(committed(world), -1);
}

TEST(GroupRequests, a_list_has_the_groups_of_all_raft_groups_by_state) {
  World world(1);
  world.lead_with_topic("orders", 2);
  EXPECT_TRUE(list(world).empty());
  ASSERT_EQ(commit(world, {}), ErrorCode::none);
  EXPECT_EQ(list(world), std::vector<std::string>{std::string(kGroup)});
  EXPECT_EQ(list(world, "Empty").size(), 1u);
  EXPECT_TRUE(list(world, "Stable").empty());
}

TEST(GroupRequests, the_lag_is_what_was_produced_and_not_committed) {
  World world(1);
  world.lead_with_topic("orders", 2);
  EXPECT_EQ(lag(world).group_state, "Dead");
  produce(world, 5);
  ASSERT_EQ(commit(world, {.offset = 2}), ErrorCode::none);
  world.turn_for(2 * kSecond);
  const auto behind = lag(world);
  EXPECT_EQ(behind.group_state, "Empty");
  ASSERT_EQ(behind.partitions.size(), 1u);
  EXPECT_EQ(behind.partitions[0].lag_events, 3);
  EXPECT_EQ(behind.partitions[0].log_end_offset, 5);
  EXPECT_GE(behind.partitions[0].lag_ms, 2000);
  ASSERT_EQ(commit(world, {.offset = 5}), ErrorCode::none);
  const auto done = lag(world);
  EXPECT_EQ(done.partitions[0].lag_events, 0);
  EXPECT_EQ(done.partitions[0].lag_ms, 0);
}

TEST(GroupRequests, a_node_that_does_not_lead_says_where_the_group_is_not) {
  World world(3);
  world.apply_topic("orders", {1});
  EXPECT_EQ(join(world, "").error_code, ErrorCode::not_coordinator);
  EXPECT_EQ(sync(world, "m", 1).error_code, ErrorCode::not_coordinator);
  EXPECT_EQ(heartbeat(world, "m", 1), ErrorCode::not_coordinator);
  EXPECT_EQ(leave(world, "m"), ErrorCode::not_coordinator);
  EXPECT_EQ(commit(world, {}), ErrorCode::not_coordinator);
  EXPECT_EQ(commit(world, {.topic = "nowhere"}), ErrorCode::not_coordinator)
      << "who coordinates it may know the topic";
  EXPECT_EQ(committed(world), -2);
  EXPECT_EQ(describe(world).error_code, ErrorCode::not_coordinator);
  EXPECT_EQ(remove(world), ErrorCode::not_coordinator);
  EXPECT_EQ(forget(world, "orders").group, ErrorCode::not_coordinator);
  EXPECT_EQ(lag(world).error_code, ErrorCode::not_coordinator);
  EXPECT_TRUE(list(world).empty());
}

TEST(GroupMetrics, count_groups_by_state_members_rebalances_and_commits) {
  World world(1);
  world.lead_with_topic("orders", 2);
  const auto has = [&](const std::string& line) {
    std::string text;
    world.registry.write_prometheus(text);
    return text.find(line + "\n") != std::string::npos;
  };
  ASSERT_EQ(commit(world, {.offset = 1}), ErrorCode::none);
  world.turn_for(1100 * kMillisecond);
  EXPECT_TRUE(has("esc_consumer_groups{state=\"Empty\"} 1"));
  EXPECT_TRUE(has("esc_consumer_groups{state=\"Stable\"} 0"));
  EXPECT_TRUE(has("esc_offset_commits_total 1"));
  const std::string id = join_alone(world);
  ASSERT_EQ(commit(world, {.offset = 2, .member = id, .generation = 1}), ErrorCode::none);
  world.turn_for(1100 * kMillisecond);
  EXPECT_TRUE(has("esc_consumer_groups{state=\"Empty\"} 0"));
  EXPECT_TRUE(has("esc_consumer_groups{state=\"Stable\"} 1"));
  EXPECT_TRUE(has("esc_consumer_group_members 1"));
  EXPECT_TRUE(has("esc_consumer_group_rebalances_total 1"));
  EXPECT_TRUE(has("esc_offset_commits_total 2"));
  EXPECT_TRUE(has("esc_offsets_committed_total 2"));
  world.turn_for(32 * kSecond);
  EXPECT_TRUE(has("esc_consumer_group_members_expired_total 1"));
  EXPECT_TRUE(has("esc_consumer_group_members 0"));
}

TEST(GroupMetrics, tell_the_lag_of_each_partition_in_events_and_seconds_until_it_is_not_known) {
  World world(1);
  world.lead_with_topic("orders", 2);
  const auto value = [&](const std::string& name) {
    std::string text;
    world.registry.write_prometheus(text);
    const std::string series = name + "{group=\"readers\",topic=\"orders\",partition=\"0\"} ";
    const std::size_t at = text.find(series);
    return at == std::string::npos ? -99 : std::stol(text.substr(at + series.size()));
  };
  produce(world, 5);
  EXPECT_EQ(value("esc_consumer_group_lag_events"), -99) << "nobody has committed anything";
  ASSERT_EQ(commit(world, {.offset = 2}), ErrorCode::none);
  world.turn_for(25 * kSecond);
  EXPECT_EQ(value("esc_consumer_group_lag_events"), 3);
  EXPECT_GE(value("esc_consumer_group_lag_seconds"), 10);
  ASSERT_EQ(commit(world, {.offset = 5}), ErrorCode::none);
  world.turn_for(11 * kSecond);
  EXPECT_EQ(value("esc_consumer_group_lag_events"), 0);
  EXPECT_EQ(value("esc_consumer_group_lag_seconds"), 0);
  ASSERT_EQ(remove(world), ErrorCode::none);
  world.turn_for(11 * kSecond);
  EXPECT_EQ(value("esc_consumer_group_lag_events"), -99) << "the group is gone, its series is not shown";
  EXPECT_EQ(value("esc_consumer_group_lag_seconds"), -99);
}

}  // namespace
}  // namespace esc::broker::test
