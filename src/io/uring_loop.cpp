// UringLoop: composes the ring, the disk and net engines, the timers and the wake-ups.
#include "esc/io/uring_loop.h"

#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>

#include "disk_engine.h"
#include "esc/base/assert.h"
#include "net_engine.h"
#include "submission_ring.h"
#include "tag.h"
#include "timer_heap.h"

namespace esc::io {

namespace {

constexpr std::uint32_t kBatchesPerPoll = 8;  // bounds the callbacks of one turn

Nanos read_clock(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return Nanos{time.tv_sec} * kSecond + time.tv_nsec;
}

class UringLoopImpl final : public UringLoop {
 public:
  explicit UringLoopImpl(const LoopOptions& options)
      : options_(options),
        now_(read_clock(CLOCK_MONOTONIC)),
        timers_(options.timers_expected),
        ring_(options_, stats_),
        disk_(ring_, options_, stats_),
        net_(ring_, timers_, options_, stats_) {}
  ~UringLoopImpl() override {
    ring_.cancel_all();
    if (wake_fd_ >= 0) ::close(wake_fd_);
  }

  [[nodiscard]] Status open();

  std::uint32_t poll(Nanos wait_until) override;
  void flush() override { ring_.submit(); }
  void wake() override;
  void wake_from(Loop& sender) override;

  // Disk
  void submit(DiskOp& op) override { disk_.submit(op); }
  void register_memory(ByteSpan region) override { ring_.register_memory(region); }

  // Net
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port, AcceptHandler& handler) override {
    return net_.listen(host, port, handler);
  }
  void stop_listening() override { net_.stop_listening(); }
  std::expected<ConnectionId, Errc> adopt(AcceptedSocket socket, ConnectionHandler& handler) override {
    return net_.adopt(socket, handler);
  }
  std::expected<ConnectionId, Errc> connect(const std::string& host, std::uint16_t port,
                                            ConnectionHandler& handler) override {
    return net_.connect(host, port, handler);
  }
  void send(ConnectionId connection, std::span<const iovec> pieces) override {
    net_.send(connection, pieces);
  }
  void pause_receive(ConnectionId connection) override { net_.pause_receive(connection); }
  void resume_receive(ConnectionId connection) override { net_.resume_receive(connection); }
  void release(ReceiveLoan loan) override { net_.release(loan); }
  void close(ConnectionId connection) override { net_.close(connection); }
  void detach(ConnectionId connection) override { net_.detach(connection); }
  void set_peer_timeout(ConnectionId connection, std::uint32_t timeout_ms) override {
    net_.set_peer_timeout(connection, timeout_ms);
  }
  void allow_zero_copy(ConnectionId connection) override { net_.allow_zero_copy(connection); }
  std::string peer_address(ConnectionId connection) override { return net_.peer_address(connection); }

  // Clock
  Nanos now() const override { return now_; }
  WallMs wall_ms() const override { return read_clock(CLOCK_REALTIME) / kMillisecond; }
  void arm(Timer& timer, Nanos deadline) override { timers_.arm(timer, deadline); }
  void disarm(Timer& timer) override { timers_.disarm(timer); }

  const LoopStats& stats() const override { return stats_; }
  std::uint32_t connections_open() const override { return net_.connections_open(); }
  std::uint32_t receive_buffers_lent() const override { return net_.buffers_lent(); }
  std::uint32_t disk_ops_in_flight() const override { return disk_.in_flight(); }
  std::uint32_t disk_writes_in_flight() const override { return disk_.writes_in_flight(); }

 private:
  void submit_and_maybe_wait(Nanos wait_until, bool work_waits);
  std::uint32_t dispatch_completions();
  void dispatch(const Completion& completion);
  void listen_for_wakes();

  const LoopOptions options_;
  LoopStats stats_;
  Nanos now_;
  int wake_fd_ = -1;
  std::uint64_t wake_value_ = 0;  // target of the eventfd read
  // Order matters: at destruction the engines go before the ring and the timers they use.
  TimerHeap timers_;
  SubmissionRing ring_;
  DiskEngine disk_;
  NetEngine net_;
};

Status UringLoopImpl::open() {
  if (options_.disk_ops_max == 0 || options_.connections_max >= kTagSlotsMax) {
    return fail(Errc::invalid_argument,
                "disk_ops_max must be positive and connections_max below " + std::to_string(kTagSlotsMax));
  }
  if (Status status = ring_.open(); !status) return status;
  if (Status status = net_.open(); !status) return status;
  // Blocking on purpose: io_uring answers EAGAIN instead of waiting when O_NONBLOCK is set.
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC);
  if (wake_fd_ < 0) {
    return fail(Errc::io_error,
                std::string("cannot make an eventfd: ") + std::strerror(errno) + "; raise RLIMIT_NOFILE");
  }
  listen_for_wakes();
  return {};
}

void UringLoopImpl::listen_for_wakes() {
  io_uring_prep_read(&ring_.next_sqe(make_tag(RequestKind::wake_event)), wake_fd_, &wake_value_,
                     sizeof wake_value_, 0);
}

void UringLoopImpl::wake() {
  const std::uint64_t one = 1;
  // Cannot fail in a way that matters: a full counter already is a wake-up.
  [[maybe_unused]] const ssize_t written = ::write(wake_fd_, &one, sizeof one);
}

void UringLoopImpl::wake_from(Loop& sender) {
  // The loops of a node are of one kind, and create() is the only maker of this kind.
  auto& from = static_cast<UringLoopImpl&>(sender);
  io_uring_sqe& sqe = from.ring_.next_sqe(make_tag(RequestKind::wake_refused, this));
  io_uring_prep_msg_ring(&sqe, ring_.fd(), 0, make_tag(RequestKind::wake_message), 0);
  sqe.flags |= IOSQE_CQE_SKIP_SUCCESS;  // the sender hears of it only when it fails
  ++from.stats_.wakes_sent;
}

std::uint32_t UringLoopImpl::poll(Nanos wait_until) {
  ++stats_.polls;
  std::uint32_t work = net_.run_deferred(now_);
  submit_and_maybe_wait(wait_until, work > 0);
  now_ = read_clock(CLOCK_MONOTONIC);
  work += dispatch_completions();
  const std::uint32_t fired = timers_.fire_due(now_);
  stats_.timers_fired += fired;
  work += fired;
  work += net_.run_deferred(now_);
  if (work == 0 && options_.spin_yield && disk_.writes_in_flight() > 0) {
    ++stats_.spin_yields;
    ::sched_yield();
  }
  return work;
}

void UringLoopImpl::submit_and_maybe_wait(Nanos wait_until, bool work_waits) {
  const Nanos deadline = std::min(wait_until, timers_.next_deadline());
  if (!work_waits && deadline > now_) {
    // now() may be stale by a whole turn of the caller's work.
    const Nanos wait_ns = deadline - read_clock(CLOCK_MONOTONIC);
    if (wait_ns > 0) {
      ++stats_.waits;
      return ring_.submit_and_wait(std::min(wait_ns, options_.sleep_max));
    }
  }
  ring_.submit_and_collect();
}

std::uint32_t UringLoopImpl::dispatch_completions() {
  std::uint32_t count = 0;
  for (std::uint32_t batch = 0; batch < kBatchesPerPoll; ++batch) {
    const std::span<const Completion> completions = ring_.take_completions();
    for (const Completion& completion : completions) dispatch(completion);
    count += static_cast<std::uint32_t>(completions.size());
    if (completions.size() < SubmissionRing::kBatch) break;
  }
  return count;
}

void UringLoopImpl::dispatch(const Completion& completion) {
  switch (tag_kind(completion.tag)) {
    case RequestKind::ignored: return;
    case RequestKind::disk: return disk_.complete(*tag_pointer<DiskOp>(completion.tag), completion.result);
    case RequestKind::accept: return net_.complete_accept(completion);
    case RequestKind::receive: return net_.complete_receive(completion);
    case RequestKind::send: return net_.complete_send(completion);
    case RequestKind::connect: return net_.complete_connect(completion);
    case RequestKind::wake_event: ++stats_.wakes_received; return listen_for_wakes();
    case RequestKind::wake_message: ++stats_.wakes_received; return;
    case RequestKind::wake_refused:
      ++stats_.wakes_fallback;
      return tag_pointer<UringLoopImpl>(completion.tag)->wake();
  }
  ESC_UNREACHABLE("completion with an unknown tag");
}

}  // namespace

Result<std::unique_ptr<UringLoop>> UringLoop::create(const LoopOptions& options) {
  auto loop = std::make_unique<UringLoopImpl>(options);
  if (Status status = loop->open(); !status) return std::unexpected(std::move(status.error()));
  return loop;
}

}  // namespace esc::io
