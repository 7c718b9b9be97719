#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <csignal>
#include <ctime>
#include <memory>
#include <set>
#include <thread>
#include <vector>

#include "esc/io/loop_waker.h"
#include "esc/ring/mesh.h"
#include "loop_fixture.h"

namespace esc::io::test {
namespace {

Nanos clock_now() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return Nanos{time.tv_sec} * kSecond + time.tv_nsec;
}

TEST(Loop, poll_zero_never_waits_and_poll_waits_no_longer_than_asked) {
  auto loop = make_loop();
  const Nanos before = clock_now();
  for (int i = 0; i < 100; ++i) EXPECT_EQ(loop->poll(0), 0u);
  EXPECT_LT(clock_now() - before, 50 * kMillisecond);
  const Nanos start = clock_now();
  EXPECT_EQ(loop->poll(start + 20 * kMillisecond), 0u);
  EXPECT_GE(clock_now() - start, 19 * kMillisecond);
  EXPECT_LT(clock_now() - start, 500 * kMillisecond);
}

TEST(Loop, every_sleep_is_bounded) {
  LoopOptions options;
  options.sleep_max = 10 * kMillisecond;
  auto loop = make_loop(options);
  const Nanos start = clock_now();
  loop->poll(INT64_MAX);
  EXPECT_LT(clock_now() - start, 500 * kMillisecond);
}

TEST(Loop, now_is_constant_between_polls) {
  auto loop = make_loop();
  loop->poll(0);
  const Nanos now = loop->now();
  while (clock_now() - now < kMillisecond) {
  }
  EXPECT_EQ(loop->now(), now);
  loop->poll(0);
  EXPECT_GT(loop->now(), now);
  EXPECT_GT(loop->wall_ms(), 1'600'000'000'000);
}

TEST(Timers, a_timer_ends_the_wait_and_fires_at_or_after_its_deadline) {
  auto loop = make_loop();
  loop->poll(0);
  struct Probe {
    UringLoop* loop = nullptr;
    Nanos fired_at = 0;
  } probe{loop.get(), 0};
  Timer timer;
  timer.context = &probe;
  timer.fire = [](Timer& fired) {
    auto& self = *static_cast<Probe*>(fired.context);
    EXPECT_FALSE(fired.armed());
    self.fired_at = self.loop->now();
  };
  const Nanos deadline = loop->now() + 15 * kMillisecond;
  loop->arm(timer, deadline);
  const Nanos start = clock_now();
  while (probe.fired_at == 0) loop->poll(start + kSecond);
  EXPECT_GE(probe.fired_at, deadline);
  EXPECT_LT(clock_now() - start, 500 * kMillisecond);
}

// The twin is an ordered set of (deadline, timer).
TEST(Timers, fire_in_the_order_of_a_naive_twin) {
  auto loop = make_loop();
  loop->poll(0);
  struct Probe {
    Timer timer;
    std::vector<std::size_t>* fired = nullptr;
    std::size_t number = 0;
  };
  std::vector<std::size_t> fired;
  std::vector<std::unique_ptr<Probe>> probes;
  for (std::size_t i = 0; i < 300; ++i) {
    probes.push_back(std::make_unique<Probe>());
    probes[i]->fired = &fired;
    probes[i]->number = i;
    probes[i]->timer.context = probes[i].get();
    probes[i]->timer.fire = [](Timer& timer) {
      auto& self = *static_cast<Probe*>(timer.context);
      self.fired->push_back(self.number);
    };
  }
  std::set<std::pair<Nanos, std::size_t>> twin;
  std::vector<Nanos> deadlines(probes.size(), 0);
  const Nanos base = loop->now();
  std::uint64_t state = 42;
  for (int step = 0; step < 3000; ++step) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const std::size_t i = (state >> 33) % probes.size();
    twin.erase({deadlines[i], i});
    if (state >> 62 == 0) {
      loop->disarm(probes[i]->timer);
      continue;
    }
    // Distinct deadlines, within 30 ms.
    deadlines[i] =
        base + static_cast<Nanos>((state >> 40) % 100) * 300 * kMicrosecond + static_cast<Nanos>(i);
    loop->arm(probes[i]->timer, deadlines[i]);
    twin.insert({deadlines[i], i});
  }
  std::vector<std::size_t> expected;
  for (const auto& [deadline, i] : twin) expected.push_back(i);
  ASSERT_TRUE(run_until(*loop, [&] { return fired.size() >= expected.size(); }));
  EXPECT_EQ(fired, expected);
  for (const auto& probe : probes) EXPECT_FALSE(probe->timer.armed());
}

TEST(Timers, a_timer_that_rearms_itself_for_the_past_does_not_trap_the_loop) {
  auto loop = make_loop();
  struct Probe {
    UringLoop* loop = nullptr;
    int fired = 0;
  } probe{loop.get(), 0};
  Timer timer;
  timer.context = &probe;
  timer.fire = [](Timer& fired) {
    auto& self = *static_cast<Probe*>(fired.context);
    ++self.fired;
    self.loop->arm(fired, 0);
  };
  loop->arm(timer, 0);
  loop->poll(0);
  EXPECT_EQ(probe.fired, 1);
  loop->poll(INT64_MAX);
  EXPECT_EQ(probe.fired, 2);
  loop->disarm(timer);
}

TEST(Wake, another_thread_ends_the_wait) {
  LoopOptions options;
  options.sleep_max = 20 * kSecond;
  auto loop = make_loop(options);
  loop->poll(0);
  for (int round = 0; round < 3; ++round) {
    const Nanos start = clock_now();
    std::thread thread([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      loop->wake();
    });
    EXPECT_EQ(loop->poll(INT64_MAX), 1u);
    EXPECT_LT(clock_now() - start, 5 * kSecond);
    thread.join();
  }
  EXPECT_EQ(loop->stats().wakes_received, 3u);
}

TEST(Wake, a_wake_before_the_wait_is_not_lost) {
  LoopOptions options;
  options.sleep_max = 20 * kSecond;
  auto loop = make_loop(options);
  loop->wake();
  const Nanos start = clock_now();
  loop->poll(INT64_MAX);
  EXPECT_LT(clock_now() - start, 5 * kSecond);
}

TEST(Wake, a_loop_may_be_made_on_one_thread_run_on_another_and_destroyed_on_the_first) {
  auto mine = make_loop();
  mine->poll(0);
  auto loop = make_loop();
  std::thread thread([&] {
    loop->poll(0);
    loop->poll(loop->now() + kMillisecond);
  });
  thread.join();
  loop.reset();
  // Destroying the other loop must not have touched this one's registered descriptor.
  mine->wake();
  EXPECT_EQ(mine->poll(mine->now() + kSecond), 1u);
}

// Two cores play ping-pong through the mesh and sleep between messages: no wake-up is lost.
TEST(Wake, ring_messages_wake_sleeping_cores_through_the_mesh) {
  LoopOptions options;
  options.sleep_max = 20 * kSecond;
  auto zero = make_loop(options);
  auto one = make_loop(options);
  LoopWaker waker;
  waker.add(*zero);
  waker.add(*one);
  ring::Mesh<std::uint64_t> mesh(2, 64, waker);
  constexpr std::uint64_t kRounds = 2000;
  const Nanos start = clock_now();
  auto core = [&](CoreId me, CoreId other, UringLoop& loop) {
    std::uint64_t last = 0;
    if (me.value() == 0) {
      EXPECT_TRUE(mesh.try_send(me, other, 1));
    }
    while (last < kRounds) {
      mesh.drain(me, 16, [&](CoreId from, std::uint64_t value) {
        EXPECT_EQ(from, other);
        EXPECT_TRUE(value == last + 1 || value == last + 2);
        last = value;
        if (value <= kRounds) {
          EXPECT_TRUE(mesh.try_send(me, other, value + 1));
        }
      });
      mesh.flush(me);
      if (last < kRounds && mesh.prepare_sleep(me)) {
        loop.poll(INT64_MAX);
        mesh.end_sleep(me);
      } else {
        loop.poll(0);
      }
    }
    loop.flush();
  };
  std::thread thread([&] { core(CoreId(1), CoreId(0), *one); });
  core(CoreId(0), CoreId(1), *zero);
  thread.join();
  EXPECT_LT(clock_now() - start, 15 * kSecond) << "a wake-up was lost and the bounded sleep saved us";
  EXPECT_GT(zero->stats().wakes_sent + one->stats().wakes_sent, 0u);
}

// Wakes that cannot travel by ring (the target has not started) fall back to the eventfd.
TEST(Wake, a_loop_that_has_not_started_is_woken_by_the_fallback) {
  auto sender = make_loop();
  auto target = make_loop();
  target->wake_from(*sender);
  run_for(*sender, 5 * kMillisecond);
  EXPECT_EQ(sender->stats().wakes_fallback, 1u);
  EXPECT_EQ(target->poll(target->now() + 5 * kSecond), 1u);
}

}  // namespace
}  // namespace esc::io::test
