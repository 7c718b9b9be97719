// What the core is told to be durable is durable: the mark of a hard state that overtakes entries still
// queued for the log says nothing about those (it once did: regression seed 77 of the simulator), nor does
// the mark of a reset about a hard state that waits (seed 7346746).
#include <gtest/gtest.h>

#include "cluster_world.h"
#include "esc/wal/dump.h"

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

// The newest term that a frame in the log's files carries.
struct TermsOnDisk final : wal::DumpVisitor {
  explicit TermsOnDisk(ClusterNode& node) {
    sim::SimFiles files(node.fs);
    EXPECT_TRUE(wal::scan_directory(files, node.options.wal.directory, *this).has_value());
  }
  void on_segment(const wal::DumpedSegment&) override {}
  void on_frame(const wal::DumpedFrame& frame) override {
    if (frame.state == wal::FrameState::ok) newest = std::max(newest, Term(frame.header.vote_term));
  }
  void on_entry(const wal::DumpedFrame&, const logfmt::EntryView&) override {}
  void on_malformed_entry(const wal::DumpedFrame&, std::size_t) override {}
  Term newest{0};
};

// The other two elect each other again. The node that fetches votes, too, as far as its log lets it.
void change_leader(ClusterWorld& world, ClusterNode& fetching) {
  const Term before = fetching.group->term();
  ClusterNode* const old = world.leader();
  ASSERT_NE(old, nullptr);
  old->crash();
  ASSERT_TRUE(world.run_until([&] { return fetching.group->term() > before; }));
  world.boot(old->number);
  ASSERT_NE(world.wait_for_leader(), nullptr);
}

// The log is reset behind a snapshot while one hard state is on its way to the disk and the next one waits.
TEST(DurableMark, the_reset_of_a_log_says_nothing_about_a_term_that_waits_to_be_saved) {
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    SCOPED_TRACE(seed);
    ClusterWorld world(3, seed);
    for (const auto& node : world.nodes) {
      node->options.recovery_bytes_per_second = 64 * kKiB;
      node->options.wal.depth = 4;
    }
    world.boot_all();
    ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
    ASSERT_NO_FATAL_FAILURE(create_partition(world));
    ClusterNode& fetching = world.node(world.leader()->number % 3 + 1);
    fetching.crash();
    for (int i = 0; i < 40; ++i) ASSERT_NO_FATAL_FAILURE(append(world, 8000));
    world.boot(fetching.number);
    world.run_for(kSecond);
    const Index before = fetching.group->core().log().snapshot_index();
    ASSERT_LT(before, world.leader()->group->core().log().snapshot_index()) << "it needs a snapshot";
    fetching.loop->disk().stall_until(world.clock.now() + 12 * kSecond, "/wal");
    for (int i = 0; i < 2; ++i) ASSERT_NO_FATAL_FAILURE(change_leader(world, fetching));
    ASSERT_LT(fetching.group->core().durable_hard_state().term, fetching.group->term());
    ASSERT_TRUE(world.run_until([&] { return fetching.group->core().log().snapshot_index() > before; }));
    Term checked{0};
    ASSERT_TRUE(world.run_until(
        [&] {
          const Term promised = fetching.group->core().durable_hard_state().term;
          if (promised != checked) {
            EXPECT_LE(promised, TermsOnDisk(fetching).newest);
          }
          checked = promised;
          return promised == fetching.group->term();
        },
        20 * kSecond));
  }
}

}  // namespace
}  // namespace esc::replica::test
