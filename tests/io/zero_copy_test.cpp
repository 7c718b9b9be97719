// Zero-copy sends against the real kernel. Over loopback it always copies, and says so.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/socket.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "loop_fixture.h"
#include "pair.h"
#include "peer.h"

namespace esc::io::test {
namespace {

constexpr std::size_t kBytesMin = 8 << 10;
// A peer that reads nothing takes less than kStuckBytes of a send; the socket's send buffer takes the rest.
constexpr int kSmallReceiveBuffer = 16 << 10;
constexpr std::size_t kStuckBytes = 64 << 10;

LoopOptions options(std::uint32_t bytes_min = kBytesMin) {
  LoopOptions options;
  options.zero_copy_bytes_min = bytes_min;
  options.zero_copy_round_trip_max = 10 * kSecond;
  return options;
}

iovec piece_of(const std::string& text) {
  return {const_cast<char*>(text.data()), text.size()};
}

// A connection that allows zero copy.
struct ZeroCopyPair : Pair {
  explicit ZeroCopyPair(UringLoop& owner, int peer_receive_buffer = 0) : Pair(owner, peer_receive_buffer) {
    loop.allow_zero_copy(recorder.id);
  }
  void send(const std::string& text) {
    const iovec piece = piece_of(text);
    loop.send(recorder.id, {&piece, 1});
  }
  // Reads at the other side until it has `bytes` in all.
  bool read_until(std::size_t bytes) {
    return run_until(loop, [&] { return (read += peer->read_available()).size() >= bytes; });
  }
  std::string read;
};

TEST(ZeroCopy, ends_when_the_kernel_says_that_it_copied) {
  auto loop = make_loop(options());
  ZeroCopyPair pair(*loop);
  const std::string text = pattern(64 << 10);
  pair.send(text);
  ASSERT_TRUE(pair.read_until(text.size()));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  EXPECT_EQ(pair.recorder.zero_copy_ended, 1);
  EXPECT_TRUE(pair.recorder.zero_copy_copied);
  pair.send(text);
  ASSERT_TRUE(pair.read_until(2 * text.size()));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 2; }));
  EXPECT_EQ(pair.read, text + text);
  EXPECT_EQ(loop->stats().zero_copy_sends, 1u);
  EXPECT_EQ(loop->stats().zero_copy_ended, 1u);
  EXPECT_EQ(pair.recorder.zero_copy_ended, 1);
}

TEST(ZeroCopy, is_not_used_over_a_long_round_trip) {
  LoopOptions near_only = options();
  near_only.zero_copy_round_trip_max = 0;
  auto loop = make_loop(near_only);
  ZeroCopyPair pair(*loop);
  const std::string text = pattern(64 << 10);
  pair.send(text);
  ASSERT_TRUE(pair.read_until(text.size()));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  EXPECT_EQ(loop->stats().zero_copy_sends, 0u);
}

TEST(ZeroCopy, is_not_used_for_small_sends_nor_unasked_nor_when_off) {
  auto loop = make_loop(options());
  ZeroCopyPair allowed(*loop);
  Pair unasked(*loop);
  auto other = make_loop(options(0));
  ZeroCopyPair off(*other);
  const std::string small = pattern(kBytesMin - 1);
  const std::string large = pattern(kBytesMin);
  const iovec piece = piece_of(large);
  allowed.send(small);
  loop->send(unasked.recorder.id, {&piece, 1});
  off.send(large);
  ASSERT_TRUE(run_until(*loop, [&] { return allowed.recorder.sent + unasked.recorder.sent == 2; }));
  ASSERT_TRUE(run_until(*other, [&] { return off.recorder.sent == 1; }));
  EXPECT_EQ(loop->stats().zero_copy_sends + other->stats().zero_copy_sends, 0u);
}

TEST(ZeroCopy, on_sent_waits_until_the_memory_is_free) {
  auto loop = make_loop(options());
  const std::string text = pattern(kStuckBytes);
  Pair copying(*loop, kSmallReceiveBuffer);
  const iovec piece = piece_of(text);
  loop->send(copying.recorder.id, {&piece, 1});
  ASSERT_TRUE(run_until(*loop, [&] { return copying.recorder.sent == 1; })) << "the send buffer is too small";

  ZeroCopyPair pair(*loop, kSmallReceiveBuffer);
  pair.send(text);
  run_for(*loop, 50 * kMillisecond);
  EXPECT_EQ(loop->stats().sent_bytes, 2 * text.size()) << "the result has come";
  EXPECT_EQ(pair.recorder.sent, 0) << "nobody has acknowledged the bytes";
  ASSERT_TRUE(pair.read_until(text.size()));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  EXPECT_EQ(pair.read, text);
}

TEST(ZeroCopy, closing_between_result_and_notification_lets_go_of_the_memory_first) {
  auto loop = make_loop(options());
  ZeroCopyPair pair(*loop, kSmallReceiveBuffer);
  std::string text = pattern(kStuckBytes);
  const std::string original = text;
  pair.send(text);
  run_for(*loop, 20 * kMillisecond);
  ASSERT_EQ(loop->stats().sent_bytes, text.size());
  loop->close(pair.recorder.id);
  EXPECT_EQ(pair.recorder.closed, 0) << "on_closed must come from the loop";
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }, kSecond));
  EXPECT_EQ(pair.recorder.reason, Errc::closed);
  EXPECT_EQ(pair.recorder.sent, 0);
  EXPECT_EQ(loop->connections_open(), 0u);
  // Ours again: whatever the other side still gets, it is not this.
  text.assign(text.size(), '!');
  for (int i = 0; i < 20; ++i) {
    pair.read += pair.peer->read_available();
    run_for(*loop, kMillisecond);
  }
  EXPECT_TRUE(original.starts_with(pair.read));
  EXPECT_LT(pair.read.size(), original.size());
}

TEST(ZeroCopy, a_reset_between_result_and_notification_frees_the_memory_and_closes_once) {
  auto loop = make_loop(options());
  ZeroCopyPair pair(*loop, kSmallReceiveBuffer);
  const std::string text = pattern(kStuckBytes);
  pair.send(text);
  run_for(*loop, 20 * kMillisecond);
  pair.peer->reset();
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }));
  EXPECT_EQ(pair.recorder.reason, Errc::io_error);
  run_for(*loop, 20 * kMillisecond);
  EXPECT_EQ(pair.recorder.closed, 1);
  EXPECT_LE(pair.recorder.sent,
            1);  // the kernel had taken all the bytes, and lets go of them before it says why
}

TEST(ZeroCopy, closing_during_a_send_cancels_it) {
  auto loop = make_loop(options());
  ZeroCopyPair pair(*loop, kSmallReceiveBuffer);
  const std::string text = pattern(16 << 20);
  pair.send(text);
  run_for(*loop, 20 * kMillisecond);
  loop->close(pair.recorder.id);
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.closed == 1; }, kSecond));
  EXPECT_EQ(pair.recorder.sent, 0);
}

TEST(ZeroCopy, a_loop_that_ends_leaves_no_send_behind) {
  auto loop = make_loop(options());
  std::string text = pattern(kStuckBytes);
  const std::string original = text;
  auto pair = std::make_unique<ZeroCopyPair>(*loop, kSmallReceiveBuffer);
  pair->send(text);
  run_for(*loop, 20 * kMillisecond);
  ASSERT_EQ(loop->stats().sent_bytes, text.size());
  loop.reset();
  text.assign(text.size(), '!');
  std::string read;
  for (int i = 0; i < 20; ++i) {
    read += pair->peer->read_available();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_TRUE(original.starts_with(read));
  EXPECT_LT(read.size(), original.size());
}

TEST(ZeroCopy, long_gather_lists_arrive_whole_while_it_ends) {
  auto loop = make_loop(options());
  ZeroCopyPair pair(*loop);
  std::vector<std::string> texts;
  std::string expected;
  for (std::size_t i = 0; i < 500; ++i) {
    texts.push_back(pattern(100 + i * 37 % 9000));
    expected += texts.back();
  }
  const std::vector<iovec> pieces = pieces_of(texts);
  loop->send(pair.recorder.id, pieces);
  ASSERT_TRUE(pair.read_until(expected.size()));
  ASSERT_TRUE(run_until(*loop, [&] { return pair.recorder.sent == 1; }));
  EXPECT_EQ(pair.read, expected);
  EXPECT_GT(loop->stats().zero_copy_sends, 0u);
  EXPECT_EQ(pair.recorder.zero_copy_ended, 1);
}

TEST(ZeroCopy, a_socket_that_refuses_it_sends_by_copying) {
  auto loop = make_loop(options());
  int sockets[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
  Recorder recorder(*loop);
  recorder.id = loop->adopt({sockets[0]}, recorder).value();
  loop->allow_zero_copy(recorder.id);
  const std::string text = pattern(2 * kBytesMin);
  const iovec piece = piece_of(text);
  loop->send(recorder.id, {&piece, 1});
  ASSERT_TRUE(run_until(*loop, [&] { return recorder.sent == 1; }));
  EXPECT_EQ(recorder.zero_copy_ended, 1);
  EXPECT_FALSE(recorder.zero_copy_copied);
  std::string read(text.size(), '\0');
  EXPECT_EQ(::recv(sockets[1], read.data(), read.size(), MSG_WAITALL), static_cast<ssize_t>(text.size()));
  EXPECT_EQ(read, text);
  ::close(sockets[1]);
}

// In a network namespace of this thread only: a pair of devices whose queue drops everything. There alone the
// kernel of a single machine does not copy.
bool make_device_to_nowhere() {
  if (::unshare(CLONE_NEWNET) != 0) return false;
  const char* const commands =
      "{ ip link add esczc0 mtu 65535 type veth peer name esczc1 && ip link set esczc0 up && "
      "ip link set esczc1 up && ip addr add 10.254.77.1/30 dev esczc0 && "
      "ip neigh add 10.254.77.2 dev esczc0 nud permanent lladdr 02:00:00:00:00:02 && "
      "tc qdisc add dev esczc0 root blackhole; } 2>/dev/null";
  return std::system(commands) == 0;
}

TEST(ZeroCopy, stays_on_where_the_kernel_does_not_copy) {
  bool possible = false;
  std::thread([&] {
    possible = make_device_to_nowhere();
    if (!possible) return;
    auto loop = make_loop(options());
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{.sin_family = AF_INET, .sin_port = htons(7)};
    ::inet_pton(AF_INET, "10.254.77.2", &address.sin_addr);
    ASSERT_EQ(::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    Recorder recorder(*loop);
    recorder.id = loop->adopt({fd}, recorder).value();
    loop->allow_zero_copy(recorder.id);
    const std::string text = pattern(48 << 10);
    const iovec piece = piece_of(text);
    for (int sends = 1; sends <= 3; ++sends) {
      loop->send(recorder.id, {&piece, 1});
      ASSERT_TRUE(run_until(*loop, [&] { return recorder.sent == sends; }));
    }
    EXPECT_EQ(recorder.zero_copy_ended, 0);
    EXPECT_EQ(loop->stats().zero_copy_sends, 3u);
  }).join();
  if (!possible) GTEST_SKIP() << "needs root, ip(8) and tc(8): no network namespace with a veth pair here";
}

}  // namespace
}  // namespace esc::io::test
