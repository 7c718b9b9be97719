#include "esc/ring/spsc_ring.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>
#include <thread>
#include <vector>

namespace esc::ring {
namespace {

// Two words that must agree: a torn or early read shows.
struct Checked {
  std::uint64_t value = 0;
  std::uint64_t complement = 0;
};

TEST(SpscRing, delivers_in_order_and_refuses_when_full) {
  SpscRing<int> ring(4);
  EXPECT_TRUE(ring.empty());
  for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.try_push(i));
  EXPECT_FALSE(ring.try_push(99));
  EXPECT_EQ(ring.free_slots(), 0u);
  int value = -1;
  EXPECT_TRUE(ring.try_pop(value));
  EXPECT_EQ(value, 0);
  EXPECT_TRUE(ring.try_push(4));
  for (int i = 1; i <= 4; ++i) {
    EXPECT_TRUE(ring.try_pop(value));
    EXPECT_EQ(value, i);
  }
  EXPECT_FALSE(ring.try_pop(value));
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.free_slots(), 4u);
}

TEST(SpscRing, consume_stops_at_its_budget) {
  SpscRing<int> ring(8);
  for (int i = 0; i < 6; ++i) ASSERT_TRUE(ring.try_push(i));
  std::vector<int> got;
  EXPECT_EQ(ring.consume(4, [&](int value) { got.push_back(value); }), 4u);
  EXPECT_EQ(ring.consume(4, [&](int value) { got.push_back(value); }), 2u);
  EXPECT_EQ(ring.consume(4, [&](int) { FAIL(); }), 0u);
  EXPECT_EQ(got, (std::vector<int>{0, 1, 2, 3, 4, 5}));
}

TEST(SpscRing, a_capacity_of_one_works) {
  SpscRing<int> ring(1);
  int value = 0;
  for (int i = 0; i < 10; ++i) {
    EXPECT_TRUE(ring.try_push(i));
    EXPECT_FALSE(ring.try_push(i));
    EXPECT_TRUE(ring.try_pop(value));
    EXPECT_EQ(value, i);
  }
}

TEST(SpscRing, behaves_like_a_bounded_deque) {
  SpscRing<std::uint32_t> ring(16);
  std::deque<std::uint32_t> twin;
  std::mt19937 random(11);
  for (std::uint32_t step = 0; step < 20'000; ++step) {
    if (random() % 2 == 0) {
      const bool pushed = ring.try_push(step);
      EXPECT_EQ(pushed, twin.size() < 16);
      if (pushed) twin.push_back(step);
    } else {
      const auto budget = static_cast<std::uint32_t>(random() % 5);
      const auto expected = std::min<std::size_t>(budget, twin.size());
      std::uint32_t seen = 0;
      // One call may deliver less than there is (it trusts its copy of tail), but then the next goes on.
      while (seen < expected) {
        const std::uint32_t count = ring.consume(budget - seen, [&](std::uint32_t value) {
          EXPECT_EQ(value, twin.front());
          twin.pop_front();
        });
        ASSERT_GT(count, 0u);
        seen += count;
      }
    }
  }
}

TEST(SpscRing, carries_every_message_between_two_threads) {
  constexpr std::uint64_t kMessages = 200'000;
  SpscRing<Checked> ring(64);
  std::thread producer([&] {
    for (std::uint64_t i = 1; i <= kMessages;) {
      if (ring.try_push(Checked{i, ~i})) {
        ++i;
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::uint64_t last = 0;
  bool intact = true;
  while (last < kMessages) {
    const std::uint32_t count = ring.consume(32, [&](const Checked& message) {
      intact = intact && message.value == last + 1 && message.complement == ~message.value;
      last = message.value;
    });
    if (count == 0) std::this_thread::yield();
  }
  producer.join();
  EXPECT_TRUE(intact);
  EXPECT_TRUE(ring.empty());
}

}  // namespace
}  // namespace esc::ring
