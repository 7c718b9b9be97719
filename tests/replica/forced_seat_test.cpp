// A node that goes on without the others, whose disks are lost.
#include "esc/replica/forced_seat.h"

#include "cluster_world.h"

namespace esc::replica::test {
namespace {

struct ForcedWorld : ClusterWorld {
  explicit ForcedWorld(bool checkpointed) : ClusterWorld(3) {
    for (const auto& node : nodes)
      if (!checkpointed) node->options.checkpoint_interval = 1000 * kSecond;
  }
  // The log of each names members, also ones that are gone.
  void live() {
    boot_all();
    ASSERT_TRUE(run_until([&] { return whole(); }));
    replace_disk(2);
    boot(2);
    ASSERT_TRUE(run_until([&] { return whole(); }));
    for (int i = 0; i < 50; ++i) ASSERT_EQ(commit_one(*wait_for_leader()), Errc::ok);
    run_for(kSecond);
    for (const auto& node : nodes) node->crash();
  }
  [[nodiscard]] SeatPlace place(std::uint32_t id) {
    return {node(id).options.id, node(id).options.node, node(id).options.data_directory,
            node(id).options.wal.directory};
  }
  [[nodiscard]] Status force(std::uint32_t id) {
    sim::SimFiles files(node(id).fs);
    return want_seat(files, place(id));
  }
  [[nodiscard]] Result<SeatReport> inspect(std::uint32_t id) {
    sim::SimFiles files(node(id).fs);
    return inspect_seat(files, place(id));
  }
};

TEST(ForcedSeat, a_survivor_goes_on_alone_with_all_it_has_and_takes_in_blank_nodes) {
  for (const bool checkpointed : {false, true}) {
    ForcedWorld world(checkpointed);
    world.live();
    const auto report = world.inspect(1);
    ASSERT_TRUE(report.has_value()) << report.error().message;
    EXPECT_EQ(report->voters, "1, 2, 3");
    EXPECT_GE(report->commit, Index(50));
    ASSERT_TRUE(world.force(1).has_value());
    EXPECT_TRUE(world.inspect(1)->wanted);
    ASSERT_TRUE(world.force(1).has_value()) << "the same again";
    for (const std::uint32_t id : {2U, 3U}) world.node(id).fs.wipe();
    world.boot(1);
    ASSERT_NE(world.wait_for_leader(), nullptr) << checkpointed;
    EXPECT_GE(world.node(1).group->core().last_index(), report->last_index);
    EXPECT_EQ(world.commit_one(world.node(1)), Errc::ok);
    const raft::Incarnation incarnation = world.node(1).group->incarnation();
    world.node(1).crash();
    world.boot(1);
    ASSERT_NE(world.wait_for_leader(), nullptr);
    EXPECT_EQ(world.node(1).group->incarnation(), incarnation) << "once only";
    world.boot(2);
    world.boot(3);
    ASSERT_TRUE(world.run_until([&] { return world.whole(); })) << checkpointed;
    world.node(1).crash();
    ASSERT_NE(world.wait_for_leader(), nullptr);
    EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
    world.boot(1);
    EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
  }
}

// Against the advice: they go on with the old history, and neither side gets into the other's log.
TEST(ForcedSeat, nodes_with_the_old_data_that_come_back_are_not_taken_in) {
  ForcedWorld world(false);
  world.live();
  ASSERT_TRUE(world.force(1).has_value());
  world.boot_all();
  ASSERT_TRUE(world.run_until(
      [&] { return world.node(1).leading() && (world.node(2).leading() || world.node(3).leading()); }));
  world.run_for(3 * kSecond);
  EXPECT_EQ(world.commit_one(world.node(1)), Errc::ok);
  EXPECT_EQ(world.node(1).members().voters.size(), 1u);
  EXPECT_TRUE(world.node(1).members().learners.empty());
  const Index length = world.node(1).group->core().last_index();
  for (const std::uint32_t id : {2U, 3U}) {
    EXPECT_TRUE(world.node(id).members().is_voter(NodeId(1))) << "under the incarnation that is gone";
    EXPECT_NE(world.node(id).members().incarnation_of(NodeId(1)), world.node(1).group->incarnation());
  }
  for (const std::uint32_t id : {2U, 3U}) {
    world.replace_disk(id);
    world.boot(id);
  }
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
  EXPECT_GE(world.node(2).group->core().last_index(), length);
}

TEST(ForcedSeat, data_that_are_not_a_voters_are_refused) {
  ForcedWorld world(false);
  world.live();
  world.node(3).fs.wipe();
  EXPECT_FALSE(world.force(3).has_value()) << "nothing is there";
  // A learner that has not got everything: nobody but the leader is there to make it a voter.
  world.boot(1);
  world.boot(2);
  ASSERT_NE(world.wait_for_leader(), nullptr);
  world.boot(3);
  ASSERT_TRUE(world.run_until([&] { return world.leader()->members().is_learner(NodeId(3)); }));
  world.run_for(kMillisecond);
  world.node(3).crash();
  const Status refused = world.force(3);
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("hoose another node"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace esc::replica::test
