#include "esc/ring/mpsc_ring.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace esc::ring {
namespace {

struct Message {
  std::uint32_t producer = 0;
  std::uint32_t number = 0;
};

TEST(MpscRing, delivers_in_order_and_refuses_when_full) {
  MpscRing<int> ring(2);
  int value = 0;
  EXPECT_FALSE(ring.try_pop(value));
  for (int lap = 0; lap < 5; ++lap) {
    EXPECT_TRUE(ring.try_push(lap));
    EXPECT_TRUE(ring.try_push(lap + 100));
    EXPECT_FALSE(ring.try_push(0));
    EXPECT_TRUE(ring.try_pop(value));
    EXPECT_EQ(value, lap);
    EXPECT_TRUE(ring.try_pop(value));
    EXPECT_EQ(value, lap + 100);
    EXPECT_FALSE(ring.try_pop(value));
  }
}

TEST(MpscRing, keeps_the_order_of_each_of_many_producers) {
  constexpr std::uint32_t kProducers = 3;
  constexpr std::uint32_t kMessages = 30'000;
  MpscRing<Message> ring(32);
  std::vector<std::thread> threads;
  for (std::uint32_t producer = 0; producer < kProducers; ++producer) {
    threads.emplace_back([&ring, producer] {
      for (std::uint32_t number = 1; number <= kMessages;) {
        if (ring.try_push(Message{producer, number})) {
          ++number;
        } else {
          std::this_thread::yield();
        }
      }
    });
  }
  std::vector<std::uint32_t> last(kProducers, 0);
  bool ordered = true;
  for (std::uint32_t got = 0; got < kProducers * kMessages;) {
    Message message;
    if (!ring.try_pop(message)) {
      std::this_thread::yield();
      continue;
    }
    ++got;
    ordered = ordered && message.number == last[message.producer] + 1;
    last[message.producer] = message.number;
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_TRUE(ordered);
}

}  // namespace
}  // namespace esc::ring
