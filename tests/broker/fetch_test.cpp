// Reading from segment files: several partitions with one Fetch each get their own records, and whoever meets
// damage reports it.
#include <algorithm>
#include <array>
#include <cstring>
#include <string>

#include "esc/wire/api/fetch.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/record_batch.h"
#include "world.h"

namespace esc::broker::test {
namespace {

constexpr std::int32_t kPartitions = 4;
constexpr std::int64_t kBatches = 320;  // of each partition: more than the memory of a group holds of two
constexpr std::size_t kValueBytes = 10'000;

// One record, which says where it belongs.
std::vector<std::byte> record_of(std::int32_t partition, std::int64_t offset) {
  std::vector<std::byte> value(kValueBytes, std::byte{'.'});
  const std::string text = std::to_string(partition) + "/" + std::to_string(offset) + " ";
  std::memcpy(value.data(), text.data(), text.size());
  return value;
}

void produce(World& world, std::int32_t partition, std::int64_t offset) {
  std::vector<std::byte> buffer(kValueBytes + 1024);
  wire::BatchBuilder builder(buffer);
  const std::vector<std::byte> value = record_of(partition, offset);
  ASSERT_TRUE(builder.append(world.clock.wall_ms(), {}, ByteView(value)));
  const ByteView batch = builder.finish();
  const std::array partitions = {
      wire::ProduceRequest::Partition{.index = partition, .records = wire::NullableBytes(batch)}};
  const std::array topics = {wire::ProduceRequest::Topic{.name = "orders", .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  const auto answer = world.call<wire::ProduceResponse>(request, 9);
  const auto& result = answer.responses[0].partition_responses[0];
  ASSERT_EQ(result.error_code, wire::ErrorCode::none);
  ASSERT_EQ(result.base_offset, offset);
  world.requests.clear();
}

// Asks for all partitions at once and returns how many records each gave.
std::array<std::int64_t, kPartitions> fetch(World& world, std::int64_t offset, std::int32_t partition_bytes) {
  std::array<wire::FetchRequest::Partition, kPartitions> partitions;
  for (std::int32_t i = 0; i < kPartitions; ++i) {
    partitions[static_cast<std::size_t>(i)] = {
        .partition = i, .fetch_offset = offset, .partition_max_bytes = partition_bytes};
  }
  const std::array topics = {wire::FetchRequest::Topic{.topic = "orders", .partitions = partitions}};
  wire::FetchRequest request;
  request.max_bytes = 1 << 20;
  request.topics = topics;
  const auto answer = world.call<wire::FetchResponse>(request, 12);
  std::array<std::int64_t, kPartitions> counts{};
  for (const auto& part : answer.responses[0].partitions) {
    EXPECT_EQ(part.error_code, wire::ErrorCode::none);
    std::int64_t& count = counts[static_cast<std::size_t>(part.partition_index)];
    wire::BatchIterator batches(part.records.bytes);
    while (const auto batch = batches.next()) {
      EXPECT_TRUE(batch->crc_valid());
      EXPECT_EQ(batch->base_offset(), offset + count);
      const auto record = wire::RecordIterator(batch->payload(), 1).next();
      EXPECT_TRUE(record && record->value);
      const std::vector<std::byte> expected = record_of(part.partition_index, offset + count);
      EXPECT_TRUE(record && record->value && std::ranges::equal(*record->value, expected))
          << "partition " << part.partition_index << " offset " << offset + count;
      ++count;
    }
  }
  return counts;
}

class Fetch : public testing::Test {
 protected:
  void SetUp() override {
    world.lead_with_topic("orders", kPartitions);
    for (std::int64_t offset = 0; offset < kBatches; ++offset) {
      for (std::int32_t partition = 0; partition < kPartitions; ++partition)
        ASSERT_NO_FATAL_FAILURE(produce(world, partition, offset));
    }
  }
  World world{1};
};

// The index of a segment knows every third of these batches, or fewer. A reader that comes to an offset for
// the first time begins to read before it, so that what it is given does not begin where its memory begins.
TEST_F(Fetch, several_partitions_from_the_files_each_get_their_own_records) {
  for (const std::int64_t offset : {7, 8, 9, 10, 11, 12, 50, 99}) {
    for (const std::int64_t count : fetch(world, offset, 64 * kKiB)) EXPECT_GT(count, 0) << offset;
  }
  EXPECT_GT(world.resources->stats().position_misses, 0u) << "every place in the files was known";
}

TEST_F(Fetch, no_partition_takes_more_from_the_files_than_it_is_allowed) {
  for (const std::int64_t count : fetch(world, 20, 4 * (kValueBytes + kKiB))) {
    EXPECT_GT(count, 0);
    EXPECT_LE(count, 4);
  }
}

TEST_F(Fetch, the_first_batch_of_the_first_partition_comes_over_all_limits) {
  for (const std::int64_t offset : {std::int64_t{20}, kBatches - 1}) {  // in the files, in memory
    for (const std::int32_t limit : {1, 100, 5'000}) {
      const auto counts = fetch(world, offset, limit);
      EXPECT_EQ(counts, (std::array<std::int64_t, kPartitions>{1, 0, 0, 0})) << offset << " limit " << limit;
    }
  }
}

// --- damage --------------------------------------------------------------------------------------------

class DamagedFiles : public Fetch {
 protected:
  // Every batch of the first segment of orders-0.
  void SetUp() override {
    ASSERT_NO_FATAL_FAILURE(Fetch::SetUp());
    const auto& home = world.broker->directory().find("orders")->topic->partitions[0];
    owner = world.groups[home.group.value()].get();
    const std::string parent = "/group-" + std::to_string(home.group.value()) + "/partitions";
    const auto partitions = world.files.list(parent);
    ASSERT_TRUE(partitions);
    for (const auto& directory : *partitions) {
      if (!directory.name.ends_with("-orders-0")) continue;
      const std::string path = parent + "/" + directory.name + "/00000000000000000000.log";
      const auto bytes = io::read_whole_file(world.files, path, 64 * kMiB);
      ASSERT_TRUE(bytes);
      for (std::size_t at = kValueBytes / 2; at < bytes->size(); at += kValueBytes / 2)
        world.fs.corrupt(path, at, 1);
      return;
    }
    FAIL() << "orders-0 has no directory";
  }
  replica::Group* owner = nullptr;
};

TEST_F(DamagedFiles, are_not_served_and_reported_by_a_fetch) {
  const std::array partitions = {
      wire::FetchRequest::Partition{.partition = 0, .fetch_offset = 5, .partition_max_bytes = 1 << 20}};
  const std::array topics = {wire::FetchRequest::Topic{.topic = "orders", .partitions = partitions}};
  wire::FetchRequest request;
  request.max_bytes = 1 << 20;
  request.topics = topics;
  const auto answer = world.call<wire::FetchResponse>(request, 12);
  EXPECT_EQ(answer.responses[0].partitions[0].error_code, wire::ErrorCode::kafka_storage_error);
  EXPECT_TRUE(answer.responses[0].partitions[0].records.bytes.empty());
  EXPECT_EQ(owner->stats().damage_found, 1u);
}

TEST_F(DamagedFiles, are_reported_by_a_lookup_by_time) {
  const std::array partitions = {wire::ListOffsetsRequest::Partition{.partition_index = 0, .timestamp = 1}};
  const std::array topics = {wire::ListOffsetsRequest::Topic{.name = "orders", .partitions = partitions}};
  wire::ListOffsetsRequest request;
  request.topics = topics;
  const auto answer = world.call<wire::ListOffsetsResponse>(request, 7);
  EXPECT_EQ(answer.topics[0].partitions[0].error_code, wire::ErrorCode::kafka_storage_error);
  EXPECT_EQ(owner->stats().damage_found, 1u);
}

}  // namespace
}  // namespace esc::broker::test
