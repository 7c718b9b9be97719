#include <gtest/gtest.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "loop_fixture.h"
#include "pair.h"
#include "peer.h"

namespace esc::io::test {
namespace {

// A server with one handler per connection that sends back what it gets.
struct EchoConnection : ConnectionHandler {
  explicit EchoConnection(Net& owner) : net(owner) {}
  void on_received(ByteView bytes, ReceiveLoan loan) override {
    waiting.emplace_back(bytes, loan);
    if (waiting.size() == 1) send_next();
  }
  void send_next() {
    const iovec piece{const_cast<std::byte*>(waiting.front().first.data()), waiting.front().first.size()};
    net.send(id, {&piece, 1});
  }
  void on_sent() override {
    net.release(waiting.front().second);
    waiting.pop_front();
    if (!waiting.empty()) send_next();
  }
  void on_closed(Errc why) override {
    ++closed;
    reason = why;
    for (const auto& [bytes, loan] : waiting) net.release(loan);
    waiting.clear();
  }
  Net& net;
  ConnectionId id;
  std::deque<std::pair<ByteView, ReceiveLoan>> waiting;
  int closed = 0;
  Errc reason = Errc::ok;
};

struct EchoServer : AcceptHandler {
  explicit EchoServer(UringLoop& owner) : loop(owner) {
    const auto bound = loop.listen("127.0.0.1", 0, *this);
    EXPECT_TRUE(bound);
    port = *bound;
  }
  void on_accepted(AcceptedSocket socket) override {
    connections.push_back(std::make_unique<EchoConnection>(loop));
    const auto id = loop.adopt(socket, *connections.back());
    EXPECT_TRUE(id);
    connections.back()->id = *id;
  }
  UringLoop& loop;
  std::uint16_t port = 0;
  std::vector<std::unique_ptr<EchoConnection>> connections;
};

TEST(Net, echoes_on_many_connections) {
  auto loop = make_loop();
  EchoServer server(*loop);
  std::vector<Peer> peers;
  std::vector<std::string> answers(100);
  for (int i = 0; i < 100; ++i) {
    peers.emplace_back(server.port);
    ASSERT_TRUE(peers.back().connected());
    if (i % 16 == 0) loop->poll(0);
  }
  for (int round = 0; round < 5; ++round) {
    for (std::size_t i = 0; i < peers.size(); ++i) {
      ASSERT_TRUE(peers[i].write("message " + std::to_string(i) + " round " + std::to_string(round) + "\n"));
    }
    ASSERT_TRUE(run_until(*loop, [&] {
      bool all = true;
      for (std::size_t i = 0; i < peers.size(); ++i) {
        answers[i] += peers[i].read_available();
        if (std::ranges::count(answers[i], '\n') != round + 1) all = false;
      }
      return all;
    }));
  }
  EXPECT_EQ(answers[42].substr(0, 19), "message 42 round 0\n");
  EXPECT_EQ(loop->connections_open(), 100u);
  EXPECT_EQ(loop->receive_buffers_lent(), 0u);
  EXPECT_EQ(loop->stats().accepted, 100u);
}

TEST(Net, closes_64_connections_in_random_order_from_either_side) {
  auto loop = make_loop();
  EchoServer server(*loop);
  std::vector<Peer> peers;
  for (int i = 0; i < 64; ++i) peers.emplace_back(server.port);
  ASSERT_TRUE(run_until(*loop, [&] { return server.connections.size() == 64; }));
  std::vector<std::size_t> order(64);
  for (std::size_t i = 0; i < 64; ++i) order[i] = i;
  std::mt19937 random(7);
  std::ranges::shuffle(order, random);
  for (std::size_t n = 0; n < 64; ++n) {
    const std::size_t i = order[n];
    (void)peers[i].write("last words");
    if (n % 3 == 0) peers[i].close();
    if (n % 3 == 1) peers[i].reset();
    if (n % 3 == 2) loop->close(server.connections[i]->id);
    if (n % 5 == 0) loop->poll(0);
  }
  ASSERT_TRUE(run_until(*loop, [&] { return loop->connections_open() == 0; }));
  for (const auto& connection : server.connections) EXPECT_EQ(connection->closed, 1);
  EXPECT_EQ(loop->receive_buffers_lent(), 0u);
  EXPECT_EQ(loop->stats().connections_closed, 64u);
}

TEST(Net, gathers_many_pieces_to_a_slow_reader_in_order) {
  auto loop = make_loop();
  Pair pair(*loop, 64 * 1024);
  // 300 pieces of odd sizes, some empty: several windows, many times the socket buffers.
  std::vector<std::string> texts;
  std::string expected;
  for (std::size_t i = 0; i < 300; ++i) {
    texts.push_back(pattern(i % 7 == 0 ? 0 : i * 101 + 1));
    expected += texts.back();
  }
  const std::vector<iovec> pieces = pieces_of(texts);
  loop->send(pair.recorder.id, pieces);
  std::string got;
  int turn = 0;
  ASSERT_TRUE(run_until(
      *loop,
      [&] {
        if (++turn % 3 == 0) got += pair.peer->read_available();
        return got.size() >= expected.size();
      },
      30 * kSecond));
  EXPECT_TRUE(got == expected);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  EXPECT_EQ(loop->stats().sent_bytes, expected.size());
}

TEST(Net, reports_a_send_of_nothing_as_sent) {
  auto loop = make_loop();
  Pair pair(*loop);
  loop->send(pair.recorder.id, {});
  EXPECT_EQ(pair.recorder.sent, 0) << "on_sent must come from the loop";
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  const std::vector<std::string> texts = {"", "x", ""};
  const std::vector<iovec> pieces = pieces_of(texts);
  loop->send(pair.recorder.id, pieces);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 2; }));
  EXPECT_EQ(pair.peer->read_available(), "x");
}

TEST(Net, a_paused_connection_takes_no_more_buffers_and_loses_nothing_when_resumed) {
  LoopOptions options;
  options.receive_buffers = 8;
  options.receive_buffer_bytes = 4096;
  auto loop = make_loop(options);
  Pair pair(*loop);
  ASSERT_TRUE(pair.peer->write("before"));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.received == "before"; }));
  loop->pause_receive(pair.recorder.id);
  run_for(*loop, 20 * kMillisecond);
  const std::string text = pattern(100'000);
  std::size_t written = pair.peer->write_available(text);
  run_for(*loop, 50 * kMillisecond);
  EXPECT_EQ(pair.recorder.received, "before");
  loop->resume_receive(pair.recorder.id);
  ASSERT_TRUE(run_until(*loop, [&] {
    if (written < text.size()) written += pair.peer->write_available(text.substr(written));
    return pair.recorder.received.size() == 6 + text.size();
  }));
  EXPECT_TRUE(pair.recorder.received == "before" + text);
}

TEST(Net, pause_and_resume_in_one_turn_keep_the_stream_flowing) {
  auto loop = make_loop();
  Pair pair(*loop);
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    loop->pause_receive(pair.recorder.id);
    if (i % 2 == 0) loop->poll(0);
    loop->resume_receive(pair.recorder.id);
    if (i % 3 == 0) loop->pause_receive(pair.recorder.id), loop->resume_receive(pair.recorder.id);
    expected += std::to_string(i) + ",";
    ASSERT_TRUE(pair.peer->write(std::to_string(i) + ","));
    ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.received == expected; })) << i;
  }
}

TEST(Net, starved_connections_receive_when_buffers_come_back) {
  LoopOptions options;
  options.receive_buffers = 4;
  options.receive_buffer_bytes = 1024;
  auto loop = make_loop(options);
  Acceptor acceptor;
  const auto port = loop->listen("127.0.0.1", 0, acceptor);
  ASSERT_TRUE(port);
  std::vector<Peer> peers;
  for (int i = 0; i < 12; ++i) peers.emplace_back(*port);
  ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == 12; }));
  std::vector<std::unique_ptr<Recorder>> recorders;
  for (const AcceptedSocket socket : acceptor.sockets) {
    recorders.push_back(std::make_unique<Recorder>(*loop));
    recorders.back()->keep_loans = true;
    recorders.back()->id = loop->adopt(socket, *recorders.back()).value();
  }
  for (Peer& peer : peers) ASSERT_TRUE(peer.write("hello"));
  ASSERT_TRUE(run_until(*loop, [&] { return loop->receive_buffers_lent() == 4; }));
  run_for(*loop, 30 * kMillisecond);
  EXPECT_EQ(loop->receive_buffers_lent(), 4u);
  EXPECT_GT(loop->stats().receive_starved, 0u);
  // Starvation must not spin: an idle loop with nothing to lend sleeps.
  const std::uint64_t polls = loop->stats().polls;
  run_for(*loop, 100 * kMillisecond);
  EXPECT_LT(loop->stats().polls - polls, 50u);
  // One starved connection goes away; the others must still get their turn.
  for (const auto& recorder : recorders) {
    if (recorder->received.empty()) {
      loop->close(recorder->id);
      break;
    }
  }
  ASSERT_TRUE(run_until(*loop, [&] {
    int served = 0;
    for (const auto& recorder : recorders) {
      for (const ReceiveLoan loan : recorder->loans) loop->release(loan);
      recorder->loans.clear();
      if (recorder->received == "hello") ++served;
    }
    return served == 11;
  }));
}

TEST(Net, a_reset_during_a_send_closes_once_and_only_after_the_kernel_is_done) {
  auto loop = make_loop();
  Pair pair(*loop, 4096);
  const std::string text = pattern(16 << 20);
  const iovec piece{const_cast<char*>(text.data()), text.size()};
  loop->send(pair.recorder.id, {&piece, 1});
  run_for(*loop, 20 * kMillisecond);
  EXPECT_EQ(pair.recorder.sent, 0);
  pair.peer->reset();
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }));
  EXPECT_EQ(pair.recorder.reason, Errc::io_error);
  run_for(*loop, 20 * kMillisecond);
  EXPECT_EQ(pair.recorder.closed, 1);
  EXPECT_EQ(pair.recorder.sent, 0);
}

TEST(Net, close_during_a_send_cancels_it) {
  auto loop = make_loop();
  Pair pair(*loop, 4096);
  std::vector<std::string> texts(200, pattern(64 << 10));
  const std::vector<iovec> pieces = pieces_of(texts);
  loop->send(pair.recorder.id, pieces);
  run_for(*loop, 20 * kMillisecond);
  loop->close(pair.recorder.id);
  EXPECT_EQ(pair.recorder.closed, 0) << "on_closed must come from the loop";
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }));
  EXPECT_EQ(pair.recorder.reason, Errc::closed);
  EXPECT_EQ(loop->connections_open(), 0u);
}

TEST(Net, bytes_sent_before_close_still_arrive) {
  auto loop = make_loop();
  Pair pair(*loop);
  const std::vector<std::string> texts = {"goodbye"};
  const std::vector<iovec> pieces = pieces_of(texts);
  loop->send(pair.recorder.id, pieces);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  loop->close(pair.recorder.id);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }));
  EXPECT_EQ(pair.peer->read_available(), "goodbye");
  EXPECT_TRUE(pair.peer->closed_by_other_side());
}

TEST(Net, stale_ids_are_ignored) {
  auto loop = make_loop();
  Pair pair(*loop);
  const ConnectionId old = pair.recorder.id;
  loop->close(old);
  loop->close(old);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }));
  // The slot's next user must not feel calls with the old id.
  const Peer second(static_cast<std::uint16_t>([&] {
    sockaddr_in address{};
    socklen_t bytes = sizeof address;
    ::getpeername(pair.peer->fd(), reinterpret_cast<sockaddr*>(&address), &bytes);
    return ntohs(address.sin_port);
  }()));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.acceptor.sockets.size() == 2; }));
  Recorder recorder(*loop);
  recorder.id = loop->adopt(pair.acceptor.sockets[1], recorder).value();
  EXPECT_EQ(recorder.id.slot, old.slot);
  EXPECT_NE(recorder.id, old);
  loop->close(old);
  loop->pause_receive(old);
  loop->resume_receive(old);
  loop->send(old, {});
  run_for(*loop, 20 * kMillisecond);
  EXPECT_EQ(recorder.closed, 0);
  EXPECT_EQ(recorder.sent, 0);
}

TEST(Net, refuses_connections_beyond_the_limit) {
  LoopOptions options;
  options.connections_max = 2;
  auto loop = make_loop(options);
  Acceptor acceptor;
  const auto port = loop->listen("127.0.0.1", 0, acceptor);
  ASSERT_TRUE(port);
  Peer peers[3] = {Peer(*port), Peer(*port), Peer(*port)};
  ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == 3; }));
  Recorder recorder(*loop);
  ASSERT_TRUE(loop->adopt(acceptor.sockets[0], recorder));
  ASSERT_TRUE(loop->adopt(acceptor.sockets[1], recorder));
  const auto third = loop->adopt(acceptor.sockets[2], recorder);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error(), Errc::busy);
  EXPECT_TRUE(run_until(*loop, [&] { return peers[2].closed_by_other_side(); }));
  EXPECT_EQ(loop->stats().connections_refused, 1u);
}

TEST(Net, connects_and_talks_in_both_directions) {
  auto loop = make_loop();
  EchoServer server(*loop);
  Recorder client(*loop);
  client.id = loop->connect("127.0.0.1", server.port, client).value();
  const std::string text = pattern(300'000);
  const std::vector<iovec> pieces = {{const_cast<char*>(text.data()), text.size()}};
  loop->send(client.id, pieces);  // waits for the connection
  ASSERT_TRUE(run_until(*loop, [&] { return client.received.size() == text.size(); }));
  EXPECT_EQ(client.connected, 1);
  EXPECT_EQ(client.sent, 1);
  EXPECT_TRUE(client.received == text);
  loop->close(client.id);
  ASSERT_TRUE(run_until(*loop, [&] { return loop->connections_open() == 0; }));
  EXPECT_EQ(server.connections[0]->reason, Errc::closed);
}

TEST(Net, a_refused_connect_ends_in_on_closed) {
  auto loop = make_loop();
  std::uint16_t free_port = 0;
  {
    auto other = make_loop();
    Acceptor acceptor;
    free_port = other->listen("127.0.0.1", 0, acceptor).value();
  }
  Recorder client(*loop);
  client.id = loop->connect("127.0.0.1", free_port, client).value();
  ASSERT_TRUE(run_until(*loop, [&] { return client.closed == 1; }));
  EXPECT_EQ(client.connected, 0);
  EXPECT_EQ(client.reason, Errc::io_error);
  EXPECT_EQ(loop->connect("not an address", 1, client).error(), Errc::invalid_argument);
}

TEST(Net, an_address_in_use_is_explained) {
  auto loop = make_loop();
  Acceptor acceptor;
  const auto port = loop->listen("127.0.0.1", 0, acceptor);
  ASSERT_TRUE(port);
  const auto second = loop->listen("127.0.0.1", *port, acceptor);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Errc::already_exists);
  EXPECT_NE(second.error().message.find("127.0.0.1:" + std::to_string(*port)), std::string::npos);
  EXPECT_NE(second.error().message.find("another port"), std::string::npos);
}

TEST(Net, stop_listening_refuses_newcomers_and_keeps_connections) {
  auto loop = make_loop();
  EchoServer server(*loop);
  Peer old(server.port);
  ASSERT_TRUE(run_until(*loop, [&] { return server.connections.size() == 1; }));
  loop->stop_listening();
  run_for(*loop, 20 * kMillisecond);
  EXPECT_FALSE(Peer(server.port).connected());
  ASSERT_TRUE(old.write("still here"));
  std::string answer;
  ASSERT_TRUE(run_until(*loop, [&] {
    answer += old.read_available();
    return answer == "still here";
  }));
}

TEST(Net, a_socket_accepted_on_one_loop_lives_on_another) {
  auto front = make_loop();
  auto back = make_loop();
  Acceptor acceptor;
  Peer peer(front->listen("127.0.0.1", 0, acceptor).value());
  ASSERT_TRUE(run_until(*front, [&] { return acceptor.sockets.size() == 1; }));
  Recorder recorder(*back);
  recorder.id = back->adopt(acceptor.sockets[0], recorder).value();
  ASSERT_TRUE(peer.write("moved"));
  EXPECT_TRUE(run_until(*back, [&] { return recorder.received == "moved"; }));
}

TEST(Net, running_out_of_descriptors_delays_accepting_and_recovers) {
#if defined(__SANITIZE_ADDRESS__)
  GTEST_SKIP() << "the sanitizers' own checks need descriptors (a pipe to probe memory)";
#endif
  auto loop = make_loop();
  EchoServer server(*loop);
  Peer peer(server.port);  // waits in the backlog: the loop has not run yet
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit none{.rlim_cur = static_cast<rlim_t>(peer.fd()) + 1, .rlim_max = before.rlim_max};
  // The kernel notes the limit when an accept is armed, so it is lowered before the first turn.
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  std::vector<int> gaps;  // free descriptors below the limit
  for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) gaps.push_back(fd);
  const std::uint64_t polls = loop->stats().polls;
  const bool failed = run_until(*loop, [&] { return loop->stats().accept_errors > 0; }, kSecond);
  run_for(*loop, 50 * kMillisecond);
  const std::uint64_t turns = loop->stats().polls - polls;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  for (const int fd : gaps) ::close(fd);
  EXPECT_TRUE(failed);
  EXPECT_LT(turns, 50u) << "the loop must not spin on EMFILE";
  EXPECT_TRUE(run_until(*loop, [&] { return server.connections.size() == 1; }));
}

// A handler that closes its connection in the middle of a burst.
struct Impatient : Recorder {
  using Recorder::Recorder;
  void on_received(ByteView bytes, ReceiveLoan loan) override {
    Recorder::on_received(bytes, loan);
    net.close(id);
  }
};

TEST(Net, close_from_inside_on_received_returns_the_buffers_of_the_rest_of_the_burst) {
  LoopOptions options;
  options.receive_buffers = 16;
  options.receive_buffer_bytes = 512;
  auto loop = make_loop(options);
  Acceptor acceptor;
  Peer peer(loop->listen("127.0.0.1", 0, acceptor).value());
  ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == 1; }));
  ASSERT_TRUE(peer.write(pattern(8000)));
  Impatient handler(*loop);
  handler.id = loop->adopt(acceptor.sockets[0], handler).value();
  ASSERT_TRUE(run_until(*loop, [&] { return handler.closed == 1; }));
  EXPECT_EQ(handler.received.size(), 512u);
  EXPECT_EQ(loop->receive_buffers_lent(), 0u);
}

TEST(Net, survives_a_completion_queue_that_is_far_too_small) {
  LoopOptions options;
  options.submission_entries = 4;
  options.completion_entries = 8;
  options.receive_buffers = 64;
  options.receive_buffer_bytes = 256;
  auto loop = make_loop(options);
  EchoServer server(*loop);
  std::vector<Peer> peers;
  for (int i = 0; i < 32; ++i) peers.emplace_back(server.port);
  ASSERT_TRUE(run_until(*loop, [&] { return server.connections.size() == 32; }));
  const std::string text = pattern(5000);
  std::vector<std::string> answers(32);
  for (Peer& peer : peers) ASSERT_TRUE(peer.write(text));
  ASSERT_TRUE(run_until(*loop, [&] {
    bool all = true;
    for (std::size_t i = 0; i < 32; ++i) {
      answers[i] += peers[i].read_available();
      if (answers[i].size() != text.size()) all = false;
    }
    return all;
  }));
  for (const std::string& answer : answers) EXPECT_TRUE(answer == text);
}

TEST(Net, a_detached_socket_carries_on_in_another_loop) {
  auto loop = make_loop();
  Pair pair(*loop);
  ASSERT_TRUE(pair.peer->write("hello"));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.received == "hello"; }));
  loop->detach(pair.recorder.id);
  EXPECT_TRUE(pair.recorder.detached.empty()) << "reported from the loop only";
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.detached.size() == 1; }));
  EXPECT_EQ(pair.recorder.closed, 0);
  EXPECT_EQ(loop->connections_open(), 0u);
  EXPECT_EQ(loop->receive_buffers_lent(), 0u);
  ASSERT_TRUE(pair.peer->write("nobody listens yet; ")) << "these bytes wait in the socket";
  run_for(*loop, 20 * kMillisecond);
  EXPECT_EQ(pair.recorder.received, "hello");

  std::thread other([socket = pair.recorder.detached[0]] {
    auto second = make_loop();
    EchoConnection echo(*second);
    echo.id = second->adopt(socket, echo).value();
    EXPECT_TRUE(run_until(*second, [&] { return echo.closed == 1; }));
    EXPECT_EQ(echo.reason, Errc::closed);
  });
  ASSERT_TRUE(pair.peer->write("now they do"));
  std::string answer;
  EXPECT_TRUE(run_until(*loop, [&] { return (answer += pair.peer->read_available()).size() >= 31; }));
  EXPECT_EQ(answer, "nobody listens yet; now they do");
  pair.peer->close();
  other.join();
  EXPECT_EQ(pair.recorder.closed, 0);
}

TEST(Net, detaching_from_the_receive_callback_keeps_every_later_byte_in_the_socket) {
  struct Leaver : Recorder {
    using Recorder::Recorder;
    void on_received(ByteView bytes, ReceiveLoan loan) override {
      Recorder::on_received(bytes, loan);
      net.detach(id);
      net.detach(id);  // once is enough
    }
  };
  auto loop = make_loop();
  Acceptor acceptor;
  Peer peer(loop->listen("127.0.0.1", 0, acceptor).value());
  ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == 1; }));
  for (int lap = 0; lap < 20; ++lap) {
    Leaver leaver(*loop);
    leaver.id = loop->adopt(acceptor.sockets[0], leaver).value();
    ASSERT_TRUE(peer.write("lap"));
    ASSERT_TRUE(run_until(*loop, [&] { return leaver.detached.size() == 1; }));
    EXPECT_EQ(leaver.received, "lap");
    EXPECT_EQ(leaver.detached[0].fd, acceptor.sockets[0].fd);
    loop->close(leaver.id);  // stale
  }
  EXPECT_EQ(loop->stats().connections_detached, 20u);
  ::close(acceptor.sockets[0].fd);
}

TEST(Net, a_connection_that_ends_while_it_is_detached_is_closed) {
  auto loop = make_loop();
  Pair pair(*loop);
  run_for(*loop, 10 * kMillisecond);
  loop->detach(pair.recorder.id);
  loop->close(pair.recorder.id);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }));
  EXPECT_TRUE(pair.recorder.detached.empty());
  EXPECT_TRUE(pair.peer->closed_by_other_side());
}

TEST(Net, a_starved_connection_can_be_detached) {
  LoopOptions options;
  options.receive_buffers = 2;
  auto loop = make_loop(options);
  Acceptor acceptor;
  const std::uint16_t port = loop->listen("127.0.0.1", 0, acceptor).value();
  Peer greedy_peer(port);
  Peer peer(port);
  ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == 2; }));
  Recorder greedy(*loop);
  greedy.keep_loans = true;
  greedy.id = loop->adopt(acceptor.sockets[0], greedy).value();
  for (std::size_t i = 1; i <= 2; ++i) {
    ASSERT_TRUE(greedy_peer.write("x"));
    ASSERT_TRUE(run_until(*loop, [&] { return greedy.loans.size() == i; }));
  }
  Recorder starved(*loop);
  starved.id = loop->adopt(acceptor.sockets[1], starved).value();
  ASSERT_TRUE(peer.write("y"));
  ASSERT_TRUE(run_until(*loop, [&] { return loop->stats().receive_starved > 0; }));
  loop->detach(starved.id);
  ASSERT_TRUE(run_until(*loop, [&] { return starved.detached.size() == 1; }));
  EXPECT_EQ(starved.received, "");
  for (const ReceiveLoan loan : greedy.loans) loop->release(loan);
  Recorder heir(*loop);
  heir.id = loop->adopt(starved.detached[0], heir).value();
  ASSERT_TRUE(run_until(*loop, [&] { return heir.received == "y"; }));
}

TEST(Net, a_peer_timeout_is_set_on_the_socket) {
  auto loop = make_loop();
  Pair pair(*loop);
  loop->set_peer_timeout(pair.recorder.id, 1500);
  unsigned timeout_ms = 0;
  int idle = 0;
  socklen_t bytes = sizeof timeout_ms;
  const int fd = pair.acceptor.sockets[0].fd;
  ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, &bytes), 0);
  EXPECT_EQ(timeout_ms, 1500u);
  ASSERT_EQ(::getsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, &bytes), 0);
  EXPECT_EQ(idle, 1);
}

}  // namespace
}  // namespace esc::io::test
