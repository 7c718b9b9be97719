// Idempotent producers as a client sees them.
#include <set>

#include "esc/wire/api/init_producer_id.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/record_batch.h"
#include "world.h"

namespace esc::broker::test {
namespace {

using wire::ErrorCode;
using Init = wire::InitProducerIdResponse;

Init init(World& world, std::optional<std::string_view> transactional = std::nullopt,
          std::int16_t version = 4) {
  wire::InitProducerIdRequest request;
  if (transactional) request.transactional_id = *transactional;
  return world.call<Init>(request, version);
}

std::vector<std::byte> batch_of(std::int64_t producer, std::int16_t epoch, std::int32_t sequence,
                                int records = 2) {
  std::vector<std::byte> buffer(1024);
  wire::BatchBuilder builder(buffer,
                             {.producer_id = producer, .producer_epoch = epoch, .base_sequence = sequence});
  for (int i = 0; i < records; ++i)
    EXPECT_TRUE(builder.append(1, {}, wire::NullableBytes(as_bytes("value"))));
  buffer.resize(builder.finish().size());
  return buffer;
}

struct Produced {
  ErrorCode code;
  std::int64_t base_offset;
  bool operator==(const Produced&) const = default;
};

Produced produce(World& world, ByteView batch) {
  const std::array partitions = {
      wire::ProduceRequest::Partition{.index = 0, .records = wire::NullableBytes(batch)}};
  const std::array topics = {wire::ProduceRequest::Topic{.name = "orders", .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  const auto answer = world.call<wire::ProduceResponse>(request, 9);
  const auto& partition = answer.responses[0].partition_responses[0];
  return {partition.error_code, partition.base_offset};
}

TEST(InitProducerId, every_producer_gets_an_id_of_its_own_and_epoch_0) {
  World world(1);
  world.lead();
  std::set<std::int64_t> ids;
  for (int i = 0; i < 1100; ++i) {  // more than a block
    const Init answer = init(world, std::nullopt, static_cast<std::int16_t>(i % 5));
    ASSERT_EQ(answer.error_code, ErrorCode::none);
    EXPECT_EQ(answer.producer_epoch, 0);
    EXPECT_TRUE(ids.insert(answer.producer_id).second);
  }
}

TEST(InitProducerId, transactions_are_refused) {
  World world(1);
  world.lead();
  const Init answer = init(world, "payments");
  EXPECT_EQ(answer.error_code, ErrorCode::transactional_id_authorization_failed);
  EXPECT_EQ(answer.producer_id, -1);
}

TEST(InitProducerId, an_id_comes_with_its_epoch_and_the_bumped_one_is_fresh) {
  World world(1);
  world.lead();
  const Init first = init(world);
  wire::InitProducerIdRequest request;
  request.producer_id = first.producer_id;
  EXPECT_EQ(world.call<Init>(request, 3).error_code, ErrorCode::invalid_request);
  request.producer_epoch = 0;
  const Init bumped = world.call<Init>(request, 3);
  EXPECT_EQ(bumped.error_code, ErrorCode::none);
  EXPECT_NE(bumped.producer_id, first.producer_id);
}

TEST(InitProducerId, without_any_leader_the_client_is_told_to_come_again) {
  World world(3);
  EXPECT_EQ(init(world).error_code, ErrorCode::coordinator_load_in_progress);
}

TEST(Idempotence, a_repeated_batch_is_answered_with_the_original_offset_and_stored_once) {
  World world(1);
  world.lead_with_topic("orders", 1);
  EXPECT_EQ(produce(world, batch_of(7, 0, 0)), (Produced{ErrorCode::none, 0}));
  EXPECT_EQ(produce(world, batch_of(7, 0, 2)), (Produced{ErrorCode::none, 2}));
  EXPECT_EQ(produce(world, batch_of(7, 0, 0)), (Produced{ErrorCode::none, 0}));
  EXPECT_EQ(produce(world, batch_of(7, 0, 2)), (Produced{ErrorCode::none, 2}));
  EXPECT_EQ(produce(world, batch_of(8, 0, 0)), (Produced{ErrorCode::none, 4})) << "another producer";
}

TEST(Idempotence, a_repeated_batch_waits_for_the_original) {
  World world(1);
  world.lead_with_topic("orders", 1);
  replica::Group& group =
      *world.groups[world.broker->directory().find("orders")->topic->partitions[0].group.value()];
  replica::Partition& partition = *group.partitions().front();
  const auto original = group.append_batch(partition, batch_of(7, 0, 0));
  const auto repeated = group.append_batch(partition, batch_of(7, 0, 0));
  ASSERT_TRUE(original.has_value() && repeated.has_value());
  EXPECT_TRUE(repeated->duplicate);
  EXPECT_EQ(repeated->index, original->index);
  EXPECT_LT(group.commit_index(), original->index);
  EXPECT_EQ(produce(world, batch_of(7, 0, 0)), (Produced{ErrorCode::none, 0}));
  EXPECT_GE(group.commit_index(), original->index);
}

TEST(Idempotence, gaps_and_epochs_are_answered_as_kafka_does) {
  World world(1);
  world.lead_with_topic("orders", 1);
  EXPECT_EQ(produce(world, batch_of(7, 1, 30)).code, ErrorCode::none) << "unknown: may begin anywhere";
  EXPECT_EQ(produce(world, batch_of(7, 1, 33)).code, ErrorCode::out_of_order_sequence_number);
  EXPECT_EQ(produce(world, batch_of(7, 0, 32)).code, ErrorCode::invalid_producer_epoch);
  EXPECT_EQ(produce(world, batch_of(7, 2, 32)).code, ErrorCode::out_of_order_sequence_number);
  EXPECT_EQ(produce(world, batch_of(7, 2, 0)).code, ErrorCode::none);
  EXPECT_EQ(produce(world, batch_of(7, 1, 32)).code, ErrorCode::invalid_producer_epoch);
  EXPECT_EQ(produce(world, batch_of(9, -1, 0)).code, ErrorCode::invalid_record);
  EXPECT_EQ(produce(world, batch_of(9, 0, -1)).code, ErrorCode::invalid_record);
}

TEST(Idempotence, sequences_wrap) {
  World world(1);
  world.lead_with_topic("orders", 1);
  EXPECT_EQ(produce(world, batch_of(7, 0, 2'147'483'646)), (Produced{ErrorCode::none, 0}));
  EXPECT_EQ(produce(world, batch_of(7, 0, 1)).code, ErrorCode::out_of_order_sequence_number);
  EXPECT_EQ(produce(world, batch_of(7, 0, 0)), (Produced{ErrorCode::none, 2}));
}

}  // namespace
}  // namespace esc::broker::test
