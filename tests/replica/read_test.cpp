// Linearizable reads: whether the node still leads, asked without a log entry.
#include <gtest/gtest.h>

#include "cluster_world.h"

namespace esc::replica::test {
namespace {

void cut_off(ClusterWorld& world, const ClusterNode& node) {
  for (const auto& other : world.nodes) {
    if (other->number == node.number) continue;
    world.network.block(node.number, other->number);
    world.network.block(other->number, node.number);
  }
}

std::unique_ptr<Waiting> ask(ClusterNode& node) {
  auto waiting = std::make_unique<Waiting>();
  waiting->done = [](CommitWaiter& ended, Errc code) {
    auto& self = static_cast<Waiting&>(ended);
    self.ended = true;
    self.code = code;
  };
  node.group->confirm_leadership(*waiting);
  return waiting;
}

TEST(Read, of_a_leader_is_confirmed_by_a_majority_without_a_write) {
  ClusterWorld world(3);
  world.boot_all();
  ClusterNode* const leader = world.wait_for_leader();
  ASSERT_NE(leader, nullptr);
  world.run_for(kSecond);
  const Index last = leader->group->core().last_index();
  std::vector<std::unique_ptr<Waiting>> reads;
  for (int i = 0; i < 200; ++i) reads.push_back(ask(*leader));
  EXPECT_FALSE(reads.front()->ended) << "nobody was asked";
  EXPECT_TRUE(world.run_until([&] { return reads.back()->ended; }, 100 * kMillisecond));
  for (const auto& read : reads) EXPECT_TRUE(read->ended && read->code == Errc::ok);
  EXPECT_EQ(leader->group->core().last_index(), last);
}

TEST(Read, of_a_leader_that_is_cut_off_is_never_confirmed) {
  ClusterWorld world(3);
  world.boot_all();
  ClusterNode* const old = world.wait_for_leader();
  ASSERT_NE(old, nullptr);
  cut_off(world, *old);
  const auto first = ask(*old);
  const auto second = ask(*old);
  // The successor serves while the old leader may still believe in itself.
  ASSERT_TRUE(world.run_until([&] { return first->ended && second->ended; }));
  EXPECT_EQ(first->code, Errc::not_leader);
  EXPECT_EQ(second->code, Errc::not_leader);
  EXPECT_EQ(ask(*old)->code, Errc::not_leader);
}

TEST(Read, goes_on_when_one_of_three_is_gone) {
  ClusterWorld world(3);
  world.boot_all();
  ClusterNode* const leader = world.wait_for_leader();
  ASSERT_NE(leader, nullptr);
  world.node(leader->number % 3 + 1).crash();
  const auto read = ask(*leader);
  ASSERT_TRUE(world.run_until([&] { return read->ended; }));
  EXPECT_EQ(read->code, Errc::ok);
}

TEST(Read, of_one_voter_is_confirmed_at_once_and_of_a_follower_never) {
  ClusterWorld alone(1);
  alone.boot_all();
  ASSERT_NE(alone.wait_for_leader(), nullptr);
  const auto read = ask(alone.node(1));
  EXPECT_TRUE(read->ended && read->code == Errc::ok);

  ClusterWorld world(3);
  world.boot_all();
  ClusterNode* const leader = world.wait_for_leader();
  ASSERT_NE(leader, nullptr);
  EXPECT_EQ(ask(world.node(leader->number % 3 + 1))->code, Errc::not_leader);
}

}  // namespace
}  // namespace esc::replica::test
