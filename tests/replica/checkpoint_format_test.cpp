#include "../../src/replica/checkpoint_format.h"

#include <gtest/gtest.h>

#include <functional>

#include "esc/base/crc32c.h"

namespace esc::replica {
namespace {

Checkpoint example() {
  Checkpoint checkpoint;
  checkpoint.group = GroupId(3);
  checkpoint.applied = Index(77);
  checkpoint.applied_term = Term(4);
  checkpoint.configuration.voters.push_back(NodeId(1));
  checkpoint.configuration.voters.push_back(NodeId(3));
  checkpoint.configuration.learners.push_back(NodeId(4));
  checkpoint.configuration.set_incarnation(NodeId(1), raft::Incarnation(0x0123456789abcdef));
  checkpoint.configuration.set_incarnation(NodeId(4), raft::Incarnation(77));
  checkpoint.installed = true;
  checkpoint.producer_ids = 3000;
  checkpoint.metadata = {std::byte{1}, std::byte{2}};
  CheckpointPartition partition;
  partition.identity.id = PartitionId(9);
  partition.identity.topic = "orders";
  partition.identity.index = 2;
  partition.identity.segment_bytes = 1 << 20;
  partition.state.log_start_offset = Offset(10);
  partition.state.next_offset = Offset(1000);
  partition.identity.segment_ms = 3'600'000;
  partition.state.segments = {{Offset(10), 4096, 3, 1'600'000'000'000}, {Offset(500), 123}};
  partition.state.compacted_until = Offset(480);
  partition.state.tombstones_until = 1'700'000'000'000;
  partition.memory_through = Index(80);
  partition.memory = {std::byte{7}, std::byte{8}, std::byte{9}};
  checkpoint.partitions.push_back(partition);
  return checkpoint;
}

std::vector<std::byte> encoded() {
  std::vector<std::byte> bytes;
  encode_checkpoint(example(), bytes);
  return bytes;
}

TEST(CheckpointFormat, reads_back_what_was_written) {
  const auto decoded = decode_checkpoint(encoded(), "x");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  std::vector<std::byte> again;
  encode_checkpoint(*decoded, again);
  EXPECT_EQ(again, encoded());
  EXPECT_EQ(decoded->partitions[0].state.segments[1].bytes, 123u);
  EXPECT_EQ(decoded->partitions[0].state.segments[0].generation, 3u);
  EXPECT_EQ(decoded->partitions[0].state.segments[0].first_timestamp, 1'600'000'000'000);
  EXPECT_EQ(decoded->partitions[0].identity.segment_ms, 3'600'000);
  EXPECT_EQ(decoded->partitions[0].state.compacted_until, Offset(480));
  EXPECT_EQ(decoded->producer_ids, 3000u);
  EXPECT_EQ(decoded->partitions[0].memory_through, Index(80));
  EXPECT_EQ(decoded->partitions[0].memory, example().partitions[0].memory);
}

// The same without producer ids and memory, and members without incarnations.
std::vector<std::byte> encoded_by_version_2() {
  Checkpoint checkpoint = example();
  checkpoint.producer_ids = 0;
  checkpoint.metadata.clear();
  checkpoint.partitions.clear();
  std::vector<std::byte> bytes;
  encode_checkpoint(checkpoint, bytes);
  bytes.resize(bytes.size() - 4 - 4 - 4 - 8);  // checksum, partitions, metadata, producer ids
  bytes.resize(bytes.size() + 4 + 4);
  // Two voters and a learner: the counts lie at 36 and 64, each member is u32 node, u64 incarnation.
  for (const std::ptrdiff_t at : {72, 56, 44}) bytes.erase(bytes.begin() + at, bytes.begin() + at + 8);
  store_le(bytes.data() + 8, std::uint32_t{2});
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(bytes.size() - 16));
  ByteWriter(bytes).number(crc32c(bytes));
  return bytes;
}

TEST(CheckpointFormat, version_2_is_read_and_remembers_nothing) {
  const auto decoded = decode_checkpoint(encoded_by_version_2(), "x");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->applied, Index(77));
  EXPECT_EQ(decoded->producer_ids, 0u);
}

// An older version's file: `remove` takes out what it does not know. Both segments are 28 bytes each, and lie
// before what goes with the partition: rolling by time (8 bytes), what compaction leaves (16), memory.
std::vector<std::byte> encoded_by(
    std::uint32_t version, const std::function<void(std::vector<std::byte>&, std::ptrdiff_t)>& remove) {
  std::vector<std::byte> bytes = encoded();
  bytes.resize(bytes.size() - 4);
  const std::size_t memory = 8 + 4 + example().partitions[0].memory.size();
  remove(bytes, static_cast<std::ptrdiff_t>(bytes.size() - memory - 16 - 8));
  store_le(bytes.data() + 8, version);
  store_le(bytes.data() + 12, static_cast<std::uint32_t>(bytes.size() - 16));
  ByteWriter(bytes).number(crc32c(bytes));
  return bytes;
}

TEST(CheckpointFormat, version_4_is_read_and_rolls_by_size_alone) {
  const auto bytes = encoded_by(4, [](std::vector<std::byte>& all, std::ptrdiff_t end) {
    all.erase(all.begin() + end - 8, all.begin() + end + 8);
    all.erase(all.begin() + end - 28 - 8, all.begin() + end - 28);
  });
  const auto decoded = decode_checkpoint(bytes, "x");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  const CheckpointPartition& partition = decoded->partitions.at(0);
  EXPECT_EQ(partition.identity.segment_ms, -1);
  ASSERT_EQ(partition.state.segments.size(), 2u);
  EXPECT_EQ(partition.state.segments[0].generation, 3u);
  EXPECT_EQ(partition.state.segments[0].first_timestamp, -1);
  EXPECT_EQ(partition.state.compacted_until, Offset(480));
  EXPECT_EQ(partition.memory, example().partitions[0].memory);
}

TEST(CheckpointFormat, version_3_is_read_and_is_not_compacted) {
  const Checkpoint whole = example();
  const auto bytes = encoded_by(3, [](std::vector<std::byte>& all, std::ptrdiff_t end) {
    all.erase(all.begin() + end - 12, all.begin() + end + 8 + 16);
    all.erase(all.begin() + end - 28 - 12, all.begin() + end - 28);
  });
  const auto decoded = decode_checkpoint(bytes, "x");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  const CheckpointPartition& partition = decoded->partitions.at(0);
  ASSERT_EQ(partition.state.segments.size(), 2u);
  EXPECT_EQ(partition.state.segments[0].bytes, 4096u);
  EXPECT_EQ(partition.state.segments[0].generation, 0u);
  EXPECT_EQ(partition.state.segments[1].base_offset, Offset(500));
  EXPECT_EQ(partition.state.compacted_until, Offset(0));
  EXPECT_EQ(partition.memory, whole.partitions[0].memory);
}

TEST(CheckpointFormat, every_flipped_bit_is_noticed_and_the_message_names_the_file) {
  for (std::size_t at = 0; at < encoded().size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      auto bytes = encoded();
      bytes[at] ^= static_cast<std::byte>(1 << bit);
      const auto decoded = decode_checkpoint(bytes, "/data/group-3/checkpoint");
      ASSERT_FALSE(decoded.has_value()) << at;
      EXPECT_NE(decoded.error().message.find("/data/group-3/checkpoint"), std::string::npos);
    }
  }
}

TEST(CheckpointFormat, every_truncation_is_refused) {
  const auto bytes = encoded();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(decode_checkpoint(ByteView(bytes).first(size), "x").has_value()) << size;
  }
}

}  // namespace
}  // namespace esc::replica
