// What the core is told to be durable is durable: the mark of a hard state that overtakes entries still
// queued for the log says nothing about those (it once did: regression seed 77 of the simulator).
#include <gtest/gtest.h>

#include "cluster_world.h"

namespace esc::replica::test {
namespace {

// The log counts completed writes by itself; the core counts marks.
void expect_durable_is_durable(const ClusterNode& node) {
  if (!node.running()) return;
  const raft::Core& core = node.group->core();
  const Index durable = core.durable_index();
  if (durable <= core.log().snapshot_index() || durable < node.group->wal().first_available()) return;
  ASSERT_TRUE(node.group->wal().has(durable)) << "node " << node.number << " calls entry " << durable.value()
                                              << " durable in term " << core.term().value();
}

void watch(ClusterWorld& world, Nanos time) {
  for (const Nanos end = world.clock.now() + time; world.clock.now() < end;) {
    world.clock.step();
    for (const auto& node : world.nodes) expect_durable_is_durable(*node);
    if (::testing::Test::HasFatalFailure()) return;
  }
}

void cut(ClusterWorld& world, std::uint32_t node, bool off) {
  for (std::uint32_t other = 1; other <= world.nodes.size(); ++other) {
    if (other == node) continue;
    off ? world.network.block(node, other) : world.network.unblock(node, other);
    off ? world.network.block(other, node) : world.network.unblock(other, node);
  }
}

TEST(DurableMark, a_vote_that_is_saved_says_nothing_about_entries_that_wait_behind_it) {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    ClusterWorld world(3, seed);
    for (const auto& node : world.nodes) {
      node->disk_latency = {5 * kMillisecond, 60 * kMillisecond};
      node->options.checkpoint_interval = 1000 * kSecond;
      node->options.rebalance_after = 20 * kMillisecond;
    }
    world.boot_all();
    ASSERT_NE(world.wait_for_leader(), nullptr);
    for (int i = 0; i < 2500; ++i) {
      if (i % 300 == 0) cut(world, 1, true);
      if (i % 300 == 150) cut(world, 1, false);  // it gets its leadership back under load
      // More than the disks take: frames wait.
      for (const auto& node : world.nodes)
        if (node->leading())
          (void)node->group->append_command(logfmt::EntryKind::partition_config, PartitionId(0), {});
      ASSERT_NO_FATAL_FAILURE(watch(world, 4 * kMillisecond)) << "seed " << seed;
    }
    EXPECT_GT(world.node(1).group->term(), Term(6)) << "the leader has changed often";
  }
}

}  // namespace
}  // namespace esc::replica::test
