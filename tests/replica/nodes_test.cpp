// Nodes that are added to a cluster and removed from it: what group 0's log says, told to the group by hand.
#include "cluster_world.h"

namespace esc::replica::test {
namespace {

// Three founders; more nodes come later.
struct GrowingWorld : ClusterWorld {
  explicit GrowingWorld(std::uint32_t founders = 3) : ClusterWorld(founders) {}

  void found() {
    boot_all();
    ASSERT_NE(wait_for_leader(), nullptr);
    ASSERT_TRUE(run_until([&] { return whole(); }));
    for (const auto& founder : nodes) list.nodes.push_back(record(founder->number));
  }
  static NodeRecord record(std::uint32_t id) {
    return {.node = NodeId(id),
            .host = "host",
            .port = 9092,
            .peer_host = sim::address_of(id),
            .peer_port = kPort};
  }
  // A machine with an empty disk and a configuration that names the others, as cluster.join wants it.
  ClusterNode& newcomer() {
    const auto id = static_cast<std::uint32_t>(nodes.size() + 1);
    nodes.push_back(std::make_unique<ClusterNode>(clock, network, id, id, 1));
    nodes.back()->options.members = {};
    network.boot(id);
    return *nodes.back();
  }
  // As if group 0 had committed it, everywhere.
  void tell() {
    for (const auto& node : nodes)
      if (node->running()) node->group->set_nodes(list);
  }
  void add(std::uint32_t id) {
    list.nodes.push_back(record(id));
    std::erase(list.removed, NodeId(id));
    tell();
  }
  void leave(std::uint32_t id) {
    for (NodeRecord& each : list.nodes) each.leaving = each.node == NodeId(id);
    tell();
  }
  void remove(std::uint32_t id) {
    std::erase_if(list.nodes, [id](const NodeRecord& each) { return each.node == NodeId(id); });
    list.removed.emplace_back(id);
    tell();
  }
  // Every node that is up and listed says the same about a member, committed.
  [[nodiscard]] bool all_say(std::uint32_t id, bool voter) {
    for (const auto& node : nodes) {
      if (!node->running() || list.find(node->options.node) == nullptr || node->number == id) continue;
      const raft::Core& core = node->group->core();
      if (core.configurations().current_index() > core.commit_index()) return false;
      if (voter ? !core.configuration().is_voter(NodeId(id)) : node->group->may_count(NodeId(id)))
        return false;
    }
    return true;
  }

  NodeList list;
};

TEST(Nodes, a_node_that_is_added_is_fed_and_becomes_a_voter_that_counts) {
  GrowingWorld world;
  world.found();
  for (int i = 0; i < 50; ++i) ASSERT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
  ClusterNode& fourth = world.newcomer();
  world.boot(4);
  world.add(4);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(4, true); }));
  EXPECT_TRUE(fourth.members().is_voter(NodeId(4)));
  // A majority is three now. With one founder dead it needs the new one.
  const std::uint32_t leader = world.leader()->number;
  world.node(leader % 3 + 1).crash();
  EXPECT_EQ(world.commit_one(world.node(leader)), Errc::ok);
  world.node(4).crash();
  EXPECT_NE(world.commit_one(world.node(leader)), Errc::ok);
}

TEST(Nodes, a_node_that_is_added_before_it_runs_is_taken_in_when_it_does) {
  GrowingWorld world;
  world.found();
  world.newcomer();
  world.add(4);
  world.run_for(2 * kSecond);
  EXPECT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
  EXPECT_FALSE(world.leader()->members().contains(NodeId(4)));
  world.boot(4);
  EXPECT_TRUE(world.run_until([&] { return world.all_say(4, true); }));
}

TEST(Nodes, a_node_that_joins_founds_nothing_and_is_nobody_before_it_is_added) {
  GrowingWorld world;
  world.newcomer();
  world.boot(4);
  for (std::uint32_t id : {1U, 2U}) world.boot(id);
  world.run_for(5 * kSecond);
  for (std::uint32_t id : {1U, 2U, 4U}) EXPECT_EQ(world.node(id).group->term(), Term(0)) << id;
  world.boot(3);
  ASSERT_NE(world.wait_for_leader(), nullptr);
  world.run_for(3 * kSecond);
  EXPECT_EQ(world.node(4).group->core().last_index(), Index(0));
  EXPECT_FALSE(world.leader()->members().contains(NodeId(4)));
}

TEST(Nodes, a_dead_node_is_replaced_by_one_with_another_id) {
  GrowingWorld world;
  world.found();
  world.node(3).crash();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  world.leave(3);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(3, false); }));
  world.remove(3);
  world.newcomer();
  world.boot(4);
  world.add(4);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(4, true); }));
  EXPECT_EQ(world.leader()->members().voters.size(), 3u);
  world.node(1).crash();
  ClusterNode* const leader = world.wait_for_leader();
  ASSERT_NE(leader, nullptr);
  EXPECT_EQ(world.commit_one(*leader), Errc::ok);
}

TEST(Nodes, a_leader_that_is_to_leave_hands_over_first) {
  GrowingWorld world;
  world.found();
  const std::uint32_t old = world.leader()->number;
  const Term before = world.leader()->group->term();
  world.leave(old);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(old, false); }));
  ASSERT_NE(world.wait_for_leader(), nullptr);
  EXPECT_NE(world.leader()->number, old);
  EXPECT_EQ(world.leader()->group->term(), before.next()) << "one election, and nobody timed out";
  EXPECT_EQ(world.leader()->members().voters.size(), 2u);
  // Gone from the list, it disturbs nobody.
  world.remove(old);
  const Term term = world.leader()->group->term();
  world.run_for(5 * kSecond);
  EXPECT_EQ(world.leader()->group->term(), term);
  EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
  EXPECT_FALSE(world.node(old).leading());
}

// Group 0 takes out a node as any other group does, and then tells it nothing more: perhaps not even that its
// last list of nodes is committed.
TEST(Nodes, a_leader_that_never_hears_that_it_is_to_leave_is_asked_to_hand_over) {
  GrowingWorld world;
  world.found();
  const std::uint32_t old = world.leader()->number;
  const Term before = world.leader()->group->term();
  for (NodeRecord& each : world.list.nodes) each.leaving = each.node == NodeId(old);
  for (const auto& node : world.nodes)
    if (node->number != old) node->group->set_nodes(world.list);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(old, false); }));
  ASSERT_NE(world.wait_for_leader(), nullptr);
  EXPECT_NE(world.leader()->number, old);
  EXPECT_EQ(world.leader()->group->term(), before.next()) << "one election, and nobody timed out";
  EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
}

TEST(Nodes, nobody_is_taken_out_while_no_majority_of_the_others_is_heard_from) {
  GrowingWorld world(5);
  world.found();
  const std::uint32_t leader = world.leader()->number;
  const std::uint32_t a = leader % 5 + 1;
  const std::uint32_t b = a % 5 + 1;
  const std::uint32_t c = b % 5 + 1;
  world.node(a).crash();
  world.node(b).crash();
  world.run_for(300 * kMillisecond);  // until nobody counts on them
  // Three of five are up: a majority. Without one of them two of four would be.
  world.leave(c);
  world.run_for(3 * kSecond);
  EXPECT_TRUE(world.node(leader).members().is_voter(NodeId(c)));
  EXPECT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
  world.boot(a);
  world.node(a).group->set_nodes(world.list);
  EXPECT_TRUE(world.run_until([&] { return world.all_say(c, false); }));
}

TEST(Nodes, a_removed_node_may_be_added_again_with_the_data_it_has) {
  GrowingWorld world;
  world.found();
  const std::uint32_t gone = world.leader()->number % 3 + 1;
  world.leave(gone);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(gone, false); }));
  world.remove(gone);
  for (int i = 0; i < 20; ++i) ASSERT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
  world.add(gone);
  EXPECT_TRUE(world.run_until([&] { return world.all_say(gone, true); }, 20 * kSecond));
}

// It was away while the leader was removed and added again, and has heard of the removal only.
TEST(Nodes, a_node_whose_old_list_says_that_the_leader_was_removed_follows_it_all_the_same) {
  GrowingWorld world;
  ASSERT_NO_FATAL_FAILURE(world.found());
  world.tell();
  ClusterNode* const leader = world.leader();
  ASSERT_NE(leader, nullptr);
  ClusterNode& stale = world.node(leader->number % 3 + 1);
  NodeList old = world.list;
  std::erase_if(old.nodes, [&](const NodeRecord& each) { return each.node == leader->options.node; });
  old.removed.push_back(leader->options.node);
  stale.group->set_nodes(old);
  ASSERT_TRUE(world.run_until([&] { return stale.group->leader() == NodeId(0); }));
  ASSERT_EQ(world.commit_one(*world.leader()), Errc::ok);
  const Index committed = world.leader()->group->commit_index();
  EXPECT_TRUE(world.run_until([&] { return stale.group->commit_index() >= committed; }));
}

TEST(Nodes, a_restart_with_the_old_configuration_goes_on_with_the_nodes_of_the_log) {
  GrowingWorld world;
  world.found();
  world.newcomer();
  world.boot(4);
  world.add(4);
  ASSERT_TRUE(world.run_until([&] { return world.all_say(4, true); }));
  for (std::uint32_t id = 1; id <= 4; ++id) world.node(id).crash();
  for (std::uint32_t id = 1; id <= 4; ++id) world.boot(id);
  world.tell();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  EXPECT_EQ(world.leader()->members().voters.size(), 4u);
  EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
}

// A node that was alone, and is given others.
struct GrownWorld : ClusterWorld {
  GrownWorld() : ClusterWorld(3) {
    peers = node(1).options.peers;
    members = node(1).options.members;
    node(1).options.peers.clear();
    node(1).options.members = {};
    node(1).options.began_alone = true;
  }
  void be_alone() {
    boot(1);
    ASSERT_NE(wait_for_leader(), nullptr);
    for (int i = 0; i < 100; ++i) ASSERT_EQ(commit_one(node(1)), Errc::ok);
  }
  void meet_others() {
    node(1).crash();
    node(1).options.peers = peers;
    node(1).options.members = members;
  }
  std::vector<peer::PeerAddress> peers;
  raft::Configuration members;
};

TEST(Nodes, a_node_that_was_alone_takes_in_others_and_dies) {
  for (const bool checkpointed : {false, true}) {
    GrownWorld world;
    if (!checkpointed) world.node(1).options.checkpoint_interval = 1000 * kSecond;
    world.be_alone();
    if (checkpointed) world.run_for(kSecond);
    const Index before = world.node(1).group->core().commit_index();
    world.meet_others();
    world.boot_all();
    ASSERT_TRUE(world.run_until([&] { return world.whole(); })) << checkpointed;
    for (int i = 0; i < 10; ++i) ASSERT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
    for (const auto& node : world.nodes) EXPECT_GT(node->group->core().last_index(), before);
    world.node(1).crash();
    ASSERT_TRUE(world.run_until([&] { return world.leader() != nullptr; }));
    EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
    world.boot(1);
    EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
  }
}

TEST(Nodes, a_node_that_was_alone_goes_on_when_it_dies_while_it_grows) {
  GrownWorld world;
  world.be_alone();
  world.meet_others();
  world.boot(1);  // the others are not there yet
  ASSERT_NE(world.wait_for_leader(), nullptr);
  EXPECT_EQ(world.commit_one(world.node(1)), Errc::ok) << "it is its own majority";
  const raft::Incarnation incarnation = world.node(1).group->incarnation();
  for (int i = 0; i < 3; ++i) {
    world.node(1).crash();
    world.boot(1);
    world.run_for(100 * kMillisecond * i);
  }
  EXPECT_EQ(world.node(1).group->incarnation(), incarnation) << "once only";
  world.boot(2);
  world.run_for(30 * kMillisecond);
  world.node(1).crash();
  world.boot(1);
  world.boot(3);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

TEST(Nodes, two_nodes_that_were_alone_do_not_take_each_other_in) {
  GrownWorld world;
  ClusterNode& other = world.node(2);
  const auto peers = other.options.peers;
  const auto members = other.options.members;
  other.options.peers.clear();
  other.options.members = {};
  other.options.began_alone = true;
  world.be_alone();
  world.boot(2);
  ASSERT_TRUE(world.run_until([&] { return other.leading(); }));
  EXPECT_EQ(world.commit_one(other), Errc::ok);
  world.meet_others();
  other.crash();
  other.options.peers = peers;
  other.options.members = members;
  world.boot(1);
  world.boot(2);
  world.run_for(5 * kSecond);
  EXPECT_TRUE(world.node(1).leading());
  EXPECT_TRUE(other.leading());
  EXPECT_FALSE(world.node(1).members().contains(NodeId(2)));
  EXPECT_FALSE(other.members().contains(NodeId(1)));
  EXPECT_EQ(world.commit_one(world.node(1)), Errc::ok);
}

// An incarnation that is missing beside a member's log proves nothing, whatever the directory once was.
TEST(Nodes, a_grown_node_that_has_lost_its_incarnation_is_refused) {
  GrownWorld world;
  world.be_alone();
  world.meet_others();
  world.boot_all();
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  world.node(1).crash();
  sim::SimFiles files(world.node(1).fs);
  ASSERT_TRUE(files.remove("/data/incarnation").has_value());
  const Status refused = world.node(1).boot();
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("is missing"), std::string::npos) << refused.error().message;
}

TEST(Nodes, a_member_does_not_run_alone_when_its_configuration_forgets_the_others) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  world.node(1).crash();
  world.node(1).options.peers.clear();
  world.node(1).options.members = {};
  const Status refused = world.node(1).boot();
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("list the others"), std::string::npos) << refused.error().message;
}

}  // namespace
}  // namespace esc::replica::test
