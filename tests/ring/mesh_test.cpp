#include "esc/ring/mesh.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace esc::ring {
namespace {

struct Hop {
  std::uint32_t from = 0;
  std::uint32_t number = 0;
};

struct RecordingWaker : Waker {
  void wake(CoreId from, CoreId target) override { wakes.emplace_back(from.value(), target.value()); }
  std::vector<std::pair<std::uint32_t, std::uint32_t>> wakes;
};

constexpr CoreId kZero{0};
constexpr CoreId kOne{1};
constexpr CoreId kTwo{2};

TEST(Mesh, carries_messages_between_every_pair_and_to_itself) {
  RecordingWaker waker;
  Mesh<Hop> mesh(3, 4, waker);
  for (std::uint32_t from = 0; from < 3; ++from) {
    for (std::uint32_t to = 0; to < 3; ++to)
      ASSERT_TRUE(mesh.try_send(CoreId(from), CoreId(to), Hop{from, to}));
  }
  for (std::uint32_t core = 0; core < 3; ++core) {
    std::uint32_t senders = 0;
    EXPECT_EQ(mesh.drain(CoreId(core), 100,
                         [&](CoreId from, const Hop& hop) {
                           EXPECT_EQ(hop.from, from.value());
                           EXPECT_EQ(hop.number, core);
                           senders |= 1u << from.value();
                         }),
              3u);
    EXPECT_EQ(senders, 0b111u);
  }
}

TEST(Mesh, a_full_ring_refuses_only_its_own_pair) {
  RecordingWaker waker;
  Mesh<Hop> mesh(2, 2, waker);
  EXPECT_TRUE(mesh.try_send(kZero, kOne, {}));
  EXPECT_TRUE(mesh.try_send(kZero, kOne, {}));
  EXPECT_EQ(mesh.free_slots(kZero, kOne), 0u);
  EXPECT_FALSE(mesh.try_send(kZero, kOne, {}));
  EXPECT_EQ(mesh.sends_refused(kZero), 1u);
  EXPECT_TRUE(mesh.try_send(kOne, kZero, {}));
  EXPECT_TRUE(mesh.try_send(kZero, kZero, {}));
  EXPECT_EQ(mesh.drain(kOne, 100, [](CoreId, const Hop&) {}), 2u);
  EXPECT_TRUE(mesh.try_send(kZero, kOne, {}));
}

TEST(Mesh, a_loud_sender_does_not_starve_a_quiet_one) {
  RecordingWaker waker;
  Mesh<Hop> mesh(3, 64, waker);
  for (std::uint32_t i = 0; i < 60; ++i) ASSERT_TRUE(mesh.try_send(kZero, kTwo, Hop{0, i}));
  ASSERT_TRUE(mesh.try_send(kOne, kTwo, Hop{1, 0}));
  bool quiet_heard = false;
  for (int turn = 0; turn < 3; ++turn) {
    mesh.drain(kTwo, 4, [&](CoreId from, const Hop&) { quiet_heard = quiet_heard || from == kOne; });
  }
  EXPECT_TRUE(quiet_heard);
}

TEST(Mesh, wakes_a_sleeper_once_per_flush_and_never_an_awake_core) {
  RecordingWaker waker;
  Mesh<Hop> mesh(3, 8, waker);
  ASSERT_TRUE(mesh.try_send(kZero, kOne, {}));
  mesh.flush(kZero);
  EXPECT_TRUE(waker.wakes.empty()) << "core 1 is awake";
  EXPECT_FALSE(mesh.prepare_sleep(kOne)) << "a message is waiting";
  mesh.drain(kOne, 8, [](CoreId, const Hop&) {});
  ASSERT_TRUE(mesh.prepare_sleep(kOne));
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(mesh.try_send(kZero, kOne, {}));
  EXPECT_TRUE(waker.wakes.empty()) << "wakes leave with the flush";
  mesh.flush(kZero);
  mesh.flush(kZero);
  using Wakes = std::vector<std::pair<std::uint32_t, std::uint32_t>>;
  EXPECT_EQ(waker.wakes, (Wakes{{0, 1}}));
  ASSERT_TRUE(mesh.try_send(kTwo, kOne, {}));
  mesh.flush(kTwo);
  EXPECT_EQ(waker.wakes.size(), 1u) << "already being woken";
  mesh.end_sleep(kOne);
  EXPECT_EQ(mesh.drain(kOne, 8, [](CoreId, const Hop&) {}), 4u);
  EXPECT_EQ(mesh.wakes_sent(kZero), 1u);
}

TEST(Mesh, sending_to_oneself_forbids_sleep_and_wakes_nobody) {
  RecordingWaker waker;
  Mesh<Hop> mesh(1, 8, waker);
  ASSERT_TRUE(mesh.try_send(kZero, kZero, {}));
  mesh.flush(kZero);
  EXPECT_TRUE(waker.wakes.empty());
  EXPECT_FALSE(mesh.prepare_sleep(kZero));
}

// Sleeps that only a wake-up ends: a lost one makes the test hang until its limit.
class SleepingCores : public Waker {
 public:
  explicit SleepingCores(std::uint32_t cores) : beds_(cores) {}
  void wake(CoreId, CoreId target) override {
    Bed& bed = beds_[target.value()];
    const std::lock_guard guard(bed.mutex);
    bed.woken = true;
    bed.condition.notify_one();
  }
  // False when nobody came.
  bool sleep(CoreId core) {
    Bed& bed = beds_[core.value()];
    std::unique_lock lock(bed.mutex);
    const bool woken = bed.condition.wait_for(lock, std::chrono::seconds(20), [&] { return bed.woken; });
    bed.woken = false;
    return woken;
  }

 private:
  struct Bed {
    std::mutex mutex;
    std::condition_variable condition;
    bool woken = false;
  };
  std::vector<Bed> beds_;
};

TEST(Mesh, no_message_and_no_wake_up_is_lost_under_stress) {
  constexpr std::uint32_t kCores = 3;
  constexpr std::uint32_t kMessages = 20'000;
  SleepingCores waker(kCores);
  Mesh<Hop> mesh(kCores, 16, waker);
  std::vector<std::uint32_t> errors(kCores, 0);
  // Each core sends kMessages to every other and expects as many from each.
  auto run = [&](CoreId me) {
    std::vector<std::uint32_t> sent(kCores, 0);
    std::vector<std::uint32_t> received(kCores, 0);
    std::uint32_t& wrong = errors[me.value()];
    sent[me.value()] = received[me.value()] = kMessages;
    const auto all = [&](const std::vector<std::uint32_t>& counts) {
      for (const std::uint32_t count : counts) {
        if (count < kMessages) return false;
      }
      return true;
    };
    while (!all(sent) || !all(received)) {
      std::uint32_t work = mesh.drain(me, 8, [&](CoreId from, const Hop& hop) {
        if (hop.from != from.value() || hop.number != ++received[from.value()]) ++wrong;
      });
      for (std::uint32_t to = 0; to < kCores; ++to) {
        for (int burst = 0; burst < 4 && sent[to] < kMessages; ++burst) {
          if (!mesh.try_send(me, CoreId(to), Hop{me.value(), sent[to] + 1})) break;
          ++sent[to];
          ++work;
        }
      }
      mesh.flush(me);
      if (work > 0) continue;
      // A sender behind a full ring must not sleep: nothing wakes it when room appears.
      if (!all(sent)) {
        std::this_thread::yield();
        continue;
      }
      if (!all(received) && mesh.prepare_sleep(me)) {
        if (!waker.sleep(me)) {
          ++wrong;
          return;
        }
        mesh.end_sleep(me);
      }
    }
    mesh.flush(me);
  };
  std::vector<std::thread> threads;
  for (std::uint32_t core = 0; core < kCores; ++core) threads.emplace_back(run, CoreId(core));
  for (std::thread& thread : threads) thread.join();
  for (const std::uint32_t count : errors) EXPECT_EQ(count, 0u);
}

// The hand-over of every single message ends in a sleep.
TEST(Mesh, ping_pong_between_sleepers_never_hangs) {
  constexpr std::uint32_t kRounds = 3000;
  SleepingCores waker(2);
  Mesh<Hop> mesh(2, 2, waker);
  auto run = [&](CoreId me, CoreId other, bool serve) {
    std::uint32_t heard = 0;
    if (serve) {
      EXPECT_TRUE(mesh.try_send(me, other, Hop{me.value(), 0}));
    }
    while (heard < kRounds) {
      mesh.drain(me, 2, [&](CoreId, const Hop& hop) {
        ++heard;
        if (heard < kRounds || !serve) {
          EXPECT_TRUE(mesh.try_send(me, other, Hop{me.value(), hop.number + 1}));
        }
      });
      mesh.flush(me);
      if (heard < kRounds && mesh.prepare_sleep(me)) {
        if (!waker.sleep(me)) {
          ADD_FAILURE() << "a wake-up was lost";
          return;
        }
        mesh.end_sleep(me);
      }
    }
  };
  std::thread thread([&] { run(kOne, kZero, false); });
  run(kZero, kOne, true);
  thread.join();
}

}  // namespace
}  // namespace esc::ring
