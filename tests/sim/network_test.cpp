// The simulated network and loop keep the promises of io::Net, and break connections in the ways of a real
// one.
#include <gtest/gtest.h>

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "esc/sim/file_system.h"
#include "esc/sim/loop.h"

namespace esc::sim {
namespace {

// One core of one host, which does nothing but run its callbacks.
struct Core {
  Core(SimClock& clock, Network& network, HostNumber number)
      : files(Prng(number)), loop(clock, network, files, host_clock, Prng(100 + number), options(number)) {
    loop.set_run([this] { loop.poll(loop.now() + kSecond); });
    loop.start();
  }
  static SimLoopOptions options(HostNumber number) {
    SimLoopOptions options;
    options.host = number;
    options.receive_buffers = 4;
    options.receive_buffer_bytes = 1024;
    return options;
  }
  HostClock host_clock;
  FileSystem files;
  SimLoop loop;
};

struct Peer : io::ConnectionHandler {
  explicit Peer(SimLoop& owner) : loop(owner) {}
  void on_received(ByteView bytes, io::ReceiveLoan loan) override {
    for (const std::byte b : bytes) text.push_back(static_cast<char>(b));
    ++deliveries;
    loop.release(loan);
  }
  void on_sent() override { ++sent; }
  void on_closed(Errc why) override { closed = why; }
  void on_connected() override { connected = true; }
  void on_detached(io::AcceptedSocket socket) override { detached = socket; }
  void send(const std::string& what) {
    out.push_back(what);
    const struct iovec piece{out.back().data(), out.back().size()};
    loop.send(id, {&piece, 1});
  }

  SimLoop& loop;
  io::ConnectionId id;
  std::string text;
  int deliveries = 0;
  int sent = 0;
  bool connected = false;
  std::optional<Errc> closed;
  std::optional<io::AcceptedSocket> detached;
  std::deque<std::string> out;
};

struct Door : io::AcceptHandler {
  explicit Door(SimLoop& owner) : loop(owner) {}
  void on_accepted(io::AcceptedSocket socket) override {
    peers.push_back(std::make_unique<Peer>(loop));
    peers.back()->id = *loop.adopt(socket, *peers.back());
  }
  SimLoop& loop;
  std::vector<std::unique_ptr<Peer>> peers;
};

class SimNetwork : public ::testing::Test {
 protected:
  SimNetwork() { EXPECT_TRUE(b.loop.listen("", 7, door)); }
  void connect() {
    dialer.id = *a.loop.connect(address_of(2), 7, dialer);
    clock.run_for(kSecond);
    ASSERT_TRUE(dialer.connected);
    ASSERT_EQ(door.peers.size(), 1u);
  }
  Peer& accepted() { return *door.peers[0]; }

  SimClock clock;
  Network network{clock, Prng(7), {}};
  Core a{clock, network, 1};
  Core b{clock, network, 2};
  Door door{b.loop};
  Peer dialer{a.loop};
};

std::string long_text(std::size_t bytes) {
  std::string text(bytes, ' ');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>('a' + i % 23);
  return text;
}

TEST_F(SimNetwork, bytes_arrive_whole_and_in_order_however_they_are_cut) {
  connect();
  const std::string text = long_text(50'000);
  dialer.send(text);
  clock.run_for(kSecond);
  EXPECT_EQ(accepted().text, text);
  EXPECT_EQ(dialer.sent, 1);
  EXPECT_GT(accepted().deliveries, 50'000 / 1024);
  accepted().send("answer");
  clock.run_for(kSecond);
  EXPECT_EQ(dialer.text, "answer");
}

TEST_F(SimNetwork, nobody_listening_is_a_refused_connection) {
  dialer.id = *a.loop.connect(address_of(2), 8, dialer);
  clock.run_for(kSecond);
  EXPECT_EQ(dialer.closed, Errc::io_error);
}

TEST_F(SimNetwork, a_close_is_orderly_after_the_bytes_that_were_sent) {
  connect();
  dialer.send("last words");
  clock.run_for(100 * kMillisecond);
  a.loop.close(dialer.id);
  clock.run_for(kSecond);
  EXPECT_EQ(dialer.closed, Errc::closed);
  EXPECT_EQ(accepted().text, "last words");
  EXPECT_EQ(accepted().closed, Errc::closed);
  EXPECT_EQ(a.loop.connections_open() + b.loop.connections_open(), 0u);
}

TEST_F(SimNetwork, a_blocked_direction_delays_and_the_other_one_works) {
  connect();
  network.block(1, 2);
  dialer.send("late");
  accepted().send("now");
  clock.run_for(2 * kSecond);
  EXPECT_EQ(accepted().text, "");
  EXPECT_EQ(dialer.text, "now");
  network.unblock(1, 2);
  clock.run_for(kSecond);
  EXPECT_EQ(accepted().text, "late");
  EXPECT_FALSE(dialer.closed);
}

TEST_F(SimNetwork, unacknowledged_bytes_end_the_connection_after_the_user_timeout) {
  connect();
  network.block(1, 2);
  dialer.send("never");
  clock.run_for(10 * kSecond);
  EXPECT_EQ(dialer.closed, Errc::timeout);
  EXPECT_FALSE(accepted().closed);  // half open
}

TEST_F(SimNetwork, a_killed_process_resets_and_a_dark_host_is_silent) {
  connect();
  Core c{clock, network, 3};
  Peer other{c.loop};
  other.id = *c.loop.connect(address_of(2), 7, other);
  clock.run_for(kSecond);
  ASSERT_TRUE(other.connected);
  a.loop.crash(CrashKind::process);
  network.kill(1, false);
  c.loop.crash(CrashKind::power);
  network.kill(3, true);
  clock.run_for(kSecond);
  EXPECT_EQ(door.peers[0]->closed, Errc::io_error);
  EXPECT_FALSE(door.peers[1]->closed);
  // Once the host answers again, it does not know the connection.
  network.boot(3);
  door.peers[1]->send("anybody?");
  clock.run_for(kSecond);
  EXPECT_EQ(door.peers[1]->closed, Errc::io_error);
}

TEST_F(SimNetwork, a_silent_peer_is_noticed_when_it_is_watched) {
  connect();
  a.loop.set_peer_timeout(dialer.id, 500);
  network.block(2, 1);
  clock.run_for(2 * kSecond);
  EXPECT_EQ(dialer.closed, Errc::timeout);
}

TEST_F(SimNetwork, a_paused_connection_receives_nothing_until_it_resumes) {
  connect();
  b.loop.pause_receive(accepted().id);
  dialer.send("wait");
  clock.run_for(kSecond);
  EXPECT_EQ(accepted().text, "");
  b.loop.resume_receive(accepted().id);
  clock.run_for(kSecond);
  EXPECT_EQ(accepted().text, "wait");
}

TEST_F(SimNetwork, a_detached_socket_keeps_what_arrives_for_its_next_owner) {
  connect();
  b.loop.detach(accepted().id);
  clock.run_for(100 * kMillisecond);
  ASSERT_TRUE(accepted().detached);
  dialer.send("for the next");
  clock.run_for(100 * kMillisecond);
  Peer next{b.loop};
  next.id = *b.loop.adopt(*accepted().detached, next);
  clock.run_for(kSecond);
  EXPECT_EQ(next.text, "for the next");
  EXPECT_FALSE(accepted().closed);
}

TEST_F(SimNetwork, changing_bytes_of_a_send_in_flight_is_caught) {
  connect();
  network.block(1, 2);
  dialer.send(long_text(600'000));  // more than the send buffer takes
  clock.run_for(100 * kMillisecond);
  dialer.out.back()[0] = '!';
  EXPECT_DEATH(
      {
        network.unblock(1, 2);
        clock.run_for(kSecond);
      },
      "changed before on_sent");
}

TEST_F(SimNetwork, a_host_that_is_stopped_runs_nothing_and_loses_nothing) {
  connect();
  b.loop.pause(true);
  dialer.send("hello");
  clock.run_for(kSecond);
  EXPECT_EQ(accepted().text, "");
  b.loop.pause(false);
  clock.run_for(kSecond);
  EXPECT_EQ(accepted().text, "hello");
}

TEST(HostClock, drifting_time_is_inverted_to_the_first_instant_that_has_reached_it) {
  for (const std::int64_t drift : {-500, 0, 500, 20'000}) {
    const HostClock clock{.offset = 3600 * kSecond, .drift_ppm = drift};
    for (const Nanos at : {kSecond, 77 * kSecond + 12'345, 5000 * kSecond + 1}) {
      const Nanos local = clock.local(at);
      const Nanos back = clock.global(local);
      EXPECT_GE(clock.local(back), local);
      EXPECT_LE(back, at + kMicrosecond);
    }
  }
}

}  // namespace
}  // namespace esc::sim
