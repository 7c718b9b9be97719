// Links on virtual time: a blackout ends the link and the end of it brings it back; equal seeds, equal runs.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "esc/peer/acceptor.h"
#include "esc/peer/links.h"
#include "esc/sim/loop.h"
#include "messages.h"

namespace esc::peer::test {
namespace {

constexpr std::uint16_t kPort = 9000;

struct Host : LinkHandler, HelloHandler {
  Host(sim::SimClock& time, sim::Network& network, std::uint32_t number, std::uint64_t seed)
      : clock(time),
        files(Prng(seed)),
        sim_files(files),
        prng(seed + number),
        loop(time, network, files, host_clock, Prng(seed).fork(number), {.host = number}),
        links({loop, sim_files, loop, loop, prng}, {},
              {.cluster_id = 1, .cluster_name = "sim", .self = NodeId(number), .secret = "sesame"}, *this),
        acceptor({loop, sim_files, loop, loop, prng}, {}, *this),
        self(number) {
    EXPECT_TRUE(loop.listen("", kPort, acceptor));
    const std::uint32_t other = 3 - number;
    links.set_peer({.node = NodeId(other), .host = sim::address_of(other), .port = kPort});
    loop.set_run([this] { run(); });
    loop.start();
  }
  void run() {
    loop.deliver();
    const Nanos now = loop.now();
    links.do_work(now);
    acceptor.do_work(now);
    const NodeId other(3 - self);
    if (now >= next_beat && links.can_send(other)) {
      const std::vector<Outgoing> beat = {{.message = message(raft::Heartbeat{.round = ++round})}};
      links.send(other, beat);
      next_beat = now + 50 * kMillisecond;
    }
    loop.poll(std::min({links.next_deadline(), acceptor.next_deadline(), now + 50 * kMillisecond}));
  }
  void note(const std::string& what) { events.push_back(std::to_string(clock.now()) + " " + what); }
  void on_link_up(NodeId) override { note("up"); }
  void on_link_down(NodeId, Errc reason) override { note("down " + std::string(to_string(reason))); }
  void on_message(const raft::Message& m, ByteView) override {
    ++received;
    const std::uint64_t got = std::get<raft::Heartbeat>(m.payload).round;
    EXPECT_GT(got, last_round) << "in order, nothing twice";
    last_round = got;
  }
  void on_service(NodeId, Service, ByteView) override {}
  void on_sent(NodeId) override {}
  void on_hello(const Hello& hello, io::AcceptedSocket socket) override { links.accept(hello, socket); }

  sim::SimClock& clock;
  sim::HostClock host_clock;
  sim::FileSystem files;
  sim::SimFiles sim_files;
  Prng prng;
  sim::SimLoop loop;
  Links links;
  Acceptor acceptor;
  std::uint32_t self;
  Nanos next_beat = 0;
  std::uint64_t round = 0;
  std::uint64_t received = 0;
  std::uint64_t last_round = 0;
  std::vector<std::string> events;
};

std::vector<std::string> blackout(std::uint64_t seed) {
  sim::SimClock clock;
  sim::Network network(clock, Prng(seed).fork(99), {.slow_one_in = 20, .split_one_in = 2});
  Host low(clock, network, 1, seed);
  Host high(clock, network, 2, seed);
  clock.run_for(kSecond);
  EXPECT_TRUE(low.links.up(NodeId(2)) && high.links.up(NodeId(1)));
  EXPECT_GT(high.received, 10u);
  network.block(1, 2);
  network.block(2, 1);
  clock.run_for(4 * kSecond);
  EXPECT_FALSE(low.links.up(NodeId(2)));
  EXPECT_FALSE(high.links.up(NodeId(1)));
  network.unblock_all();
  clock.run_for(2 * kSecond);
  EXPECT_TRUE(low.links.up(NodeId(2)) && high.links.up(NodeId(1)));
  const std::uint64_t before = low.received;
  clock.run_for(kSecond);
  EXPECT_GT(low.received, before + 10);
  low.loop.crash(sim::CrashKind::process);
  high.loop.crash(sim::CrashKind::process);
  std::vector<std::string> all = low.events;
  all.insert(all.end(), high.events.begin(), high.events.end());
  all.push_back(std::to_string(clock.steps()));
  return all;
}

TEST(SimulatedLinks, survive_a_blackout_and_equal_seeds_give_equal_runs) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed)
    EXPECT_EQ(blackout(seed), blackout(seed)) << "seed " << seed;
}

}  // namespace
}  // namespace esc::peer::test
