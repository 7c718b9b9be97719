// Links that must not come up, and bytes that must not be believed.
#include <gtest/gtest.h>

#include <limits>
#include <sstream>
#include "esc/base/crc32c.h"

#include "world.h"

namespace esc::peer::test {
namespace {

struct Refused : testing::Test {
  // Both sides say why, and neither link comes up.
  void expect_refused(const LinkOptions& low_options, const LinkOptions& high_options,
                      const std::string& cause, const std::string& fix) {
    Node& low = world.add(low_options);
    Node& high = world.add(high_options);
    World::introduce(low, high);
    ASSERT_TRUE(world.run_until([&] {
      return low.links->stats().handshake_failures > 0 && high.links->stats().handshake_failures > 0;
    }));
    world.run_for(600 * kMillisecond);
    EXPECT_TRUE(low.handler.events.empty());
    EXPECT_TRUE(high.handler.events.empty());
    for (const std::string who : {"node1", "node2"})
      EXPECT_EQ(lines_with({who, "peer_refused", cause, fix}), 1u) << who << ": " << world.log();
    EXPECT_LE(low.links->stats().dials, 4u) << "an operator must act: no hurry";
  }
  std::size_t lines_with(const std::vector<std::string>& words) {
    std::size_t count = 0;
    std::istringstream lines(world.log());
    for (std::string line; std::getline(lines, line);) {
      if (std::ranges::all_of(words,
                              [&](const std::string& word) { return line.find(word) != std::string::npos; }))
        ++count;
    }
    return count;
  }
  World world;
};

TEST_F(Refused, a_wrong_secret) {
  LinkOptions other = World::options(2);
  other.secret = "sesamf";
  expect_refused(World::options(1), other, "different cluster secrets", "cluster.secret");
}

TEST_F(Refused, a_wrong_cluster) {
  LinkOptions other = World::options(2);
  other.cluster_id = 0xc2;
  expect_refused(World::options(1), other, "different clusters", "cluster.id");
}

TEST_F(Refused, no_common_version) {
  LinkOptions other = World::options(2);
  other.version_min = 2;
  other.version_max = 3;
  expect_refused(World::options(1), other, "no common peer protocol version", "releases");
  EXPECT_EQ(lines_with({"node1", "it speaks 2 to 3"}), 1u);
  EXPECT_EQ(lines_with({"node2", "it speaks 1 to 1"}), 1u);
}

TEST_F(Refused, a_wrong_group) {
  LinkOptions other = World::options(2);
  other.group = GroupId(4);
  expect_refused(World::options(1), other, "no such group", "number of groups");
}

TEST_F(Refused, another_node_at_the_address) {
  Node& low = world.add(1);
  Node& high = world.add(3);
  low.links->set_peer({.node = NodeId(2), .host = "127.0.0.1", .port = high.port});
  ASSERT_TRUE(world.run_until([&] { return low.links->stats().handshake_failures > 0; }));
  EXPECT_EQ(lines_with({"node3", "another node was expected", "it looked for node 2"}), 1u);
  EXPECT_EQ(lines_with({"node1", "another node was expected", "peer addresses"}), 1u);
}

TEST_F(Refused, a_stranger_and_a_higher_node) {
  Node& high = world.add(2);
  RawDialler stranger(world, high);
  ASSERT_TRUE(stranger.say_hello());
  const auto answer = stranger.hear_challenge();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->refusal, Refusal::unknown_node);
  EXPECT_EQ(answer->proof, Proof{}) << "nothing for guessing the secret from";
  RawDialler higher(world, high);
  higher.hello.from = NodeId(7);
  ASSERT_TRUE(higher.say_hello());
  const auto second = higher.hear_challenge();
  ASSERT_TRUE(second);
  EXPECT_EQ(second->refusal, Refusal::direction);
}

TEST_F(Refused, a_removed_node_that_dials_hears_so) {
  Node& low = world.add(1);
  Node& high = world.add(2);
  low.links->set_peer({.node = NodeId(2), .host = "127.0.0.1", .port = high.port});
  high.links->set_removed({NodeId(1)});
  ASSERT_TRUE(world.run_until([&] { return low.links->stats().handshake_failures > 0; }));
  EXPECT_EQ(lines_with({"node1", "peer_refused", "was removed from the cluster", "esctl node add"}), 1u)
      << world.log();
  EXPECT_TRUE(low.handler.events.empty());
}

TEST_F(Refused, a_removed_node_that_nobody_dials_asks_and_hears_so) {
  LinkOptions options = World::options(2);
  options.ask_after = 50 * kMillisecond;
  Node& low = world.add(1);
  Node& high = world.add(options);
  high.links->set_peer({.node = NodeId(1), .host = "127.0.0.1", .port = low.port});
  low.links->set_removed({NodeId(2)});
  ASSERT_TRUE(world.run_until([&] { return high.links->stats().handshake_failures > 0; }));
  EXPECT_EQ(lines_with({"node2", "peer_refused", "was removed from the cluster"}), 1u) << world.log();
}

// The lower node would dial, but gave up for a while.
TEST_F(Refused, a_node_that_asks_without_having_been_removed_is_dialled_and_nobody_complains) {
  LinkOptions slow = World::options(1);
  slow.retry_min = slow.retry_max = 20 * kSecond;
  LinkOptions asking = World::options(2);
  asking.ask_after = 50 * kMillisecond;
  Node& low = world.add(slow);
  Node& high = world.add(asking);
  ASSERT_TRUE(world.connect(low, high));
  low.links->close(NodeId(2), "a test");
  EXPECT_TRUE(world.run_until([&] { return high.handler.count("up 1") == 2; }, 2 * kSecond));
  EXPECT_EQ(lines_with({"peer_refused"}), 0u) << world.log();
}

// Node 2 has lost its power and its side of the link; node 1 has nothing to send, and would never notice.
TEST_F(Refused, a_node_that_asks_although_it_is_linked_gets_a_new_link_and_the_old_one_lasts_until_then) {
  Node& low = world.add(1);
  Node& high = world.add(2);
  ASSERT_TRUE(world.connect(low, high));
  RawDialler asking(world, low);
  asking.hello.from = NodeId(2);
  ASSERT_TRUE(asking.say_hello());
  const auto answer = asking.hear_challenge();
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->refusal, Refusal::direction);
  EXPECT_TRUE(world.run_until([&] { return low.handler.count("up 2") == 2; }, 2 * kSecond)) << world.log();
  EXPECT_TRUE(low.links->up(NodeId(2)));
  EXPECT_EQ(low.links->stats().dials, 2u);
  EXPECT_EQ(lines_with({"peer_refused"}), 0u) << world.log();
}

// A node with id 2 whose peer 1 is played by hand.
struct Distrust : Refused {
  Distrust() : high(world.add(2)) {
    high.links->set_peer({.node = NodeId(1), .host = "127.0.0.1", .port = 1});
  }
  std::vector<std::byte> heartbeat(const RawDialler& dialler) {
    return encoded({.name = {}, .message = message(raft::Heartbeat{.round = 1})}, {}, dialler.route());
  }
  Node& high;
};

TEST_F(Distrust, garbage_on_the_peer_port_is_closed_and_logged) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(
      dialler.socket.write("GET / HTTP/1.1\r\nHost: example.org\r\nAccept: text/html, text/plain\r\n\r\n"));
  EXPECT_TRUE(dialler.closed_by_other_side());
  EXPECT_EQ(high.acceptor->stats().garbage, 1u);
  EXPECT_EQ(lines_with({"peer_port_refused", "not an escd node"}), 1u);
}

TEST_F(Distrust, whoever_says_more_than_hello_is_closed) {
  RawDialler dialler(world, high);
  std::array<std::byte, kHelloBytes> hello;
  encode(dialler.hello, hello);
  ASSERT_TRUE(dialler.socket.write(std::string(as_text(hello)) + "x"));
  EXPECT_TRUE(dialler.closed_by_other_side());
  EXPECT_TRUE(high.hellos.empty());
}

TEST_F(Distrust, silence_on_the_peer_port_ends_after_the_time_limit) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(world.run_until([&] { return high.acceptor->stats().accepted == 1; }));
  const Nanos before = world.loop->now();
  ASSERT_TRUE(world.run_until([&] { return dialler.socket.closed_by_other_side(); }));
  EXPECT_GE(world.loop->now() - before, Acceptor::kHelloTimeout - 50 * kMillisecond);
  EXPECT_EQ(high.acceptor->stats().timeouts, 1u);
}

TEST_F(Distrust, too_many_silent_sockets_are_closed_at_once) {
  std::vector<std::unique_ptr<RawDialler>> diallers;
  for (std::size_t i = 0; i < Acceptor::kPendingMax; ++i)
    diallers.push_back(std::make_unique<RawDialler>(world, high));
  ASSERT_TRUE(world.run_until([&] { return high.acceptor->stats().accepted == Acceptor::kPendingMax; }));
  RawDialler late(world, high);
  EXPECT_TRUE(late.closed_by_other_side());
  EXPECT_EQ(high.acceptor->stats().overflows, 1u);
  diallers.clear();
  ASSERT_TRUE(
      world.run_until([&] { return high.acceptor->next_deadline() == std::numeric_limits<Nanos>::max(); }));
  RawDialler welcome(world, high);
  EXPECT_TRUE(welcome.connect());
}

TEST_F(Distrust, a_hello_in_two_halves_is_a_hello) {
  RawDialler dialler(world, high);
  std::array<std::byte, kHelloBytes> hello;
  encode(dialler.hello, hello);
  ASSERT_TRUE(dialler.write(ByteView(hello).first(20)));
  world.run_for(20 * kMillisecond);
  ASSERT_TRUE(dialler.write(ByteView(hello).subspan(20)));
  const auto challenge = dialler.hear_challenge();
  ASSERT_TRUE(challenge);
  EXPECT_EQ(challenge->refusal, Refusal::none);
}

TEST_F(Distrust, nothing_is_believed_before_the_confirmation) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(dialler.say_hello());
  ASSERT_TRUE(dialler.hear_challenge());
  ASSERT_TRUE(dialler.write(heartbeat(dialler)));
  EXPECT_TRUE(dialler.closed_by_other_side());
  EXPECT_TRUE(high.handler.received.empty());
  EXPECT_TRUE(high.handler.events.empty());
}

TEST_F(Distrust, a_wrong_or_replayed_proof_is_refused) {
  RawDialler guesser(world, high);
  ASSERT_TRUE(guesser.say_hello());
  const auto challenge = guesser.hear_challenge();
  ASSERT_TRUE(challenge);
  ASSERT_TRUE(guesser.write(guesser.confirmation(*challenge, "guess")));
  EXPECT_TRUE(guesser.closed_by_other_side());
  EXPECT_EQ(lines_with({"different cluster secrets"}), 1u);

  RawDialler honest(world, high);
  ASSERT_TRUE(honest.say_hello());
  const auto second = honest.hear_challenge();
  ASSERT_TRUE(second);
  const auto recorded = honest.confirmation(*second);
  ASSERT_TRUE(honest.write(recorded));
  ASSERT_TRUE(world.run_until([&] { return high.links->up(NodeId(1)); }));
  RawDialler replayer(world, high);
  replayer.hello = honest.hello;
  ASSERT_TRUE(replayer.say_hello());
  ASSERT_TRUE(replayer.hear_challenge());
  ASSERT_TRUE(replayer.write(recorded));
  EXPECT_TRUE(replayer.closed_by_other_side());
  EXPECT_EQ(high.handler.events, std::vector<std::string>{"up 1"});
}

TEST_F(Distrust, a_handshake_that_stops_ends_after_its_time_limit) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(dialler.say_hello());
  ASSERT_TRUE(dialler.hear_challenge());
  ASSERT_TRUE(world.run_until([&] { return dialler.socket.closed_by_other_side(); }, 4 * kSecond));
  EXPECT_EQ(lines_with({"peer_handshake_failed", "does not answer in time"}), 1u);
}

TEST_F(Distrust, messages_may_follow_the_confirmation_in_the_same_breath) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(dialler.say_hello());
  const auto challenge = dialler.hear_challenge();
  ASSERT_TRUE(challenge);
  std::vector<std::byte> bytes = dialler.confirmation(*challenge);
  const auto beat = heartbeat(dialler);
  bytes.insert(bytes.end(), beat.begin(), beat.end());
  ASSERT_TRUE(dialler.write(bytes));
  ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 1; }));
}

TEST_F(Distrust, messages_in_pieces_of_any_size_arrive) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(dialler.connect());
  const std::string payload(1000, 'p');
  std::string stream;
  for (int i = 0; i < 4; ++i) {
    const PayloadInfo info{.bytes = 1000, .crc = crc32c(as_bytes(payload))};
    stream += as_text(encoded({.name = {}, .message = Service{.tag = 7}}, info, dialler.route()));
    stream += payload;
  }
  for (const std::size_t step : {1u, 7u, 191u, 192u, 193u, 1191u, 1192u, 1193u, 2500u}) {
    high.handler.received.clear();
    for (std::size_t at = 0; at < stream.size(); at += step) {
      ASSERT_TRUE(dialler.socket.write(stream.substr(at, step)));
      world.turn();
    }
    ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 4; })) << step;
    for (const Received& got : high.handler.received) EXPECT_TRUE(got.payload == payload);
  }
  EXPECT_EQ(high.handler.events, std::vector<std::string>{"up 1"});
}

TEST_F(Distrust, a_link_that_talks_nonsense_is_closed_with_the_reason) {
  const auto expect_closed = [](const std::function<std::vector<std::byte>(const RawDialler&)>& bytes,
                                const std::string& reason) {
    World fresh;
    Node& node = fresh.add(2);
    node.links->set_peer({.node = NodeId(1), .host = "127.0.0.1", .port = 1});
    RawDialler dialler(fresh, node);
    ASSERT_TRUE(dialler.connect());
    ASSERT_TRUE(dialler.write(bytes(dialler)));
    EXPECT_TRUE(dialler.closed_by_other_side()) << reason;
    EXPECT_EQ(node.handler.events, (std::vector<std::string>{"up 1", "down 1"}));
    EXPECT_EQ(node.handler.last_reason, Errc::corruption);
    EXPECT_TRUE(node.handler.received.empty());
    EXPECT_NE(fresh.log().find(reason), std::string::npos) << fresh.log();
    EXPECT_EQ(node.links->stats().protocol_errors, 1u);
  };
  const Sample beat{.name = {}, .message = message(raft::Heartbeat{})};
  expect_closed([](const RawDialler&) { return std::vector<std::byte>(400, std::byte{0x55}); },
                "no message magic");
  expect_closed(
      [&](const RawDialler& d) {
        Route route = d.route();
        route.from = NodeId(9);
        return encoded(beat, {}, route);
      },
      "somebody else");
  expect_closed(
      [&](const RawDialler& d) {
        Route route = d.route();
        route.group = GroupId(9);
        return encoded(beat, {}, route);
      },
      "somebody else");
  expect_closed(
      [](const RawDialler& d) {
        auto bytes = encoded({.name = {}, .message = Service{}}, {.bytes = 3, .crc = 1}, d.route());
        bytes.resize(bytes.size() + 3);
        return bytes;
      },
      "a payload whose checksum is wrong");
  expect_closed(
      [](const RawDialler& d) {
        return encoded({.name = {}, .message = Service{}}, {.bytes = 64 << 20, .crc = 1}, d.route());
      },
      "a payload above the limit");
}

TEST_F(Distrust, a_reset_takes_the_link_down_at_once) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(dialler.connect());
  dialler.socket.reset();
  const Nanos before = world.loop->now();
  ASSERT_TRUE(world.run_until([&] { return !high.links->up(NodeId(1)); }));
  EXPECT_LT(world.loop->now() - before, 100 * kMillisecond);
  EXPECT_EQ(high.handler.last_reason, Errc::io_error);
}

TEST_F(Distrust, half_a_message_and_an_end_is_an_end) {
  RawDialler dialler(world, high);
  ASSERT_TRUE(dialler.connect());
  ASSERT_TRUE(dialler.write(ByteView(heartbeat(dialler)).first(100)));
  world.run_for(10 * kMillisecond);
  dialler.socket.close();
  ASSERT_TRUE(world.run_until([&] { return high.handler.events.size() == 2; }));
  EXPECT_TRUE(high.handler.received.empty());
  // The half is forgotten: the next link starts at a boundary.
  RawDialler next(world, high);
  ASSERT_TRUE(next.connect());
  ASSERT_TRUE(next.write(heartbeat(next)));
  ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 1; }));
}

TEST_F(Distrust, a_newer_connection_replaces_the_older_one_but_only_once_authenticated) {
  RawDialler first(world, high);
  ASSERT_TRUE(first.connect());
  RawDialler second(world, high);
  ASSERT_TRUE(second.say_hello());
  const auto challenge = second.hear_challenge();
  ASSERT_TRUE(challenge);
  ASSERT_TRUE(first.write(heartbeat(first)));
  ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 1; }))
      << "a mere Hello cuts nothing";
  EXPECT_TRUE(high.links->up(NodeId(1)));
  ASSERT_TRUE(second.write(second.confirmation(*challenge)));
  EXPECT_TRUE(first.closed_by_other_side());
  ASSERT_TRUE(second.write(heartbeat(second)));
  ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 2; }));
  EXPECT_EQ(high.handler.events, (std::vector<std::string>{"up 1", "down 1", "up 1"}));
}

TEST_F(Distrust, what_the_newer_connection_says_waits_until_the_older_ones_memory_is_free) {
  RawDialler first(world, high);
  ASSERT_TRUE(first.connect());
  std::string big(1 << 20, 'b');
  const std::vector<struct iovec> pieces(8, piece_of(big));
  std::vector<Outgoing> outgoing;
  for (const struct iovec& piece : pieces) outgoing.push_back({.message = Service{}, .payload = {&piece, 1}});
  high.links->send(NodeId(1), outgoing);  // the first never reads: it stays in flight
  world.run_for(20 * kMillisecond);
  ASSERT_FALSE(high.links->can_send(NodeId(1)));
  RawDialler second(world, high);
  ASSERT_TRUE(second.say_hello());
  const auto challenge = second.hear_challenge();
  ASSERT_TRUE(challenge);
  std::vector<std::byte> bytes = second.confirmation(*challenge);
  for (int i = 0; i < 3; ++i) {
    const auto beat = heartbeat(second);
    bytes.insert(bytes.end(), beat.begin(), beat.end());
  }
  high.handler.then = [&](const Received&) { high.handler.events.emplace_back("message"); };
  ASSERT_TRUE(second.write(bytes));
  ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 3; }));
  EXPECT_EQ(high.handler.events,
            (std::vector<std::string>{"up 1", "down 1", "up 1", "message", "message", "message"}));
  EXPECT_EQ(high.handler.sent, 0u);
  EXPECT_TRUE(high.links->can_send(NodeId(1)));
  ASSERT_TRUE(second.write(heartbeat(second)));
  ASSERT_TRUE(world.run_until([&] { return high.handler.received.size() == 4; })) << "receiving goes on";
  EXPECT_EQ(world.loop->receive_buffers_lent(), 0u);
}

}  // namespace
}  // namespace esc::peer::test
