#include "esc/sim/clock.h"

#include <gtest/gtest.h>

#include <vector>

namespace esc::sim {
namespace {

TEST(SimClock, runs_events_in_order_of_time_then_of_scheduling) {
  SimClock clock(0);
  std::vector<int> order;
  clock.schedule(20, [&] { order.push_back(3); });
  clock.schedule(10, [&] { order.push_back(1); });
  clock.schedule(10, [&] { order.push_back(2); });
  while (clock.step()) {
  }
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(clock.now(), 20);
}

TEST(SimClock, run_until_stops_at_its_time) {
  SimClock clock(0);
  int fired = 0;
  clock.schedule(10, [&] { ++fired; });
  clock.schedule(30, [&] { ++fired; });
  clock.run_until(20);
  EXPECT_EQ(fired, 1);
  EXPECT_EQ(clock.now(), 20);
}

TEST(SimClock, timers_fire_once_move_and_disarm) {
  SimClock clock(0);
  int fired = 0;
  io::Timer timer;
  timer.context = &fired;
  timer.fire = [](io::Timer& t) { ++*static_cast<int*>(t.context); };
  clock.arm(timer, 10);
  clock.arm(timer, 50);
  clock.run_until(40);
  EXPECT_EQ(fired, 0);
  EXPECT_TRUE(timer.armed());
  clock.run_until(60);
  EXPECT_EQ(fired, 1);
  EXPECT_FALSE(timer.armed());
  clock.arm(timer, 70);
  clock.disarm(timer);
  clock.disarm(timer);
  clock.run_until(100);
  EXPECT_EQ(fired, 1);
}

TEST(SimClock, the_past_means_now) {
  SimClock clock(100);
  bool ran = false;
  clock.schedule(5, [&] { ran = true; });
  ASSERT_TRUE(clock.step());
  EXPECT_TRUE(ran);
  EXPECT_EQ(clock.now(), 100);
}

}  // namespace
}  // namespace esc::sim
