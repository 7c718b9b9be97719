// Large sends of a link without a copy, and how it gives that up.
#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <thread>

#include "world.h"

namespace esc::peer::test {
namespace {

constexpr std::size_t kLarge = 512 << 10;

struct Pair : World {
  explicit Pair(const std::string& listen_host = "127.0.0.1")
      : World(listen_host), low(add(1)), high(add(2)) {}
  // Sends one large message; whether it arrives whole and its memory becomes free.
  bool send_large(char letter) {
    std::string text(kLarge, letter);
    const struct iovec piece = piece_of(text);
    const std::size_t had = high.handler.received.size();
    const std::size_t sent = low.handler.sent;
    low.links->send(NodeId(2), one(Service{.kind = 1}, {&piece, 1}));
    return run_until([&] { return high.handler.received.size() > had && low.handler.sent > sent; }) &&
           high.handler.received.back().payload == text;
  }
  std::size_t log_lines(const std::string& event) {
    const std::string text = log();
    std::size_t count = 0;
    for (std::size_t at = 0; (at = text.find(event, at)) != std::string::npos; ++at) ++count;
    return count;
  }
  Node& low;
  Node& high;
};

TEST(ZeroCopyLinks, it_is_not_tried_within_one_machine) {
  Pair world;
  ASSERT_TRUE(world.connect(world.low, world.high)) << world.log();
  ASSERT_TRUE(world.send_large('a'));
  EXPECT_EQ(world.loop->stats().zero_copy_sends, 0u);
  EXPECT_EQ(world.log_lines("peer_zero_copy_off"), 0u);
}

// The machine's own address that does not look like it, in a network namespace of this thread only.
bool make_address() {
  return ::unshare(CLONE_NEWNET) == 0 &&
         std::system("{ ip link set lo up && ip addr add 10.254.77.1/32 dev lo; } 2>/dev/null") == 0;
}

// Runs `test` with two nodes at that address, connected.
template <class F>
void at_an_address(F&& test) {
  bool possible = false;
  std::thread([&] {
    possible = make_address();
    if (!possible) return;
    Pair world("10.254.77.1");
    ASSERT_TRUE(world.connect(world.low, world.high)) << world.log();
    test(world);
  }).join();
  if (!possible) GTEST_SKIP() << "needs root and ip(8): no network namespace here";
}

TEST(ZeroCopyLinks, a_peer_whose_bytes_are_copied_is_said_so_once_and_loses_nothing) {
  at_an_address([](Pair& world) {
    ASSERT_TRUE(world.send_large('a'));
    EXPECT_EQ(world.loop->stats().zero_copy_sends, 1u);
    EXPECT_EQ(world.low.links->stats().zero_copy_ended, 1u);
    ASSERT_TRUE(world.send_large('b'));
    EXPECT_EQ(world.loop->stats().zero_copy_sends, 1u);
    // A new connection tries again, but does not say so again.
    world.low.links->close(NodeId(2), "test");
    ASSERT_TRUE(world.run_until([&] { return world.low.handler.count("up 2") == 2; }));
    ASSERT_TRUE(world.run_until([&] { return world.low.links->can_send(NodeId(2)); }));
    ASSERT_TRUE(world.send_large('c'));
    EXPECT_EQ(world.low.links->stats().zero_copy_ended, 2u);
    EXPECT_EQ(world.log_lines("peer_zero_copy_off"), 1u) << world.log();
  });
}

// The memory of a send in flight is free when the link is down, not before, and soon.
TEST(ZeroCopyLinks, a_link_that_closes_with_a_send_on_its_way_lets_go_of_the_memory) {
  at_an_address([](Pair& world) {
    std::string text(kLarge, 'a');
    const struct iovec piece = piece_of(text);
    world.low.links->send(NodeId(2), one(Service{.kind = 1}, {&piece, 1}));
    world.low.links->close(NodeId(2), "test");
    EXPECT_EQ(world.low.handler.count("down 2"), 0u);
    ASSERT_TRUE(world.run_until([&] { return world.low.handler.count("down 2") == 1; }, kSecond));
    text.assign(kLarge, '!');
    ASSERT_TRUE(world.run_until([&] { return world.low.links->can_send(NodeId(2)); }));
    ASSERT_TRUE(world.send_large('b'));
    for (const Received& received : world.high.handler.received)
      EXPECT_EQ(received.payload.find('!'), std::string::npos);
  });
}

}  // namespace
}  // namespace esc::peer::test
