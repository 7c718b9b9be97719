// Changes of the nodes, at the controller. The groups have one voter, node 1; the configuration names three
// nodes.
#include "esc/wire/api/alter_nodes.h"
#include "esc/wire/api/describe_nodes.h"
#include "esc/wire/api/metadata.h"
#include "world.h"

namespace esc::broker::test {
namespace {

using wire::AlterNodesRequest;
using wire::ErrorCode;

AlterNodesRequest adding(std::int32_t id, std::string_view peer = "10.0.0.9", std::int32_t peer_port = 9192) {
  return {.action = AlterNodesRequest::kAdd,
          .node_id = id,
          .host = "clients",
          .port = 9092,
          .peer_host = peer,
          .peer_port = peer_port,
          .rack = "r1"};
}
AlterNodesRequest removing(std::int32_t id) {
  return {.action = AlterNodesRequest::kRemove, .node_id = id};
}

struct Nodes : testing::Test {
  Nodes() : world(1) { world.lead(); }
  ErrorCode alter(const AlterNodesRequest& request) {
    const auto answer = world.call<wire::AlterNodesResponse>(request, 0);
    said = answer.error_message;
    return answer.error_code;
  }
  std::string listed() {
    const auto answer = world.call<wire::DescribeNodesResponse>(wire::DescribeNodesRequest{}, 0);
    std::string text = answer.recorded ? "recorded" : "configured";
    for (const auto& node : answer.nodes)
      text += " " + std::to_string(node.node_id) + (node.leaving ? "!" : "");
    return text;
  }
  World world;
  std::string said;
};

TEST_F(Nodes, are_those_of_the_configuration_until_the_first_change) {
  EXPECT_EQ(listed(), "configured 1 2 3");
  EXPECT_EQ(alter(adding(4)), ErrorCode::none) << said;
  EXPECT_EQ(listed(), "recorded 1 2 3 4");
  wire::MetadataRequest all;
  const auto metadata = world.call<wire::MetadataResponse>(all, 12);
  ASSERT_EQ(metadata.brokers.size(), 4u);
  EXPECT_EQ(metadata.brokers[3].host, "clients");
  EXPECT_EQ(metadata.brokers[3].rack, "r1");
  EXPECT_EQ(world.broker->replication_factor(), 4u);
}

TEST_F(Nodes, the_same_addition_again_is_no_error_and_another_one_is) {
  ASSERT_EQ(alter(adding(4)), ErrorCode::none);
  const Index before = world.groups[0]->commit_index();
  const std::string list = listed();
  EXPECT_EQ(alter(adding(4)), ErrorCode::none);
  EXPECT_EQ(listed(), list);
  EXPECT_GT(world.groups[0]->commit_index(), before) << "a deposed leader would say so, too";
  EXPECT_EQ(alter(adding(4, "10.0.0.8")), ErrorCode::invalid_request);
  EXPECT_NE(said.find("node 4 is there already"), std::string::npos) << said;
}

TEST_F(Nodes, addresses_that_cannot_work_are_refused) {
  for (const auto& [request, why] :
       std::vector<std::pair<AlterNodesRequest, std::string>>{{adding(4, "node4.example.org"), "numeric"},
                                                              {adding(4, "0.0.0.0"), "can connect to"},
                                                              {adding(4, "10.0.0.9", 0), "can connect to"},
                                                              {adding(4, ""), "can connect to"},
                                                              {adding(4, "10.0.0.9", 70000), "no port"},
                                                              {adding(0), "no node number"}}) {
    EXPECT_EQ(alter(request), ErrorCode::invalid_request) << why;
    EXPECT_NE(said.find(why), std::string::npos) << said;
  }
  auto taken = adding(4);
  taken.host = "host2";
  EXPECT_EQ(alter(taken), ErrorCode::invalid_request);
  EXPECT_NE(said.find("is an address of node 2"), std::string::npos) << said;
  EXPECT_EQ(listed(), "configured 1 2 3");
}

TEST_F(Nodes, seven_are_the_most) {
  for (std::int32_t id = 4; id <= 7; ++id)
    ASSERT_EQ(alter([&] {
                auto request = adding(id, "10.0.0.9", 9000 + id);
                request.port = id;
                return request;
              }()),
              ErrorCode::none)
        << said;
  EXPECT_EQ(alter(adding(8, "10.0.0.10")), ErrorCode::invalid_request);
  EXPECT_NE(said.find("7 nodes"), std::string::npos) << said;
}

TEST_F(Nodes, a_removed_one_is_gone_once_no_group_counts_it) {
  ASSERT_EQ(alter(removing(3)), ErrorCode::none) << said;
  ASSERT_TRUE(world.turn_until([&] { return world.broker->directory().nodes().size() == 2; }));
  EXPECT_EQ(listed(), "recorded 1 2");
  EXPECT_EQ(world.broker->directory().catalog().nodes().removed, std::vector<NodeId>{NodeId(3)});
  EXPECT_EQ(alter(removing(3)), ErrorCode::resource_not_found);
  // It may come back, under the same number.
  ASSERT_EQ(alter(adding(3)), ErrorCode::none) << said;
  EXPECT_TRUE(world.broker->directory().catalog().nodes().removed.empty());
}

// As long as it counts somewhere, a removal can be taken back.
TEST_F(Nodes, one_that_is_leaving_stays_when_it_is_added_again) {
  replica::NodeList list;
  for (std::uint32_t id = 1; id <= 3; ++id) {
    list.nodes.push_back({.node = NodeId(id),
                          .host = "host" + std::to_string(id),
                          .port = 9092,
                          .peer_host = "10.0.0." + std::to_string(id),
                          .peer_port = 9192});
  }
  list.nodes[0].leaving = true;  // the only voter: it cannot go
  std::vector<std::byte> command;
  replica::Catalog::encode_set_nodes(list, command);
  ASSERT_TRUE(
      world.groups[0]->append_command(logfmt::EntryKind::metadata, PartitionId(0), command).has_value());
  ASSERT_TRUE(world.turn_until([&] { return world.broker->directory().nodes_version() > 0; }));
  world.turn_for(200 * kMillisecond);
  ASSERT_EQ(listed(), "recorded 1! 2 3");
  EXPECT_EQ(alter(removing(2)), ErrorCode::policy_violation);
  EXPECT_NE(said.find("node 1 is being removed"), std::string::npos) << said;
  auto again = adding(1, "10.0.0.1");
  again.host = "host1";
  again.rack = "";
  EXPECT_EQ(alter(again), ErrorCode::none) << said;
  EXPECT_EQ(listed(), "recorded 1 2 3");
}

TEST_F(Nodes, who_votes_is_not_taken_away_when_nobody_would_be_left) {
  EXPECT_EQ(alter(removing(1)), ErrorCode::policy_violation);
  EXPECT_NE(said.find("only node that votes"), std::string::npos) << said;
  EXPECT_EQ(alter(removing(9)), ErrorCode::resource_not_found);
  EXPECT_EQ(listed(), "configured 1 2 3");
}

TEST(NodesOfAFollower, are_changed_at_the_controller) {
  World world(3);
  EXPECT_EQ(world.call<wire::AlterNodesResponse>(adding(4), 0).error_code, ErrorCode::not_controller);
}

}  // namespace
}  // namespace esc::broker::test
