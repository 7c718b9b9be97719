// Admin calls between two nodes: who asks, who answers, and what becomes of those whose answer is lost. Links
// and leaders are the test's.
#include "../../src/broker/admin_relay.h"

#include <gtest/gtest.h>

#include "esc/base/prng.h"
#include "esc/broker/lifecycle.h"

namespace esc::broker {
namespace {

using wire::ErrorCode;
using Operation = ConfigChange::Operation;

struct Sent {
  NodeId to;
  peer::Service service;
  std::vector<std::byte> payload;
};

// One node: what its relay sends, carries out and replies to is collected.
struct Node {
  explicit Node(std::uint64_t tags_from = 0)
      : relay({.send =
                   [this](NodeId to, peer::Service service, ByteView payload) {
                     if (link_busy) return false;
                     sent.push_back({to, service, {payload.begin(), payload.end()}});
                     return true;
                   },
               .linked = [this](NodeId) { return linked; },
               .carry_out = [this](AdminCall& call) { here.push_back(&call); },
               .reply = [this](AdminCall& call) { replied.push_back(&call); }},
              tags_from) {}

  AdminRelay::View& turn(Nanos later = kMillisecond) {
    view.now += later;
    relay.do_work(view);
    return view;
  }

  bool linked = true;
  bool link_busy = false;
  AdminRelay::View view{.now = kSecond, .leader = NodeId(2)};
  std::vector<Sent> sent;
  std::vector<AdminCall*> here;
  std::vector<AdminCall*> replied;
  AdminRelay relay;
};

TopicOrder retention(std::string topic, std::string value = "60000") {
  TopicOrder order;
  order.kind = TopicOrder::Kind::configure;
  order.name = std::move(topic);
  order.changes = {{Operation::set, "retention.ms", std::move(value)},
                   {Operation::append, "cleanup.policy", "compact"}};
  return order;
}

TopicOrder creation(std::string topic) {
  TopicOrder order;
  order.name = std::move(topic);
  order.partitions = 7;
  order.overrides = {{"retention.bytes", "1000"}};
  return order;
}

// Outlives every relay that has it.
AdminCall* call_of(std::vector<TopicOrder> orders) {
  static std::vector<std::unique_ptr<AdminCall>> kept;
  kept.push_back(std::make_unique<AdminCall>());
  kept.back()->orders = std::move(orders);
  return kept.back().get();
}

// A client asks for these at the node, which has had its first turn with them.
AdminCall* ask(Node& node, std::vector<TopicOrder> orders) {
  AdminCall* const call = call_of(std::move(orders));
  node.relay.take(*call, node.view.now);
  node.turn();
  return call;
}

// Lets `leader` carry out what `asker` has sent last, all with `code`, and brings the answer back.
void carry_out(Node& asker, Node& leader, ErrorCode code, Index index) {
  ASSERT_FALSE(asker.sent.empty());
  const Sent asked = asker.sent.back();
  ASSERT_EQ(asked.service.kind, kServiceAdmin);
  const auto call = leader.relay.accept(NodeId(1), asked.service.tag, asked.payload);
  ASSERT_NE(call, nullptr);
  for (TopicOrder& order : call->orders) {
    order.code = code;
    if (code != ErrorCode::none) order.message = "for a reason";
  }
  call->last_index = index;
  leader.relay.answer(*call);
  leader.turn();
  ASSERT_FALSE(leader.sent.empty());
  const Sent answer = leader.sent.back();
  EXPECT_EQ(answer.to, NodeId(1));
  ASSERT_EQ(answer.service.kind, kServiceAdminDone);
  asker.relay.on_outcomes(answer.service.tag, answer.payload);
}

TEST(AdminRelay, an_order_arrives_at_the_leader_as_it_was_given) {
  Node node;
  AdminCall* const call = call_of({retention("orders"), creation("new")});
  call->validate_only = true;
  call->orders[0].replaces_all = true;
  call->orders[1].replication_factor = 3;
  node.relay.take(*call, node.view.now);
  node.turn();
  ASSERT_EQ(node.sent.size(), 1u);
  EXPECT_EQ(node.sent[0].to, NodeId(2));
  Node leader;
  const auto got = leader.relay.accept(NodeId(1), 5, node.sent[0].payload);
  ASSERT_NE(got, nullptr);
  EXPECT_TRUE(got->validate_only);
  ASSERT_EQ(got->orders.size(), 2u);
  const TopicOrder& configure = got->orders[0];
  EXPECT_EQ(configure.kind, TopicOrder::Kind::configure);
  EXPECT_TRUE(configure.replaces_all);
  ASSERT_EQ(configure.changes.size(), 2u);
  EXPECT_EQ(configure.changes[1].operation, Operation::append);
  EXPECT_EQ(configure.changes[1].key, "cleanup.policy");
  EXPECT_EQ(configure.changes[1].value, "compact");
  EXPECT_EQ(got->orders[1].kind, TopicOrder::Kind::create);
  EXPECT_EQ(got->orders[1].name, "new");
  EXPECT_EQ(got->orders[1].partitions, 7);
  EXPECT_EQ(got->orders[1].replication_factor, 3);
  EXPECT_EQ(got->orders[1].overrides, creation("").overrides);
}

TEST(AdminRelay, the_answer_leaves_when_this_node_knows_the_change) {
  Node node;
  Node leader;
  AdminCall* const call = ask(node, {retention("orders")});
  carry_out(node, leader, ErrorCode::none, Index(9));
  node.turn();
  EXPECT_TRUE(node.replied.empty());
  node.view.known = Index(9);
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::none);
  EXPECT_EQ(node.sent.size(), 1u) << "asked once";
}

TEST(AdminRelay, a_refusal_of_the_leader_is_the_answer) {
  Node node;
  Node leader;
  AdminCall* const call = ask(node, {retention("orders", "soon")});
  carry_out(node, leader, ErrorCode::invalid_config, Index(0));
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::invalid_config);
  EXPECT_EQ(call->orders[0].message, "for a reason");
}

TEST(AdminRelay, a_change_of_a_configuration_is_asked_of_the_next_leader_when_the_answer_is_lost) {
  Node node;
  AdminCall* const call = ask(node, {retention("orders")});
  node.view.leader = NodeId(3);
  node.turn();
  ASSERT_EQ(node.sent.size(), 2u);
  EXPECT_EQ(node.sent[1].to, NodeId(3));
  // The first answer comes late: it is nobody's any more.
  Node leader;
  std::swap(node.sent[0], node.sent[1]);
  carry_out(node, leader, ErrorCode::unknown_topic_or_partition, Index(0));
  node.turn();
  EXPECT_TRUE(node.replied.empty());
  std::swap(node.sent[0], node.sent[1]);
  carry_out(node, leader, ErrorCode::none, Index(0));
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::none);
}

TEST(AdminRelay, a_creation_whose_answer_is_lost_is_not_made_twice) {
  Node node;
  AdminCall* const call = ask(node, {creation("new")});
  node.linked = false;
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(node.sent.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::request_timed_out);
}

TEST(AdminRelay, whoever_leads_no_longer_says_so_and_the_change_is_asked_again) {
  Node node;
  Node leader;
  ask(node, {retention("orders")});
  carry_out(node, leader, ErrorCode::not_controller, Index(0));
  node.turn(AdminRelay::kAskAgainAfter);
  ASSERT_EQ(node.sent.size(), 2u);
  carry_out(node, leader, ErrorCode::none, Index(0));
  node.turn();
  EXPECT_EQ(node.replied.size(), 1u);
}

TEST(AdminRelay, a_node_that_has_become_the_leader_carries_it_out_itself) {
  Node node;
  ask(node, {retention("orders")});
  node.view.leader = NodeId(0);
  node.turn();
  EXPECT_TRUE(node.here.empty()) << "elected, but not ready";
  node.view.leading = true;
  node.turn();
  EXPECT_EQ(node.here.size(), 1u);
  EXPECT_TRUE(node.replied.empty());
}

TEST(AdminRelay, without_a_leader_the_client_is_told_after_a_while) {
  Node node;
  node.view.leader = NodeId(0);
  AdminCall* const call = ask(node, {retention("orders")});
  EXPECT_TRUE(node.replied.empty());
  node.turn(AdminRelay::kLeaderPatience);
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::not_controller);
}

TEST(AdminRelay, a_leader_that_does_not_answer_is_given_up) {
  Node node;
  AdminCall* const call = ask(node, {retention("orders")});
  node.turn(AdminRelay::kAnswerPatience);
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::request_timed_out);
}

TEST(AdminRelay, a_node_that_stops_keeps_nobody_waiting) {
  Node node;
  AdminCall* const call = ask(node, {retention("orders")});
  node.view.shutting_down = true;
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(call->orders[0].code, ErrorCode::not_controller);
}

TEST(AdminRelay, what_was_refused_here_is_not_asked_of_the_leader) {
  Node node;
  AdminCall* const call = call_of({retention("orders"), retention("other")});
  call->orders[0].code = ErrorCode::invalid_request;
  node.relay.take(*call, node.view.now);
  node.turn();
  ASSERT_EQ(node.sent.size(), 1u);
  Node leader;
  const auto got = leader.relay.accept(NodeId(1), 1, node.sent[0].payload);
  ASSERT_NE(got, nullptr);
  ASSERT_EQ(got->orders.size(), 1u);
  EXPECT_EQ(got->orders[0].name, "other");
}

TEST(AdminRelay, more_orders_than_a_message_has_room_for_go_in_several) {
  Node node;
  Node leader;
  std::vector<TopicOrder> orders;
  for (std::size_t i = 0; i <= AdminRelay::kOrdersMax; ++i) orders.push_back(retention(std::to_string(i)));
  orders.push_back(retention("large", std::string(2'000'000, '1')));
  AdminCall* const call = ask(node, std::move(orders));
  carry_out(node, leader, ErrorCode::none, Index(1));
  node.turn();
  EXPECT_TRUE(node.replied.empty());
  carry_out(node, leader, ErrorCode::none, Index(2));
  node.view.known = Index(2);
  node.turn();
  ASSERT_EQ(node.replied.size(), 1u);
  EXPECT_EQ(node.sent.size(), 2u);
  EXPECT_EQ(call->orders[AdminRelay::kOrdersMax].code, ErrorCode::none);
  EXPECT_EQ(call->orders.back().code, ErrorCode::not_controller);
}

TEST(AdminRelay, a_link_that_is_busy_is_tried_again) {
  Node node;
  node.link_busy = true;
  ask(node, {retention("orders")});
  EXPECT_TRUE(node.sent.empty());
  node.link_busy = false;
  node.turn();
  EXPECT_EQ(node.sent.size(), 1u);
  Node leader;
  leader.link_busy = true;
  const auto got = leader.relay.accept(NodeId(1), 1, node.sent[0].payload);
  ASSERT_NE(got, nullptr);
  leader.relay.answer(*got);
  leader.turn();
  EXPECT_TRUE(leader.sent.empty());
  leader.link_busy = false;
  leader.turn();
  EXPECT_EQ(leader.sent.size(), 1u);
}

TEST(AdminRelay, a_leader_takes_a_limited_number_of_calls_of_others) {
  Node node;
  ask(node, {retention("orders")});
  Node leader;
  for (std::size_t i = 0; i < AdminRelay::kForOthersMax; ++i)
    ASSERT_NE(leader.relay.accept(NodeId(1), i, node.sent[0].payload), nullptr);
  EXPECT_EQ(leader.relay.accept(NodeId(1), 1, node.sent[0].payload), nullptr);
}

TEST(AdminRelay, a_message_that_is_cut_off_or_broken_is_no_call_and_no_answer) {
  Node node;
  ask(node, {retention("orders"), creation("new")});
  const std::vector<std::byte> asked = node.sent[0].payload;
  Node leader;
  const auto got = leader.relay.accept(NodeId(1), node.sent[0].service.tag, asked);
  ASSERT_NE(got, nullptr);
  leader.relay.answer(*got);
  leader.turn();
  const std::vector<std::byte> answer = leader.sent[0].payload;
  for (std::size_t bytes = 0; bytes < answer.size(); ++bytes)
    node.relay.on_outcomes(node.sent[0].service.tag, ByteView(answer).first(bytes));
  node.turn();
  EXPECT_TRUE(node.replied.empty());
  Prng prng(3);
  for (int i = 0; i < 2'000; ++i) {
    std::vector<std::byte> broken = asked;
    for (std::uint64_t k = 0; k <= prng.next() % 4; ++k)
      broken[prng.next() % broken.size()] = static_cast<std::byte>(prng.next());
    broken.resize(broken.size() - prng.next() % 3);
    Node fresh;
    const auto decoded = fresh.relay.accept(NodeId(1), 1, broken);
    if (decoded == nullptr) continue;
    EXPECT_LE(decoded->orders.size(), 2u);
    fresh.relay.answer(*decoded);
  }
}

}  // namespace
}  // namespace esc::broker
