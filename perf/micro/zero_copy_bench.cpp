// SENDMSG against SENDMSG_ZC: what a gathered message costs the sender, and when its memory is free again.
//
// One message in flight, as on a link between nodes. Three ways: over loopback; over a veth pair into a
// network namespace; and into a veth pair that drops everything, on a connection made by TCP_REPAIR, closed
// after each message. There alone nothing is copied (every delivery on the same machine copies, see
// skb_orphan_frags_rx), so that it shows the most there is to win. The last two need root. Counters:
// cpu_us_MiB (the sending thread's, the kernel and the checksum of the payload, which a link computes, too,
// included), both_us_MiB (with the receiver's), free_us (submission to memory free), result_us (to the first
// completion), copied (share of notifications that say so).
#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <liburing.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/crc32c.h"
#include "esc/base/units.h"

namespace {

using esc::crc32c;
using esc::kKiB;
using esc::kMiB;

constexpr std::uint16_t kReportUsage = 1u << 3;  // IORING_SEND_ZC_REPORT_USAGE
constexpr std::uint32_t kCopied = 1u << 31;      // IORING_NOTIF_USAGE_ZC_COPIED
constexpr unsigned kPairs = 4;                   // a header and a payload each
constexpr std::size_t kHeaderBytes = 192;

enum Way : std::int64_t { kLoopback, kVeth, kNowhere };

double seconds(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) / 1e9;
}

bool shell(const std::string& command) {
  return std::system((command + " 2>/dev/null").c_str()) == 0;
}

// Reads everything that one connection brings, in a namespace of its own when there is a veth pair.
class Receiver {
 public:
  explicit Receiver(Way way) : way_(way), thread_([this] { run(); }) { ready_.wait(0); }
  ~Receiver() {
    if (listener_ >= 0) ::shutdown(listener_, SHUT_RDWR);
    stop_ = 1;
    stop_.notify_one();
    thread_.join();
    if (listener_ >= 0) ::close(listener_);
    if (way_ != kLoopback) (void)shell("ip link del esczc" + std::to_string(getpid() % 10000));
  }
  [[nodiscard]] bool usable() const { return ready_ == 1; }
  [[nodiscard]] sockaddr_in address() const { return address_; }

 private:
  void run() {
    ready_ = open() ? 1 : 2;
    ready_.notify_one();
    if (ready_ == 1 && way_ != kNowhere) drain();
    stop_.wait(0);  // the namespace lives as long as this thread
  }

  bool make_pair() const {
    if (unshare(CLONE_NEWNET) != 0) return false;
    const std::string here =
        "/proc/" + std::to_string(getpid()) + "/task/" + std::to_string(syscall(SYS_gettid)) + "/ns/net";
    // Into the namespace that the process began with.
    const std::string home = "nsenter --net=/proc/" + std::to_string(getpid()) + "/ns/net ";
    const std::string ours = "esczc" + std::to_string(getpid() % 10000);
    return shell(home + "ip link add " + ours + " type veth peer name esczc netns " + here) &&
           shell("ip addr add 10.254.77.2/30 dev esczc && ip link set esczc up") &&
           shell(home + "ip addr add 10.254.77.1/30 dev " + ours) &&
           shell(home + "ip link set " + ours + " up") &&
           (way_ != kNowhere || (shell(home + "ip neigh add 10.254.77.2 dev " + ours +
                                       " nud permanent lladdr 02:00:00:00:00:02") &&
                                 shell(home + "ip route add 10.254.77.2 dev " + ours + " initcwnd 4000") &&
                                 shell(home + "tc qdisc add dev " + ours + " root blackhole")));
  }

  bool open() {
    if (way_ != kLoopback && !make_pair()) return false;
    address_.sin_family = AF_INET;
    address_.sin_port = htons(7);
    inet_pton(AF_INET, way_ == kLoopback ? "127.0.0.1" : "10.254.77.2", &address_.sin_addr);
    if (way_ == kNowhere) return true;
    listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in bound = address_;
    bound.sin_port = 0;
    socklen_t bytes = sizeof bound;
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&bound), bytes) != 0 || ::listen(listener_, 1) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &bytes) != 0)
      return false;
    address_ = bound;
    return true;
  }

  void drain() const {
    const int fd = ::accept(listener_, nullptr, nullptr);
    std::vector<std::byte> buffer(256 * kKiB);
    while (fd >= 0 && ::recv(fd, buffer.data(), buffer.size(), 0) > 0) {
    }
    if (fd >= 0) ::close(fd);
  }

  const Way way_;
  int listener_ = -1;
  sockaddr_in address_{};
  std::atomic<int> ready_ = 0;
  std::atomic<int> stop_ = 0;
  std::thread thread_;
};

class Sender {
 public:
  explicit Sender(std::size_t bytes) : memory_(bytes + kPairs * kHeaderBytes, std::byte{7}) {
    for (unsigned pair = 0; pair < kPairs; ++pair) {
      std::byte* const at = memory_.data() + pair * (kHeaderBytes + bytes / kPairs);
      pieces_.push_back({at, kHeaderBytes});
      pieces_.push_back({at + kHeaderBytes, bytes / kPairs});
    }
    message_.msg_iov = pieces_.data();
    message_.msg_iovlen = pieces_.size();
  }
  ~Sender() {
    if (fd_ >= 0) ::close(fd_);
    if (ring_open_) io_uring_queue_exit(&ring_);
  }

  bool open(Way way, sockaddr_in address) {
    io_uring_params params{};
    params.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    if (io_uring_queue_init_params(8, &ring_, &params) != 0) return false;
    ring_open_ = true;
    way_ = way;
    address_ = address;
    return connect();
  }

  bool connect() {
    fd_ = ::socket(AF_INET, SOCK_STREAM, 0);
    const auto* const to = reinterpret_cast<const sockaddr*>(&address_);
    if (way_ == kNowhere) return establish_alone() && ::connect(fd_, to, sizeof address_) == 0 && widen();
    set(IPPROTO_TCP, TCP_NODELAY, 1);
    return ::connect(fd_, to, sizeof address_) == 0;
  }

  // 0 or an errno. Returns when the memory is free again.
  int send(bool zero_copy) {
    if (fd_ < 0 && !connect()) return errno;
    const double cpu_begin = seconds(CLOCK_THREAD_CPUTIME_ID);
    const double process_begin = seconds(CLOCK_PROCESS_CPUTIME_ID);
    // As a link does: the checksum of the payload is computed anyway, so it lies in the cache.
    for (const iovec& piece : pieces_)
      benchmark::DoNotOptimize(crc32c({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}));
    const double begin = seconds(CLOCK_MONOTONIC);
    io_uring_sqe* const sqe = io_uring_get_sqe(&ring_);
    io_uring_prep_sendmsg(sqe, fd_, &message_, MSG_NOSIGNAL | MSG_WAITALL);
    if (zero_copy) {
      sqe->opcode = IORING_OP_SENDMSG_ZC;
      sqe->ioprio = kReportUsage;
    }
    bool more = true;
    for (bool first = true; more; first = false) {
      io_uring_cqe* cqe = nullptr;
      if (!first && way_ == kNowhere) reset();  // nobody acknowledges
      if (io_uring_submit_and_wait(&ring_, 1) < 0 || io_uring_peek_cqe(&ring_, &cqe) != 0) return EIO;
      more = (cqe->flags & IORING_CQE_F_MORE) != 0;
      const int result = cqe->res;
      const bool notification = (cqe->flags & IORING_CQE_F_NOTIF) != 0;
      io_uring_cqe_seen(&ring_, cqe);
      if (notification) {
        ++notifications_;
        if ((static_cast<std::uint32_t>(result) & kCopied) != 0) ++copied_;
      } else if (result < 0) {
        return -result;
      } else if (static_cast<std::size_t>(result) != memory_.size()) {
        return EMSGSIZE;
      }
      if (first) result_seconds_ += seconds(CLOCK_MONOTONIC) - begin;
    }
    free_seconds_ += seconds(CLOCK_MONOTONIC) - begin;
    if (way_ == kNowhere && fd_ >= 0) reset();
    cpu_seconds_ += seconds(CLOCK_THREAD_CPUTIME_ID) - cpu_begin;
    process_seconds_ += seconds(CLOCK_PROCESS_CPUTIME_ID) - process_begin;
    return 0;
  }

  void report(benchmark::State& state) const {
    const auto sends = static_cast<double>(state.iterations());
    const double mib = sends * static_cast<double>(memory_.size()) / static_cast<double>(kMiB);
    state.counters["cpu_us_MiB"] = cpu_seconds_ * 1e6 / mib;
    state.counters["both_us_MiB"] = process_seconds_ * 1e6 / mib;
    state.counters["free_us"] = free_seconds_ * 1e6 / sends;
    state.counters["result_us"] = result_seconds_ * 1e6 / sends;
    state.counters["copied"] = notifications_ == 0 ? 0 : static_cast<double>(copied_) / notifications_;
  }

 private:
  bool set(int level, int option, int value) const {
    return ::setsockopt(fd_, level, option, &value, sizeof value) == 0;
  }
  // Established from connect() on, whatever the other side thinks; see TCP_REPAIR in tcp(7).
  bool establish_alone() const {
    return set(IPPROTO_TCP, TCP_REPAIR, 1) && set(SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20);
  }
  // A window for all of the message.
  bool widen() const {
    tcp_repair_opt options[] = {{TCPOPT_MAXSEG, 1448}, {TCPOPT_WINDOW, 10 | 10 << 16}};
    tcp_repair_window window{};
    socklen_t bytes = sizeof window;
    if (::setsockopt(fd_, IPPROTO_TCP, TCP_REPAIR_OPTIONS, options, sizeof options) != 0 ||
        ::getsockopt(fd_, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, &bytes) != 0)
      return false;
    window.snd_wnd = window.max_window = 32 << 20;
    return ::setsockopt(fd_, IPPROTO_TCP, TCP_REPAIR_WINDOW, &window, sizeof window) == 0 &&
           set(IPPROTO_TCP, TCP_REPAIR, 0) && set(IPPROTO_TCP, TCP_NODELAY, 1);
  }
  void reset() {
    const linger abort{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    ::close(std::exchange(fd_, -1));
  }

  Way way_ = kLoopback;
  sockaddr_in address_{};
  std::vector<std::byte> memory_;
  std::vector<iovec> pieces_;
  msghdr message_{};
  io_uring ring_{};
  bool ring_open_ = false;
  int fd_ = -1;
  double result_seconds_ = 0;
  double free_seconds_ = 0;
  double cpu_seconds_ = 0;
  double process_seconds_ = 0;
  int notifications_ = 0;
  int copied_ = 0;
};

void gathered_send(benchmark::State& state) {
  const auto way = static_cast<Way>(state.range(0));
  const bool zero_copy = state.range(1) != 0;
  const Receiver receiver(way);
  Sender sender(static_cast<std::size_t>(state.range(2)) * kKiB);
  if (!receiver.usable())
    return state.SkipWithError("no network namespace, veth pair or blackhole qdisc: run as root");
  if (!sender.open(way, receiver.address())) return state.SkipWithError("no connection");
  for (auto _ : state) {
    const int error = sender.send(zero_copy);
    if (error != 0) return state.SkipWithError(std::strerror(error));
  }
  sender.report(state);
}
BENCHMARK(gathered_send)
    ->ArgNames({"way", "zc", "KiB"})
    ->ArgsProduct({{kLoopback, kVeth, kNowhere}, {0, 1}, {4, 16, 64, 256, 1024}})
    ->UseRealTime()
    ->MinTime(0.3);

}  // namespace

BENCHMARK_MAIN();
