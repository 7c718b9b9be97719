#include "../../src/store/segment_index.h"

#include <gtest/gtest.h>

#include <array>

#include "esc/base/prng.h"

namespace esc::store {
namespace {

TEST(SegmentIndexTest, a_lookup_finds_the_nearest_entry_at_or_before) {
  SegmentIndex index(1000);
  index.reserve(32);
  for (std::uint32_t i = 0; i < 100; ++i)
    index.note({.offset_delta = i * 10, .position = i * 100, .max_timestamp_before = WallMs{i}});
  ASSERT_EQ(index.entries().size(), 9u);
  EXPECT_EQ(index.floor_offset(0).position, 0u);
  EXPECT_EQ(index.floor_offset(99).position, 0u);
  EXPECT_EQ(index.floor_offset(100).position, 1000u);
  EXPECT_EQ(index.floor_offset(199).position, 1000u);
  EXPECT_EQ(index.floor_offset(5000).position, 9000u);
  EXPECT_EQ(index.floor_time(10).position, 0u);  // the entry at 1000 has records of time 10 before it
  EXPECT_EQ(index.floor_time(11).position, 1000u);
  EXPECT_EQ(index.floor_time(1000).position, 9000u);
}

TEST(SegmentIndexTest, the_size_is_bounded_and_nothing_is_allocated_while_appending) {
  SegmentIndex index(1000);
  index.reserve(kIndexEntriesFresh);
  const IndexEntry* before = index.entries().data();
  for (std::uint32_t i = 1; i < 200'000; ++i) {
    index.note({.offset_delta = i, .position = i * 1000, .max_timestamp_before = WallMs{i}});
    ASSERT_LE(index.entries().size(), kIndexEntriesFresh);
    const IndexEntry found = index.floor_offset(i);
    ASSERT_LE(i * 1000 - found.position, 2 * index.interval_bytes());
  }
  EXPECT_EQ(index.entries().data(), before);
}

TEST(SegmentIndexTest, a_fresh_partition_costs_less_than_a_kibibyte) {
  static_assert(kIndexEntriesFresh * sizeof(IndexEntry) < 1024);
  SegmentIndex index(1000);
  index.reserve(kIndexEntriesFresh);
  EXPECT_LE(index.capacity() * sizeof(IndexEntry), 1024u);
}

TEST(SegmentIndexTest, sealing_gives_memory_back) {
  SegmentIndex index(10);
  index.reserve(kIndexEntriesMax);
  for (std::uint32_t i = 1; i < 255; ++i)
    index.note({.offset_delta = i, .position = i * 10, .max_timestamp_before = 0});
  index.seal();
  EXPECT_LE(index.entries().size(), kIndexEntriesSealedMax);
  EXPECT_LE(index.capacity(), kIndexEntriesSealedMax);
}

TEST(SegmentIndexTest, lookups_agree_with_a_naive_twin) {
  Prng prng(11);
  for (int round = 0; round < 50; ++round) {
    SegmentIndex index(static_cast<std::uint32_t>(1 + prng.below(500)));
    index.reserve(static_cast<std::uint32_t>(1 + prng.below(kIndexEntriesMax)));
    std::vector<IndexEntry> all{{0, 0, -1}};
    WallMs newest = -1;
    for (int i = 0; i < 500; ++i) {
      index.note(all.back());
      newest = std::max<WallMs>(newest, prng.between(0, 10'000));
      all.push_back({all.back().offset_delta + 1 + static_cast<std::uint32_t>(prng.below(5)),
                     all.back().position + 61 + static_cast<std::uint32_t>(prng.below(200)), newest});
    }
    for (int probe = 0; probe < 200; ++probe) {
      const auto wanted = static_cast<std::uint32_t>(prng.below(3000));
      const IndexEntry got = index.floor_offset(wanted);
      EXPECT_LE(got.offset_delta, wanted);
      for (const IndexEntry& entry : index.entries())
        EXPECT_FALSE(entry.offset_delta <= wanted && entry.position > got.position);
      const WallMs time = prng.between(-5, 11'000);
      const IndexEntry by_time = index.floor_time(time);
      EXPECT_TRUE(by_time.position == 0 || by_time.max_timestamp_before < time);
      for (const IndexEntry& entry : index.entries()) {
        EXPECT_FALSE(entry.max_timestamp_before < time && entry.position > by_time.position);
      }
    }
  }
}

class IndexFileTest : public ::testing::Test {
 protected:
  IndexFileTest() {
    for (std::uint32_t i = 0; i < 20; ++i)
      entries_.push_back({10 + i * 3, 100 + i * 50, WallMs{1000 + i / 2}});
    header_ = {.base_offset = Offset(500),
               .covered_bytes = 5000,
               .next_offset = Offset(700),
               .max_timestamp = 2000,
               .epoch_min = 1,
               .epoch_max = 4,
               .interval_bytes = 50};
    const ByteView used = encode_index_file(header_, entries_, room_);
    image_.assign(used.begin(), used.end());
  }
  std::vector<IndexEntry> entries_;
  IndexFile header_;
  std::array<std::byte, kIndexFileBytesMax> room_{};
  std::vector<std::byte> image_;
  std::array<IndexEntry, kIndexEntriesMax> out_{};
  IndexFile got_;
};

TEST_F(IndexFileTest, what_was_written_is_read) {
  const auto read = decode_index_file(image_, Offset(500), got_, out_);
  ASSERT_TRUE(read);
  ASSERT_EQ(read->size(), entries_.size());
  EXPECT_EQ((*read)[7].position, entries_[7].position);
  EXPECT_EQ(got_.covered_bytes, 5000u);
  EXPECT_EQ(got_.epoch_max, 4);
  EXPECT_FALSE(decode_index_file(image_, Offset(501), got_, out_));
}

TEST_F(IndexFileTest, every_flipped_bit_and_every_cut_is_refused) {
  for (std::size_t at = 0; at < image_.size(); ++at) {
    for (int bit = 0; bit < 8; ++bit) {
      image_[at] ^= static_cast<std::byte>(1 << bit);
      // The last 4 bytes of the header are reserved and outside the checksum.
      if (at < 68 || at >= kIndexFileHeaderBytes) {
        EXPECT_FALSE(decode_index_file(image_, Offset(500), got_, out_)) << at;
      }
      image_[at] ^= static_cast<std::byte>(1 << bit);
    }
    EXPECT_FALSE(decode_index_file(ByteView(image_).first(at), Offset(500), got_, out_));
  }
}

}  // namespace
}  // namespace esc::store
