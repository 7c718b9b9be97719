// The data path does not allocate: a global operator new that counts, around echoes and disk writes.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "allocation_counter.h"
#include "loop_fixture.h"
#include "peer.h"

namespace esc::io::test {
namespace {

// Echoes in 40 pieces, so that gather blocks are used; one message at a time.
struct GatheringEcho : ConnectionHandler {
  explicit GatheringEcho(Net& owner) : net(owner) {}
  void on_received(ByteView bytes, ReceiveLoan received) override {
    loan = received;
    std::array<iovec, 40> pieces{};
    const std::size_t part = bytes.size() / pieces.size();
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const std::size_t length = i + 1 == pieces.size() ? bytes.size() - i * part : part;
      pieces[i] = {const_cast<std::byte*>(bytes.data()) + i * part, length};
    }
    net.send(id, pieces);
  }
  void on_sent() override {
    net.release(loan);
    ++echoed;
  }
  void on_closed(Errc) override {}
  Net& net;
  ConnectionId id;
  ReceiveLoan loan;
  int echoed = 0;
};

TEST(Allocation, the_data_path_does_not_allocate) {
  TemporaryDirectory directory;
  auto loop = make_loop();
  Acceptor acceptor;
  Peer peer(loop->listen("127.0.0.1", 0, acceptor).value());
  ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == 1; }));
  GatheringEcho echo(*loop);
  echo.id = loop->adopt(acceptor.sockets[0], echo).value();

  const std::string path = directory / "wal";
  DiskOp op;
  op.kind = DiskOp::Kind::open;
  op.path = path.c_str();
  op.flags = {.write = true, .create = true, .direct_dsync = true};
  run_op(*loop, op);
  ASSERT_EQ(op.error, Errc::ok);
  const AlignedBytes frame(8192);
  op.kind = DiskOp::Kind::write;
  op.buffer = frame.span();
  op.done = [](DiskOp&) {};
  Timer timer;
  timer.fire = [](Timer&) {};
  const std::string message(1000, 'm');

  const std::uint64_t before = allocations.load();
  for (int round = 0; round < 50; ++round) {
    ASSERT_EQ(::send(peer.fd(), message.data(), message.size(), MSG_NOSIGNAL), 1000);
    loop->submit(op);
    loop->arm(timer, loop->now() + kMillisecond);
    for (int turn = 0; turn < 1000 && (op.in_flight || echo.echoed <= round); ++turn) {
      loop->poll(loop->now() + 10 * kMillisecond);
    }
    loop->pause_receive(echo.id);
    loop->poll(0);
    loop->resume_receive(echo.id);
    std::array<char, 1000> answer;
    ASSERT_EQ(::recv(peer.fd(), answer.data(), answer.size(), MSG_WAITALL), 1000);
  }
  EXPECT_EQ(allocations.load() - before, 0u);
  EXPECT_EQ(echo.echoed, 50);
  loop->disarm(timer);
  ::close(op.file.fd);
}

TEST(Allocation, connection_slots_grow_to_the_high_water_mark_and_are_reused) {
  auto loop = make_loop();
  Acceptor acceptor;
  const std::uint16_t port = loop->listen("127.0.0.1", 0, acceptor).value();
  for (int lap = 0; lap < 2; ++lap) {
    std::vector<Peer> peers;
    std::vector<ConnectionId> ids;
    Recorder recorder(*loop);
    acceptor.sockets.clear();
    for (std::size_t i = 0; i < 400; ++i) {
      peers.emplace_back(port);
      ASSERT_TRUE(peers.back().connected());
      ASSERT_TRUE(run_until(*loop, [&] { return acceptor.sockets.size() == i + 1; }));
      ids.push_back(loop->adopt(acceptor.sockets[i], recorder).value());
    }
    EXPECT_EQ(loop->connections_open(), 400u);
    EXPECT_EQ(loop->stats().slab_growths, 1u) << "400 connections in slabs of 256";
    for (const ConnectionId id : ids) loop->close(id);
    ASSERT_TRUE(run_until(*loop, [&] { return loop->connections_open() == 0; }));
    EXPECT_EQ(recorder.closed, 400);
  }
}

}  // namespace
}  // namespace esc::io::test
