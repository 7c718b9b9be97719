// How a node that was away gets what it lacks when the two ways to it, the leader's log and its snapshot,
// meet, and when its memory has no room for more.
#include "cluster_world.h"

namespace esc::replica::test {
namespace {

constexpr std::int64_t kProducer = 42;

std::expected<Appended, Errc> append_sequenced(ClusterNode& at, std::int32_t sequence) {
  return append_record(at, 2000, {.producer_id = kProducer, .producer_epoch = 0, .base_sequence = sequence});
}

// Appends at whoever leads and waits for the commit.
void commit_sequenced(ClusterWorld& world, std::int32_t sequence) {
  ClusterNode* const leader = world.wait_for_leader();
  ASSERT_NE(leader, nullptr);
  const auto appended = append_sequenced(*leader, sequence);
  ASSERT_TRUE(appended.has_value());
  ASSERT_TRUE(world.run_until([&] { return leader->group->commit_index() >= appended->index; }));
}

// Regression seed 7005803 of the simulator: the snapshot was installed all the same, and what producers had
// sent since was forgotten.
TEST(CatchingUp, a_snapshot_is_dropped_when_the_log_has_come_before_it_could_be_installed) {
  ClusterWorld world(3, 5);
  world.boot_all();
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  ASSERT_NO_FATAL_FAILURE(create_partition(world));
  ClusterNode& first = *world.leader();
  ClusterNode& second = world.node(first.number % 3 + 1);
  ClusterNode& away = world.node(second.number % 3 + 1);
  // These two write no checkpoints: the log of the second goes back far enough, the other has yet to write
  // one.
  for (ClusterNode* const node : {&second, &away}) {
    node->crash();
    node->options.checkpoint_interval = 1000 * kSecond;
    node->options.retain_bytes = kMiB;
    world.boot(node->number);
    ASSERT_TRUE(world.run_until([&] { return node->group->commit_index() == first.group->commit_index(); }));
  }
  std::int32_t sequence = 0;
  while (sequence < 10) ASSERT_NO_FATAL_FAILURE(commit_sequenced(world, sequence++));
  world.run_for(kSecond);
  away.crash();
  while (sequence < 60) ASSERT_NO_FATAL_FAILURE(commit_sequenced(world, sequence++));
  world.run_for(kSecond);
  ASSERT_LT(second.group->core().log().snapshot_index(), first.group->core().log().snapshot_index());

  // It asks for a snapshot, and cannot begin with it as long as its own checkpoint is not written.
  away.options.checkpoint_interval = kMillisecond;
  world.boot(away.number);
  const Nanos stalled_until = world.clock.now() + 6 * kSecond;
  away.loop->disk().stall_until(stalled_until, "checkpoint");
  world.run_for(kSecond);
  ASSERT_LT(away.group->commit_index(), first.group->core().log().snapshot_index()) << "it needs a snapshot";
  first.crash();
  while (sequence < 70) ASSERT_NO_FATAL_FAILURE(commit_sequenced(world, sequence++));
  ASSERT_TRUE(second.leading());
  ASSERT_TRUE(world.run_until([&] { return away.group->commit_index() == second.group->commit_index(); }));
  ASSERT_LT(world.clock.now(), stalled_until);
  world.run_for(stalled_until - world.clock.now() + 2 * kSecond);

  second.group->begin_handover();
  ASSERT_TRUE(world.run_until([&] { return away.leading(); }));
  const auto again = append_sequenced(away, sequence - 1);
  ASSERT_TRUE(again.has_value()) << to_string(again.error());
  EXPECT_TRUE(again->duplicate);
  EXPECT_TRUE(append_sequenced(away, sequence).has_value());
  EXPECT_EQ(away.failure, "");
}

// Regression seed 7006717: it dropped every message, because none of the entries found room, and never heard
// that what filled its memory was committed.
TEST(CatchingUp, a_restarted_follower_whose_memory_is_full_learns_from_messages_that_find_no_room) {
  ClusterWorld world(3, 7);
  world.boot_all();
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  ASSERT_NO_FATAL_FAILURE(create_partition(world));
  ClusterNode& leader = *world.leader();
  ClusterNode& follower = world.node(leader.number % 3 + 1);
  follower.crash();
  follower.options.ring_memory = ByteSpan(follower.memory, kRingBytes / 2);
  world.boot(follower.number);
  ASSERT_TRUE(
      world.run_until([&] { return follower.group->commit_index() == leader.group->commit_index(); }));
  world.node(follower.number % 3 + 1).crash();

  // All is on the follower's disk, nothing on the leader's: nothing is committed.
  leader.loop->disk().stall_until(world.clock.now() + 150 * kMillisecond, "/wal");
  while (follower.group->stats().appends_dropped == 0) {
    ASSERT_TRUE(append_record(leader, 8000).has_value());
    world.run_for(kMillisecond);
  }
  const auto known = [&] {
    for (const raft::Progress& peer : leader.group->core().peers())
      if (peer.node == follower.options.node) return peer.match;
    return Index(0);
  };
  ASSERT_TRUE(world.run_until([&] { return known() == follower.group->core().last_index(); }));
  ASSERT_LT(leader.group->commit_index(), known());
  const Index full = known();
  follower.crash();
  ASSERT_TRUE(world.run_until([&] { return leader.group->commit_index() >= full; }));
  ASSERT_TRUE(leader.leading());
  world.boot(follower.number);
  ASSERT_LT(follower.group->commit_index(), full);
  EXPECT_TRUE(
      world.run_until([&] { return follower.group->commit_index() >= leader.group->core().last_index(); }));
  EXPECT_EQ(follower.failure, "");
}

}  // namespace
}  // namespace esc::replica::test
