#include <gtest/gtest.h>

#include "world.h"

namespace esc::peer::test {
namespace {

std::string pattern(std::size_t bytes, unsigned seed = 0) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 7 + (i >> 9) + seed);
  return text;
}

struct Pair : World {
  Pair() : low(add(1)), high(add(2)) {}
  Node& low;
  Node& high;
};

TEST(Links, the_lower_node_dials_and_both_sides_come_up) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high)) << world.log();
  EXPECT_EQ(world.low.handler.events, std::vector<std::string>{"up 2"});
  EXPECT_EQ(world.high.handler.events, std::vector<std::string>{"up 1"});
  EXPECT_EQ(world.low.links->stats().dials, 1u);
  EXPECT_EQ(world.high.links->stats().dials, 0u);
  ASSERT_EQ(world.high.hellos.size(), 1u);
  EXPECT_EQ(world.high.hellos[0].from, NodeId(1));
  EXPECT_TRUE(world.low.hellos.empty());
}

TEST(Links, every_message_arrives_as_it_was_sent_in_one_gathered_send) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  std::string first = pattern(100);
  std::string second = pattern(3000, 5);
  const std::vector<struct iovec> payload = {piece_of(first), piece_of(second)};
  std::vector<Outgoing> outgoing;
  for (const Sample& sample : every_message()) {
    outgoing.push_back({.message = sample.message,
                        .payload = sample.may_have_payload ? payload : std::span<const struct iovec>{}});
  }
  world.low.links->send(NodeId(2), outgoing);
  EXPECT_FALSE(world.low.links->can_send(NodeId(2)));
  ASSERT_TRUE(world.run_until([&] { return world.high.handler.received.size() == outgoing.size(); }))
      << world.log();
  ASSERT_TRUE(world.run_until([&] { return world.low.handler.sent == 1; }));
  EXPECT_TRUE(world.low.links->can_send(NodeId(2)));
  const std::vector<Sample> samples = every_message();
  for (std::size_t i = 0; i < samples.size(); ++i) {
    const Received& got = world.high.handler.received[i];
    EXPECT_EQ(encoded({.name = {}, .message = got.message}), encoded(samples[i])) << samples[i].name;
    EXPECT_EQ(got.payload, samples[i].may_have_payload ? first + second : "") << samples[i].name;
    EXPECT_EQ(got.from, NodeId(1));
  }
  EXPECT_EQ(world.low.links->stats().sends, 1u);
  EXPECT_EQ(world.high.links->stats().messages_received, samples.size());
}

TEST(Links, a_mebibyte_in_many_pieces_arrives_whole_in_both_directions_at_once) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  std::string text = pattern(1 << 20);
  std::vector<struct iovec> pieces;
  for (std::size_t at = 0; at < text.size(); at += 4096) pieces.push_back({text.data() + at, 4096});
  std::string other = pattern(world.low.options.payload_bytes_max, 3);
  const struct iovec other_piece = piece_of(other);
  world.low.links->send(NodeId(2), one(message(entries()), pieces));
  world.high.links->send(NodeId(1), one(Service{.kind = 1}, {&other_piece, 1}));
  ASSERT_TRUE(world.run_until(
      [&] { return world.high.handler.received.size() == 1 && world.low.handler.received.size() == 1; }));
  EXPECT_TRUE(world.high.handler.received[0].payload == text);
  EXPECT_TRUE(world.low.handler.received[0].payload == other);
  EXPECT_EQ(world.high.links->stats().messages_assembled, 1u);
}

TEST(Links, long_and_short_messages_keep_their_order) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  Prng prng(9);
  std::vector<std::string> payloads(kMessagesPerSend);
  for (std::uint64_t round = 0; round < 20; ++round) {
    world.high.handler.received.clear();
    std::vector<struct iovec> pieces(kMessagesPerSend);
    std::vector<Outgoing> outgoing;
    for (std::size_t i = 0; i < kMessagesPerSend; ++i) {
      payloads[i] =
          pattern(prng.chance(1, 4) ? prng.below(200'000) : prng.below(300), static_cast<unsigned>(i));
      pieces[i] = piece_of(payloads[i]);
      outgoing.push_back({.message = Service{.kind = 9, .tag = i}, .payload = {&pieces[i], 1}});
    }
    world.low.links->send(NodeId(2), outgoing);
    ASSERT_TRUE(world.run_until([&] {
      return world.high.handler.received.size() == kMessagesPerSend && world.low.links->can_send(NodeId(2));
    }));
    for (std::size_t i = 0; i < kMessagesPerSend; ++i) {
      const Received& got = world.high.handler.received[i];
      ASSERT_EQ(std::get<Service>(got.message).tag, i);
      ASSERT_TRUE(got.payload == payloads[i]) << round << " " << i;
    }
  }
  EXPECT_GT(world.high.links->stats().messages_assembled, 0u);
  EXPECT_EQ(world.loop->receive_buffers_lent(), 0u);
}

TEST(Links, answers_can_be_sent_from_the_callback) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  world.high.handler.then = [&](const Received&) {
    world.high.links->send(NodeId(1), one(message(raft::HeartbeatReply{.round = 5})));
  };
  world.low.links->send(NodeId(2), one(message(raft::Heartbeat{.round = 5})));
  ASSERT_TRUE(world.run_until([&] { return world.low.handler.received.size() == 1; }));
  EXPECT_EQ(world.low.handler.received[0].from, NodeId(2));
}

TEST(Links, a_link_that_was_closed_is_dialled_again) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  world.high.links->close(NodeId(1), "test");
  ASSERT_TRUE(world.run_until(
      [&] { return world.low.handler.count("up 2") == 2 && world.high.handler.count("up 1") == 2; }));
  EXPECT_EQ(world.low.handler.events, (std::vector<std::string>{"up 2", "down 2", "up 2"}));
  EXPECT_EQ(world.high.handler.events, (std::vector<std::string>{"up 1", "down 1", "up 1"}));
  EXPECT_EQ(world.low.links->stats().links_down, 1u);
}

TEST(Links, a_node_that_ends_takes_its_links_down_and_its_successor_is_found) {
  Pair world;
  Node& third = world.add(3);
  ASSERT_TRUE(world.connect(world.low, world.high));
  ASSERT_TRUE(world.connect(world.low, third));
  const Nanos before = world.loop->now();
  world.nodes.pop_back();
  ASSERT_TRUE(world.run_until([&] { return !world.low.links->up(NodeId(3)); }));
  EXPECT_LT(world.loop->now() - before, 100 * kMillisecond);
  EXPECT_EQ(world.low.handler.last_reason, Errc::closed);
  EXPECT_TRUE(world.low.links->up(NodeId(2)));
  Node& successor = world.add(3);
  ASSERT_TRUE(world.connect(world.low, successor));
  EXPECT_EQ(world.low.handler.count("up 3"), 2u);
}

TEST(Links, an_unreachable_peer_is_tried_with_growing_pauses_until_its_address_is_right) {
  Pair world;
  world.high.links->set_peer({.node = NodeId(1), .host = "127.0.0.1", .port = world.low.port});
  world.low.links->set_peer({.node = NodeId(2), .host = "127.0.0.1", .port = 1});
  world.run_for(400 * kMillisecond);
  const std::uint64_t dials = world.low.links->stats().dials;
  EXPECT_GE(dials, 4u);
  EXPECT_LE(dials, 12u) << "a pause of 20 ms doubles";
  EXPECT_NE(world.log().find("peer_unreachable"), std::string::npos);
  EXPECT_NE(world.log().find("port=1 "), std::string::npos);
  EXPECT_TRUE(world.low.handler.events.empty());
  ASSERT_TRUE(world.connect(world.low, world.high));
}

TEST(Links, a_name_instead_of_a_numeric_address_is_a_log_line_not_an_end) {
  Pair world;
  world.low.links->set_peer({.node = NodeId(2), .host = "some.name", .port = 1});
  world.run_for(50 * kMillisecond);
  EXPECT_NE(world.log().find("cause=\"invalid argument\""), std::string::npos) << world.log();
  ASSERT_TRUE(world.connect(world.low, world.high));
}

TEST(Links, a_removed_peer_is_closed_refused_and_can_come_back) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  world.high.links->remove_peer(NodeId(1));
  ASSERT_TRUE(world.run_until([&] { return world.log().find("not a member here") != std::string::npos; }));
  EXPECT_EQ(world.high.handler.events, (std::vector<std::string>{"up 1", "down 1"}));
  EXPECT_FALSE(world.high.links->up(NodeId(1)));
  ASSERT_TRUE(world.connect(world.low, world.high)) << world.log();
}

TEST(Links, shutdown_takes_links_down_and_ends) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high));
  std::string text = pattern(1 << 20);
  const struct iovec piece = piece_of(text);
  world.low.links->send(NodeId(2), one(Service{}, {&piece, 1}));
  world.low.links->shutdown();
  ASSERT_TRUE(world.run_until([&] { return world.low.links->stopped(); }));
  EXPECT_EQ(world.low.handler.events, (std::vector<std::string>{"up 2", "down 2"}));
  world.run_for(50 * kMillisecond);
  EXPECT_EQ(world.low.links->stats().dials, 1u);
}

TEST(Links, five_nodes_find_each_other) {
  World world;
  for (std::uint32_t id = 1; id <= 5; ++id) world.add(id);
  for (std::size_t a = 0; a < 5; ++a)
    for (std::size_t b = a + 1; b < 5; ++b) World::introduce(*world.nodes[a], *world.nodes[b]);
  ASSERT_TRUE(world.run_until([&] {
    return std::ranges::all_of(world.nodes,
                               [](const auto& node) { return node->handler.events.size() == 4; });
  }));
  for (const auto& node : world.nodes) EXPECT_EQ(node->links->stats().links_up, 4u);
}

}  // namespace
}  // namespace esc::peer::test
