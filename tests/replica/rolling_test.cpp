// Other rules of where segments end, set through the log while partitions live: every member ends its
// segments alike, whatever it has written already, through power cuts and restarts.
#include "cluster_world.h"

namespace esc::replica::test {
namespace {

constexpr PartitionId kPartition{1};

struct RolledCluster : ClusterWorld {
  explicit RolledCluster(std::uint64_t seed) : ClusterWorld(3, seed), prng(seed) {}

  void begin() {
    boot_all();
    ASSERT_NE(wait_for_leader(), nullptr);
    ASSERT_TRUE(leader()->group->create_partition(
        {.id = kPartition, .topic = "t", .segment_bytes = 8 * kKiB, .segment_ms = 60'000}));
    ASSERT_TRUE(run_until([this] { return everywhere([](Partition&) { return true; }); }));
  }
  template <class F>
  bool everywhere(F&& holds) {
    return std::ranges::all_of(nodes, [&](const auto& node) {
      Partition* const partition = node->running() ? node->group->find(kPartition) : nullptr;
      return partition != nullptr && holds(*partition);
    });
  }
  void append(std::size_t value_bytes) {
    ClusterNode* const at = wait_for_leader();
    ASSERT_NE(at, nullptr);
    std::vector<std::byte> buffer(value_bytes + 256);
    wire::BatchBuilder builder(buffer);
    const std::vector<std::byte> value(value_bytes, std::byte{7});
    time += static_cast<WallMs>(prng.below(300));
    ASSERT_TRUE(builder.append(time, {}, wire::NullableBytes(ByteView(value))));
    if (!at->group->append_batch(*at->group->find(kPartition), builder.finish())) run_for(20 * kMillisecond);
  }
  void change() {
    ClusterNode* const at = wait_for_leader();
    ASSERT_NE(at, nullptr);
    const std::int64_t ms = prng.chance(1, 2) ? prng.between(0, 3000) : -1;
    if (at->group->propose_rolling(kPartition, {.bytes = 600 + prng.below(8000), .ms = ms})) ++changes;
  }
  // Of a member that has the whole log: it needs no snapshot, which would roll what it fetches by the rules
  // of then. What its files lack, and which rules hold for that, comes from its checkpoint and its log.
  void cut_power() {
    const Index end = wait_for_leader()->group->core().last_index();
    ASSERT_TRUE(run_until([&] {
      return std::ranges::all_of(nodes, [&](const auto& node) {
        return node->group->commit_index() >= end && node->group->core().durable_index() >= end;
      });
    }));
    const auto number = 1 + static_cast<std::uint32_t>(prng.below(3));
    node(number).crash();
    boot(number);
  }
  // Everything is in the files of all.
  bool level() {
    ClusterNode* const first = leader();
    if (first == nullptr) return false;
    const Offset end = first->group->find(kPartition)->high_watermark();
    return everywhere([end](Partition& partition) { return partition.log().next_offset() == end; });
  }
  std::vector<std::pair<std::int64_t, std::uint64_t>> segments(ClusterNode& of) {
    store::PartitionState state;
    of.group->find(kPartition)->log().snapshot(state);
    std::vector<std::pair<std::int64_t, std::uint64_t>> found;
    for (const auto& segment : state.segments) found.emplace_back(segment.base_offset.value(), segment.bytes);
    return found;
  }

  Prng prng;
  WallMs time = 1'000'000;
  std::uint32_t changes = 0;
};

void members_agree(std::uint64_t seed) {
  SCOPED_TRACE(seed);
  RolledCluster world(seed);
  world.begin();
  for (int step = 0; step < 250 && !::testing::Test::HasFailure(); ++step) {
    const auto what = world.prng.below(100);
    if (what < 80) {
      world.append(world.prng.below(900));
    } else if (what < 88) {
      world.change();
    } else if (what < 94) {
      world.run_for(static_cast<Nanos>(world.prng.below(1500)) * kMillisecond);
    } else {
      world.cut_power();
    }
  }
  ASSERT_TRUE(world.run_until([&] { return world.level(); }, 30 * kSecond));
  EXPECT_GT(world.changes, 5U);
  const auto expected = world.segments(world.node(1));
  EXPECT_GT(expected.size(), 10U);
  for (const auto& node : world.nodes) {
    EXPECT_EQ(world.segments(*node), expected) << "node " << node->number;
    EXPECT_EQ(node->failure, "");
  }
  const auto rules = world.leader()->group->find(kPartition)->identity().rolling();
  EXPECT_TRUE(world.everywhere([&](Partition& partition) { return partition.log().rolling() == rules; }));
}

TEST(Rolling, members_end_segments_alike_through_changes_and_power_cuts) {
  for (std::uint64_t seed = 1; seed <= 25 && !::testing::Test::HasFailure(); ++seed) members_agree(seed);
}

TEST(Rolling, a_member_that_learns_the_partition_by_snapshot_goes_on_with_the_rules_of_the_others) {
  RolledCluster world(3);
  world.begin();
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  const std::uint32_t blank = world.leader()->number % 3 + 1;
  world.replace_disk(blank);
  const store::RollRules rules{.bytes = 2 * kKiB, .ms = 5000};
  ASSERT_TRUE(world.wait_for_leader()->group->propose_rolling(kPartition, rules));
  for (int i = 0; i < 400; ++i) {
    world.append(900);
    world.run_for(10 * kMillisecond);
  }
  world.boot(blank);
  ASSERT_TRUE(world.run_until([&] { return world.whole() && world.level(); }, 30 * kSecond));
  EXPECT_EQ(world.node(blank).group->find(kPartition)->identity().rolling(), rules);
  for (const auto& [base, bytes] : world.segments(world.node(blank))) EXPECT_LE(bytes, 2 * kKiB) << base;
  for (int i = 0; i < 20; ++i) world.append(900);
  ASSERT_TRUE(world.run_until([&] { return world.level(); }));
  for (const auto& [base, bytes] : world.segments(world.node(blank))) EXPECT_LE(bytes, 2 * kKiB) << base;
}

TEST(Rolling, a_change_for_a_partition_that_is_gone_changes_nothing) {
  RolledCluster world(4);
  world.begin();
  ASSERT_TRUE(world.leader()->group->delete_partition(kPartition));
  ASSERT_TRUE(world.leader()->group->propose_rolling(kPartition, {.bytes = 1000}));
  EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
}

}  // namespace
}  // namespace esc::replica::test
