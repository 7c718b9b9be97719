// A link that is up does not allocate: a global operator new that counts, around messages both ways.
#include <gtest/gtest.h>

#include "allocation_counter.h"
#include "world.h"

namespace esc::peer::test {
namespace {

struct CountingHandler : LinkHandler {
  void on_link_up(NodeId) override {}
  void on_link_down(NodeId, Errc) override { ADD_FAILURE() << "the link went down"; }
  void on_message(const raft::Message&, ByteView payload) override { count(payload); }
  void on_service(NodeId, Service, ByteView payload) override { count(payload); }
  void on_sent(NodeId) override { ++sent; }
  void count(ByteView payload) {
    ++messages;
    bytes += payload.size();
  }
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t sent = 0;
};

TEST(Allocation, a_link_that_is_up_does_not_allocate) {
  World world;
  const io::Env env{*world.loop, world.files, *world.loop, *world.loop, world.prng};
  CountingHandler low_handler;
  CountingHandler high_handler;
  Links low(env, {}, World::options(1), low_handler);
  Links high(env, {}, World::options(2), high_handler);
  struct Door : HelloHandler {
    void on_hello(const Hello& hello, io::AcceptedSocket socket) override { links->accept(hello, socket); }
    Links* links = nullptr;
  } door;
  door.links = &high;
  Acceptor acceptor(env, {}, door);
  const std::uint16_t port = world.loop->listen("127.0.0.1", 0, acceptor).value();
  low.set_peer({.node = NodeId(2), .host = "127.0.0.1", .port = port});
  high.set_peer({.node = NodeId(1), .host = "127.0.0.1", .port = 1});
  const auto turn = [&] {
    low.do_work(world.loop->now());
    high.do_work(world.loop->now());
    world.loop->poll(world.loop->now() + 10 * kMillisecond);
  };
  for (int i = 0; i < 1000 && !(low.can_send(NodeId(2)) && high.can_send(NodeId(1))); ++i) turn();
  ASSERT_TRUE(low.can_send(NodeId(2)) && high.can_send(NodeId(1)));

  std::string text(300'000, 't');
  const std::vector<struct iovec> pieces(3, piece_of(text));
  const std::vector<Outgoing> outgoing = {{.message = message(raft::Heartbeat{})},
                                          {.message = message(configuration_entry()), .payload = pieces},
                                          {.message = Service{}, .payload = {pieces.data(), 1}}};
  const auto exchange = [&] {
    low.send(NodeId(2), outgoing);
    high.send(NodeId(1), outgoing);
    for (int i = 0; i < 1000 && !(low.can_send(NodeId(2)) && high.can_send(NodeId(1))); ++i) turn();
  };
  exchange();  // the loop's pools reach their high-water mark
  const std::uint64_t before = allocations.load();
  for (int round = 0; round < 50; ++round) exchange();
  for (int i = 0; i < 1000 && low_handler.messages < 153; ++i) turn();
  for (int i = 0; i < 1000 && high_handler.messages < 153; ++i) turn();
  EXPECT_EQ(allocations.load() - before, 0u);
  EXPECT_EQ(low_handler.messages, 51u * 3);
  EXPECT_EQ(high_handler.messages, 51u * 3);
  EXPECT_EQ(high_handler.bytes, 51u * 4 * 300'000);
  EXPECT_EQ(low_handler.sent, 51u);

  low.shutdown();
  high.shutdown();
  acceptor.shutdown();
  // The expected on_link_down of the shutdown would be reported as a failure: the loop is not polled again.
}

}  // namespace
}  // namespace esc::peer::test
