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

}  // namespace
}  // namespace esc::peer::test
