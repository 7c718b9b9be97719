// Founding, blank disks under old ids, and who counts meanwhile (docs/decisions/0017).
#include <gtest/gtest.h>

#include "../../src/replica/checkpoint_format.h"
#include "../../src/replica/incarnation_file.h"
#include "cluster_world.h"

namespace esc::replica::test {
namespace {

TEST(IncarnationFile, reads_back_what_was_written_and_notices_every_flipped_bit) {
  IncarnationFile file;
  file.incarnation = raft::Incarnation(0x1122334455667788);
  file.pledged.voters.push_back(NodeId(1));
  file.pledged.set_incarnation(NodeId(1), file.incarnation);
  file.founded = true;
  std::vector<std::byte> bytes;
  encode_incarnation_file(file, bytes);
  const auto decoded = decode_incarnation_file(bytes, "x");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->incarnation, file.incarnation);
  EXPECT_EQ(decoded->pledged, file.pledged);
  EXPECT_TRUE(decoded->founded);
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    auto bad = bytes;
    bad[bit / 8] ^= static_cast<std::byte>(1 << (bit % 8));
    const auto refused = decode_incarnation_file(bad, "/data/incarnation");
    ASSERT_FALSE(refused.has_value()) << bit;
    EXPECT_NE(refused.error().message.find("/data/incarnation"), std::string::npos);
  }
}

TEST(IncarnationFile, a_seat_reads_back_and_needs_a_newer_version) {
  IncarnationFile file;
  file.incarnation = raft::Incarnation(7);
  file.seat.state = Seat::State::wanted;
  std::vector<std::byte> bytes;
  encode_incarnation_file(file, bytes);
  EXPECT_EQ(load_le<std::uint32_t>(bytes.data() + 8), 2u);
  EXPECT_EQ(decode_incarnation_file(bytes, "x")->seat.state, Seat::State::wanted);
  file.seat = {Seat::State::taken, Index(12), Term(34)};
  file.founded = true;
  file.pledged.voters.push_back(NodeId(1));
  file.pledged.set_incarnation(NodeId(1), file.incarnation);
  bytes.clear();
  encode_incarnation_file(file, bytes);
  const auto decoded = decode_incarnation_file(bytes, "x");
  ASSERT_TRUE(decoded.has_value()) << decoded.error().message;
  EXPECT_EQ(decoded->seat.state, Seat::State::taken);
  EXPECT_EQ(decoded->seat.through, Index(12));
  EXPECT_EQ(decoded->seat.term, Term(34));
  EXPECT_EQ(decoded->pledged, file.pledged);
}

TEST(Membership, a_new_cluster_is_founded_by_all_of_its_voters_with_equal_members) {
  ClusterWorld world(3);
  world.boot_all();
  const Nanos booted = world.clock.now();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  EXPECT_LT(world.clock.now(), booted + kSecond) << "a fresh cluster serves soon";
  ASSERT_TRUE(world.whole());
  for (const auto& node : world.nodes) {
    EXPECT_EQ(node->members(), world.node(1).members());
    for (const auto& member : world.nodes)
      EXPECT_EQ(node->members().incarnation_of(member->options.node), member->group->incarnation());
  }
  EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
}

TEST(Membership, two_of_three_blank_nodes_do_not_begin_without_the_third) {
  ClusterWorld world(3);
  world.boot(1);
  world.boot(2);
  world.run_for(5 * kSecond);
  EXPECT_EQ(world.node(1).group->term(), Term(0));
  EXPECT_EQ(world.node(2).group->term(), Term(0));
  EXPECT_TRUE(world.node(1).members().voters.empty());
  world.boot(3);
  ASSERT_NE(world.wait_for_leader(), nullptr);
  EXPECT_TRUE(world.whole());
}

TEST(Membership, a_restart_keeps_the_incarnation_and_a_blank_disk_gets_another) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  const raft::Incarnation before = world.node(3).group->incarnation();
  world.node(3).crash();
  world.boot(3);
  EXPECT_EQ(world.node(3).group->incarnation(), before);
  world.replace_disk(3);
  world.boot(3);
  EXPECT_NE(world.node(3).group->incarnation(), before);
}

// The hole that incarnations close: 1 and 3 hold what was acknowledged, 2 was cut off. With 3 blank and 1
// dead, 2 and 3 would be a majority that has forgotten it.
TEST(Membership, a_blank_disk_under_an_old_id_elects_nobody) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  const std::uint32_t leader = world.leader()->number;
  const std::uint32_t behind = leader % 3 + 1;
  const std::uint32_t lost = behind % 3 + 1;
  world.node(behind).crash();
  ASSERT_EQ(world.commit_one(world.node(leader)), Errc::ok);
  const Index acknowledged = world.node(leader).group->commit_index();
  world.node(leader).crash();
  world.replace_disk(lost);
  world.boot(behind);
  world.boot(lost);
  world.run_for(5 * kSecond);
  EXPECT_EQ(world.leader(), nullptr);
  EXPECT_EQ(world.node(lost).group->core().last_index(), Index(0)) << "it has taken part";
  EXPECT_EQ(world.node(lost).group->term(), Term(0)) << "it has voted";
  // With the node that holds it, all is there again.
  world.boot(leader);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  EXPECT_GE(world.node(lost).group->core().last_index(), acknowledged);
}

// The snapshot is older than the change that takes the new data in: in it the node votes, but with the data
// that are gone. With its own vote and that of a node that was away it would be a majority that has forgotten
// what the leader and those data had committed.
TEST(Membership, a_snapshot_from_before_the_disk_was_replaced_makes_no_leader) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  ClusterNode& first = *world.leader();
  const std::uint32_t lost = first.number % 3 + 1;
  const std::uint32_t other = 6 - first.number - lost;
  for (int i = 0; i < 40; ++i) ASSERT_EQ(world.commit_one(first), Errc::ok);
  world.run_for(kSecond);  // the checkpoint covers them
  world.replace_disk(lost);
  world.boot(lost);
  ASSERT_TRUE(world.run_until([&] { return first.members().is_learner(NodeId(lost)); }));
  world.node(other).crash();  // the change gets no further than the leader
  const ClusterNode& blank = world.node(lost);
  ASSERT_TRUE(world.run_until([&] { return blank.group->core().last_index() > Index(0); }, kSecond));
  ASSERT_TRUE(blank.members().is_voter(NodeId(lost))) << "the snapshot is from before the change";
  first.crash();
  world.boot(other);
  world.run_for(5 * kSecond);
  EXPECT_EQ(world.leader(), nullptr);
  world.boot(first.number);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

TEST(Membership, a_replaced_disk_comes_back_as_learner_then_as_voter) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  const std::uint32_t leader = world.leader()->number;
  const std::uint32_t lost = leader % 3 + 1;
  world.replace_disk(lost);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(world.commit_one(world.node(leader)), Errc::ok);
  world.boot(lost);
  bool was_learner = false;
  ASSERT_TRUE(world.run_until([&] {
    was_learner = was_learner || world.node(leader).members().is_learner(NodeId(lost));
    return world.whole();
  }));
  EXPECT_TRUE(was_learner);
  ASSERT_TRUE(world.run_until(
      [&] { return world.node(lost).group->commit_index() == world.node(leader).group->commit_index(); }));
  EXPECT_EQ(world.node(lost).members(), world.node(leader).members());
  // It counts: with the third node gone, two are a majority.
  const std::uint32_t other = 6 - leader - lost;
  world.node(other).crash();
  EXPECT_EQ(world.commit_one(world.node(leader)), Errc::ok);
}

TEST(Membership, every_disk_may_be_replaced_one_after_the_other) {
  ClusterWorld world(5);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  for (std::uint32_t id = 1; id <= 5; ++id) {
    ASSERT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
    const Index committed = world.leader()->group->commit_index();
    world.replace_disk(id);
    world.boot(id);
    ASSERT_TRUE(world.run_until([&] { return world.whole(); })) << "node " << id;
    EXPECT_GE(world.leader()->group->commit_index(), committed);
  }
}

TEST(Membership, a_voter_is_not_replaced_while_the_others_are_no_majority) {
  ClusterWorld world(5);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  const std::uint32_t leader = world.leader()->number;
  const std::uint32_t a = leader % 5 + 1;
  const std::uint32_t b = a % 5 + 1;
  const std::uint32_t c = b % 5 + 1;
  world.node(a).crash();
  world.node(b).crash();
  world.replace_disk(c);  // two of five are left
  world.run_for(300 * kMillisecond);
  world.boot(c);
  world.run_for(3 * kSecond);
  EXPECT_TRUE(world.node(leader).members().is_voter(NodeId(c)));
  world.boot(a);
  world.boot(b);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

TEST(Membership, data_without_their_incarnation_are_refused) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.node(2).group->core().durable_index() > Index(0); }));
  world.node(2).crash();
  ASSERT_EQ(world.node(2).fs.remove("/data/incarnation"), 0);
  const Status status = world.node(2).boot();
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("/data/incarnation is missing"), std::string::npos)
      << status.error().message;
}

// Votes live in the log: a log directory that is gone takes them along.
TEST(Membership, a_log_that_is_gone_before_the_first_checkpoint_is_a_new_incarnation) {
  ClusterWorld world(3);
  for (const auto& node : world.nodes) node->options.checkpoint_interval = 1000 * kSecond;
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  const raft::Incarnation before = world.node(2).group->incarnation();
  world.node(2).crash();
  std::vector<io::DirectoryEntry> entries;
  ASSERT_EQ(world.node(2).fs.list("/data/wal", entries), 0);
  for (const auto& entry : entries) ASSERT_EQ(world.node(2).fs.remove("/data/wal/" + entry.name), 0);
  world.boot(2);
  EXPECT_NE(world.node(2).group->incarnation(), before);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

}  // namespace
}  // namespace esc::replica::test
