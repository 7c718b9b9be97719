// Administration of topics that exist: configuration, deleting records, ends of leader epochs.
#include "esc/wire/api/alter_configs.h"
#include "esc/wire/api/delete_records.h"
#include "esc/wire/api/describe_configs.h"
#include "esc/wire/api/describe_log_dirs.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/incremental_alter_configs.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/offset_for_leader_epoch.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/record_batch.h"
#include "world.h"

namespace esc::broker::test {
namespace {

using wire::ErrorCode;
using Alter = wire::IncrementalAlterConfigsRequest;
constexpr std::int8_t kSet = 0;
constexpr std::int8_t kDelete = 1;
constexpr std::int8_t kAppend = 2;
constexpr std::int8_t kSubtract = 3;

struct Answer {
  ErrorCode code;
  std::string message;
};

Answer alter(World& world, std::int8_t operation, std::string_view key, wire::NullableString value,
             std::string_view topic = "orders", bool validate_only = false) {
  const std::array configs = {
      Alter::Resource::Config{.name = key, .config_operation = operation, .value = value}};
  const std::array resources = {
      Alter::Resource{.resource_type = 2, .resource_name = topic, .configs = configs}};
  Alter request;
  request.resources = resources;
  request.validate_only = validate_only;
  const auto answer = world.call<wire::IncrementalAlterConfigsResponse>(request, 1);
  return {answer.responses[0].error_code, std::string(answer.responses[0].error_message.value_or(""))};
}

std::string value_of(World& world, std::string_view key) {
  const std::array keys = {wire::String(key)};
  const std::array resources = {wire::DescribeConfigsRequest::Resource{
      .resource_type = 2, .resource_name = "orders", .configuration_keys = wire::Array<wire::String>(keys)}};
  wire::DescribeConfigsRequest request;
  request.resources = resources;
  const auto answer = world.call<wire::DescribeConfigsResponse>(request, 4);
  return std::string(answer.results[0].configs[0].value.value_or("null"));
}

wire::ProduceResponse::Partition produce(World& world, std::size_t value_bytes = 10) {
  std::vector<std::byte> buffer(value_bytes + 1024);
  const std::vector<std::byte> value(value_bytes);
  wire::BatchBuilder builder(buffer);
  EXPECT_TRUE(builder.append(1234, {}, wire::NullableBytes(ByteView(value))));
  const std::array partitions = {
      wire::ProduceRequest::Partition{.index = 0, .records = wire::NullableBytes(builder.finish())}};
  const std::array topics = {wire::ProduceRequest::Topic{.name = "orders", .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  return world.call<wire::ProduceResponse>(request, 9).responses[0].partition_responses[0];
}

TEST(AlterConfigs, a_change_holds_at_once_and_its_deletion_brings_back_the_default) {
  World world(1);
  world.lead_with_topic("orders", 1);
  EXPECT_EQ(alter(world, kSet, "retention.ms", "60000").code, ErrorCode::none);
  EXPECT_EQ(value_of(world, "retention.ms"), "60000");
  const auto& assignment = world.broker->directory().find("orders")->topic->partitions[0];
  EXPECT_EQ(world.groups[assignment.group.value()]->find(assignment.id)->retention().ms, 60000);
  EXPECT_EQ(alter(world, kSet, "max.message.bytes", "2048").code, ErrorCode::none);
  EXPECT_EQ(value_of(world, "retention.ms"), "60000") << "the other key stays";
  EXPECT_EQ(produce(world, 4000).error_code, ErrorCode::message_too_large);
  EXPECT_EQ(alter(world, kDelete, "max.message.bytes", std::nullopt).code, ErrorCode::none);
  EXPECT_EQ(produce(world, 4000).error_code, ErrorCode::none);
}

TEST(AlterConfigs, what_is_not_supported_is_refused_by_name_and_changes_nothing) {
  World world(1);
  world.lead_with_topic("orders", 1);
  const Answer unknown = alter(world, kSet, "flush.messages", "1");
  EXPECT_EQ(unknown.code, ErrorCode::invalid_config);
  EXPECT_NE(unknown.message.find("flush.messages"), std::string::npos);
  EXPECT_EQ(alter(world, kDelete, "flush.messages", std::nullopt).code, ErrorCode::invalid_config);
  EXPECT_EQ(alter(world, 4, "cleanup.policy", "delete").code, ErrorCode::invalid_request);
  EXPECT_EQ(alter(world, kSet, "segment.jitter.ms", "1").code, ErrorCode::invalid_config);
  EXPECT_EQ(alter(world, kSet, "segment.bytes", "1000").code, ErrorCode::invalid_config);
  EXPECT_EQ(alter(world, kSet, "retention.ms", "soon").code, ErrorCode::invalid_config);
  EXPECT_EQ(alter(world, kSet, "retention.ms", "1", "nowhere").code, ErrorCode::unknown_topic_or_partition);
  EXPECT_EQ(alter(world, kSet, "retention.ms", "1", "orders", true).code, ErrorCode::none);
  EXPECT_EQ(value_of(world, "retention.ms"), "604800000") << "that was to be validated only";
}

TEST(AlterConfigs, where_segments_end_is_changed_on_a_topic_that_lives) {
  World world(1);
  world.lead_with_topic("orders", 2);
  const auto rules_of = [&](std::size_t partition) {
    const auto& assignment = world.broker->directory().find("orders")->topic->partitions[partition];
    return world.groups[assignment.group.value()]->find(assignment.id)->log().rolling();
  };
  const auto partition_bytes = rules_of(0).bytes;
  EXPECT_EQ(rules_of(0).ms, 604'800'000);
  EXPECT_EQ(alter(world, kSet, "segment.bytes", "16384").code, ErrorCode::none);
  EXPECT_EQ(alter(world, kSet, "segment.ms", "60000").code, ErrorCode::none);
  EXPECT_EQ(value_of(world, "segment.bytes"), "16384");
  for (const std::size_t partition : {0U, 1U})
    EXPECT_EQ(rules_of(partition), (store::RollRules{.bytes = 16384, .ms = 60000})) << "when it is answered";
  EXPECT_EQ(alter(world, kSet, "cleanup.policy", "compact").code, ErrorCode::none);
  EXPECT_EQ(alter(world, kSet, "max.compaction.lag.ms", "5000").code, ErrorCode::none);
  EXPECT_EQ(rules_of(1).ms, 5000) << "what must be compacted must be sealed";
  EXPECT_EQ(alter(world, kSet, "min.compaction.lag.ms", "6000").code, ErrorCode::invalid_config);
  EXPECT_EQ(alter(world, kDelete, "segment.bytes", std::nullopt).code, ErrorCode::none);
  EXPECT_EQ(rules_of(0).bytes, partition_bytes) << "the default";
}

TEST(AlterConfigs, words_of_a_list_are_appended_and_subtracted) {
  World world(1);
  world.lead_with_topic("orders", 1);
  const auto policy = [&] { return value_of(world, "cleanup.policy"); };
  EXPECT_EQ(alter(world, kAppend, "cleanup.policy", "compact").code, ErrorCode::none);
  EXPECT_EQ(policy(), "compact,delete") << "the default counts as what is there";
  EXPECT_EQ(alter(world, kAppend, "cleanup.policy", "compact").code, ErrorCode::none)
      << "it is there already";
  EXPECT_EQ(alter(world, kSubtract, "cleanup.policy", "delete").code, ErrorCode::none);
  EXPECT_EQ(policy(), "compact");
  EXPECT_EQ(alter(world, kSubtract, "cleanup.policy", "delete").code, ErrorCode::none) << "it is not there";
  const Answer nothing_left = alter(world, kSubtract, "cleanup.policy", "compact");
  EXPECT_EQ(nothing_left.code, ErrorCode::invalid_config);
  EXPECT_NE(nothing_left.message.find("cleanup.policy"), std::string::npos);
  EXPECT_EQ(alter(world, kAppend, "cleanup.policy", "shred").code, ErrorCode::invalid_config);
  EXPECT_EQ(policy(), "compact");
  const Answer number = alter(world, kAppend, "retention.ms", "1");
  EXPECT_EQ(number.code, ErrorCode::invalid_config);
  EXPECT_NE(number.message.find("retention.ms"), std::string::npos);
  EXPECT_NE(number.message.find("not a list"), std::string::npos);
  EXPECT_EQ(alter(world, kSubtract, "compression.type", "producer").code, ErrorCode::invalid_config);
}

TEST(AlterConfigs, a_key_that_is_named_twice_is_refused) {
  World world(1);
  world.lead_with_topic("orders", 1);
  const std::array configs = {
      Alter::Resource::Config{.name = "cleanup.policy", .config_operation = kSubtract, .value = "delete"},
      Alter::Resource::Config{.name = "cleanup.policy", .config_operation = kAppend, .value = "compact"}};
  const std::array resources = {
      Alter::Resource{.resource_type = 2, .resource_name = "orders", .configs = configs}};
  Alter request;
  request.resources = resources;
  const auto answer = world.call<wire::IncrementalAlterConfigsResponse>(request, 1);
  EXPECT_EQ(answer.responses[0].error_code, ErrorCode::invalid_request);
  EXPECT_EQ(value_of(world, "cleanup.policy"), "delete");
}

TEST(AlterConfigs, the_old_api_replaces_everything_and_knows_no_nodes) {
  World world(1);
  world.lead_with_topic("orders", 1);
  ASSERT_EQ(alter(world, kSet, "retention.ms", "60000").code, ErrorCode::none);
  using Request = wire::AlterConfigsRequest;
  const std::array configs = {Request::Resource::Config{.name = "retention.bytes", .value = "1000"}};
  const std::array resources = {
      Request::Resource{.resource_type = 2, .resource_name = "orders", .configs = configs},
      Request::Resource{.resource_type = 4, .resource_name = "1", .configs = configs}};
  Request request;
  request.resources = resources;
  const auto answer = world.call<wire::AlterConfigsResponse>(request, 2);
  ASSERT_EQ(answer.responses.size(), 2u);
  EXPECT_EQ(answer.responses[0].error_code, ErrorCode::none);
  EXPECT_EQ(answer.responses[1].error_code, ErrorCode::invalid_request);
  EXPECT_EQ(value_of(world, "retention.bytes"), "1000");
  EXPECT_EQ(value_of(world, "retention.ms"), "604800000");
}

TEST(LogAppendTime, stamps_records_anew_and_tells_the_producer) {
  World world(1);
  world.lead_with_topic("orders", 1);
  EXPECT_EQ(produce(world).log_append_time_ms, -1);
  ASSERT_EQ(alter(world, kSet, "message.timestamp.type", "LogAppendTime").code, ErrorCode::none);
  const auto answer = produce(world);
  EXPECT_EQ(answer.error_code, ErrorCode::none);
  EXPECT_GT(answer.log_append_time_ms, 1234);
  const std::array partitions = {wire::FetchRequest::Partition{
      .partition = 0, .fetch_offset = answer.base_offset, .partition_max_bytes = 1 << 20}};
  const std::array topics = {wire::FetchRequest::Topic{.topic = "orders", .partitions = partitions}};
  wire::FetchRequest request;
  request.max_bytes = 1 << 20;
  request.topics = topics;
  const auto fetched = world.call<wire::FetchResponse>(request, 11);
  const auto batch = wire::BatchView::parse(fetched.responses[0].partitions[0].records.bytes);
  ASSERT_TRUE(batch.has_value());
  EXPECT_TRUE(batch->log_append_time());
  EXPECT_TRUE(batch->crc_valid());
  EXPECT_EQ(batch->max_timestamp(), answer.log_append_time_ms);
}

wire::DeleteRecordsResponse::Partition delete_records(World& world, std::int64_t offset,
                                                      std::int32_t partition = 0) {
  const std::array partitions = {
      wire::DeleteRecordsRequest::Partition{.partition_index = partition, .offset = offset}};
  const std::array topics = {wire::DeleteRecordsRequest::Topic{.name = "orders", .partitions = partitions}};
  wire::DeleteRecordsRequest request;
  request.topics = topics;
  request.timeout_ms = 1000;
  return world.call<wire::DeleteRecordsResponse>(request, 2).topics[0].partitions[0];
}

std::int64_t earliest(World& world) {
  const std::array partitions = {wire::ListOffsetsRequest::Partition{.partition_index = 0, .timestamp = -2}};
  const std::array topics = {wire::ListOffsetsRequest::Topic{.name = "orders", .partitions = partitions}};
  wire::ListOffsetsRequest request;
  request.topics = topics;
  return world.call<wire::ListOffsetsResponse>(request, 7).topics[0].partitions[0].offset;
}

TEST(DeleteRecords, the_log_begins_where_it_was_asked_to) {
  World world(1);
  world.lead_with_topic("orders", 1);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(produce(world).base_offset, i);
  EXPECT_EQ(delete_records(world, 4).low_watermark, 4);
  EXPECT_EQ(earliest(world), 4);
  EXPECT_EQ(delete_records(world, 2).low_watermark, 4) << "it never moves back";
  EXPECT_EQ(delete_records(world, 11).error_code, ErrorCode::offset_out_of_range);
  EXPECT_EQ(delete_records(world, -2).error_code, ErrorCode::offset_out_of_range);
  EXPECT_EQ(delete_records(world, 5, 7).error_code, ErrorCode::unknown_topic_or_partition);
  EXPECT_EQ(delete_records(world, -1).low_watermark, 10);
  EXPECT_EQ(earliest(world), 10);
  EXPECT_EQ(produce(world).base_offset, 10);
}

wire::OffsetForLeaderEpochResponse::Partition end_of(World& world, std::int32_t epoch,
                                                     std::int32_t current = -1) {
  const std::array partitions = {wire::OffsetForLeaderEpochRequest::Partition{
      .partition = 0, .current_leader_epoch = current, .leader_epoch = epoch}};
  const std::array topics = {
      wire::OffsetForLeaderEpochRequest::Topic{.topic = "orders", .partitions = partitions}};
  wire::OffsetForLeaderEpochRequest request;
  request.topics = topics;
  return world.call<wire::OffsetForLeaderEpochResponse>(request, 4).topics[0].partitions[0];
}

TEST(OffsetForLeaderEpoch, tells_where_the_records_of_an_epoch_end) {
  World world(1);
  world.lead_with_topic("orders", 1);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(produce(world).error_code, ErrorCode::none);
  const auto group = world.broker->directory().find("orders")->topic->partitions[0].group;
  const auto epoch = static_cast<std::int32_t>(world.groups[group.value()]->term().value());
  EXPECT_EQ(end_of(world, epoch).end_offset, 3);
  EXPECT_EQ(end_of(world, epoch).leader_epoch, epoch);
  EXPECT_EQ(end_of(world, epoch - 1).end_offset, 0) << "nothing is older";
  EXPECT_EQ(end_of(world, epoch + 1).leader_epoch, -1);
  EXPECT_EQ(end_of(world, epoch, epoch - 1).error_code, ErrorCode::fenced_leader_epoch);
  EXPECT_EQ(end_of(world, epoch, epoch + 1).error_code, ErrorCode::unknown_leader_epoch);
}

TEST(DescribeLogDirs, names_the_partitions_of_this_node_by_group) {
  World world(1);
  world.lead_with_topic("orders", 1);
  ASSERT_EQ(produce(world).error_code, ErrorCode::none);
  const auto group = world.broker->directory().find("orders")->topic->partitions[0].group;
  const auto bytes = [&] {
    const auto answer = world.call<wire::DescribeLogDirsResponse>(wire::DescribeLogDirsRequest{}, 4);
    EXPECT_EQ(answer.results.size(), kGroups);
    const auto& result = answer.results[group.value()];
    EXPECT_EQ(result.topics.size(), 1u);
    EXPECT_EQ(result.topics[0].name, "orders");
    return result.topics[0].partitions[0].partition_size;
  };
  world.turn_for(2 * kSecond);  // until it is in the segment file
  EXPECT_GT(bytes(), 0);
  const std::array<std::int32_t, 1> other = {5};
  const std::array topics = {wire::DescribeLogDirsRequest::Topic{.topic = "orders", .partitions = other}};
  wire::DescribeLogDirsRequest request;
  request.topics = wire::Array<wire::DescribeLogDirsRequest::Topic>(topics);
  const auto answer = world.call<wire::DescribeLogDirsResponse>(request, 1);
  EXPECT_TRUE(answer.results[group.value()].topics.empty());
}

TEST(OffsetForLeaderEpoch, only_the_leader_answers) {
  World world(3);
  world.apply_topic("orders", {1});
  EXPECT_EQ(end_of(world, 0).error_code, ErrorCode::not_leader_or_follower);
}

}  // namespace
}  // namespace esc::broker::test
