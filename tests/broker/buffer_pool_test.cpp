#include "esc/broker/buffer_pool.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "esc/base/prng.h"

namespace esc::broker {
namespace {

TEST(BufferPool, gives_powers_of_two_at_least_as_large_as_asked) {
  BufferPool pool(1 << 20);
  EXPECT_EQ(pool.allocate(1).size(), BufferPool::kBlockBytesMin);
  EXPECT_EQ(pool.allocate(5000).size(), 8192u);
  EXPECT_EQ(pool.used(), 1024u + 8192u);
}

TEST(BufferPool, an_exhausted_pool_says_so_and_recovers) {
  BufferPool pool(1 << 20);
  const ByteSpan whole = pool.allocate(1 << 20);
  ASSERT_EQ(whole.size(), std::size_t{1} << 20);
  EXPECT_TRUE(pool.allocate(1).empty());
  pool.free(whole);
  EXPECT_EQ(pool.allocate(1 << 20).size(), std::size_t{1} << 20);
}

TEST(BufferPool, more_than_everything_is_refused) {
  BufferPool pool(1 << 20);
  EXPECT_TRUE(pool.allocate((1 << 20) + 1).empty());
}

TEST(BufferPool, what_is_over_a_power_of_two_is_used_too) {
  BufferPool pool((1 << 20) + (1 << 18));
  EXPECT_EQ(pool.allocate(1 << 20).size(), std::size_t{1} << 20);
  EXPECT_EQ(pool.allocate(1 << 18).size(), std::size_t{1} << 18);
  EXPECT_TRUE(pool.allocate(1).empty());
}

// The naive twin: every buffer is filled with its own byte; none may disturb another, and at the end
// everything merges back.
TEST(BufferPool, buffers_never_overlap_and_all_merge_back) {
  BufferPool pool(1 << 20);
  Prng prng(3);
  std::vector<std::pair<ByteSpan, std::uint8_t>> held;
  const auto check_and_free = [&](std::size_t at) {
    for (const std::byte b : held[at].first) ASSERT_EQ(static_cast<std::uint8_t>(b), held[at].second);
    pool.free(held[at].first);
    held[at] = held.back();
    held.pop_back();
  };
  for (int step = 0; step < 20'000; ++step) {
    if (!held.empty() && prng.chance(1, 2)) {
      check_and_free(prng.below(held.size()));
      continue;
    }
    const ByteSpan buffer = pool.allocate(static_cast<std::size_t>(prng.between(1, 100'000)));
    if (buffer.empty()) continue;
    const auto mark = static_cast<std::uint8_t>(step);
    std::memset(buffer.data(), mark, buffer.size());
    held.emplace_back(buffer, mark);
  }
  while (!held.empty()) check_and_free(0);
  EXPECT_EQ(pool.used(), 0u);
  EXPECT_EQ(pool.allocate(1 << 20).size(), std::size_t{1} << 20);
}

}  // namespace
}  // namespace esc::broker
