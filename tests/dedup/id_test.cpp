#include "esc/dedup/id.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "esc/dedup/id_block.h"

namespace esc::dedup {
namespace {

std::vector<std::byte> count_up(std::size_t bytes) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<std::byte>(i));
  return out;
}

// The vectors of the reference implementation: key 00..0f, messages of 0, 1, 2, ... bytes counting up; the
// output is two little-endian words.
TEST(SipHash128, gives_the_vectors_of_the_reference) {
  const IdKey key{0x0706050403020100, 0x0f0e0d0c0b0a0908};
  EXPECT_EQ(siphash128(key, {}), (Id{0xe6a825ba047f81a3, 0x930255c71472f66d}));
  EXPECT_EQ(siphash128(key, count_up(1)), (Id{0x44af996bd8c187da, 0x45fc229b11597634}));
}

TEST(SipHash128, every_byte_and_the_length_count) {
  const IdKey key{1, 2};
  for (std::size_t size = 0; size < 40; ++size) {
    const auto bytes = count_up(size);
    const Id id = siphash128(key, bytes);
    EXPECT_NE(id, siphash128(key, count_up(size + 1)));
    EXPECT_NE(id, siphash128({1, 3}, bytes));
    for (std::size_t at = 0; at < size; ++at) {
      auto other = bytes;
      other[at] ^= std::byte{0x80};
      EXPECT_NE(id, siphash128(key, other)) << size << " " << at;
    }
  }
}

TEST(IdKey, depends_on_topic_and_cluster) {
  const auto topic = count_up(16);
  auto other_topic = topic;
  other_topic[15] = std::byte{99};
  const Id id = make_id(make_key(topic, as_bytes("cluster")), as_bytes("event"));
  EXPECT_EQ(id, make_id(make_key(topic, as_bytes("cluster")), as_bytes("event")));
  EXPECT_NE(id, make_id(make_key(other_topic, as_bytes("cluster")), as_bytes("event")));
  EXPECT_NE(id, make_id(make_key(topic, as_bytes("another")), as_bytes("event")));
}

TEST(IdBlock, reads_back_what_was_written_for_every_padding) {
  const std::array<Id, 3> ids = {Id{1, 2}, Id{}, Id{5, 6}};
  for (std::size_t batch = 61; batch < 70; ++batch) {
    std::vector<std::byte> body(body_bytes_with_ids(batch, ids.size()), std::byte{0xee});
    IdBlock::write(body, batch, ids, {.window_ms = 60'000, .bytes_max = 4096});
    const auto block = IdBlock::read(body, batch, ids.size());
    ASSERT_TRUE(block.has_value()) << batch;
    EXPECT_EQ(block->size(), 3U);
    EXPECT_EQ(block->id(0), ids[0]);
    EXPECT_TRUE(block->id(1).none());
    EXPECT_EQ(block->id(2), ids[2]);
    EXPECT_EQ(block->limits(), (Limits{.window_ms = 60'000, .bytes_max = 4096}));
    EXPECT_FALSE(IdBlock::read(body, batch, 2).has_value());
    EXPECT_FALSE(IdBlock::read(ByteView(body).first(body.size() - 1), batch, 3).has_value());
  }
}

}  // namespace
}  // namespace esc::dedup
