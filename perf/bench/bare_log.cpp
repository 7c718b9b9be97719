#include "bare_log.h"

#include <liburing.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>

#include "clocks.h"
#include "esc/base/assert.h"
#include "zeroed_file.h"

namespace esc::bench {

namespace {

constexpr std::size_t kBlockBytes = 4096;
constexpr std::size_t kWriteBytesMax = kMiB;
constexpr std::size_t kDepth = 4;  // writes in flight per log, as the profile `throughput` has it
constexpr unsigned kRingEntries = 256;
constexpr std::uint32_t kNodesMax = 5;

struct Stream;

struct Write {
  Stream* stream = nullptr;
  std::uint64_t interval = 0;  // the last one whose bytes it carries
  bool done = false;
};

// One group's log on one node.
struct Stream {
  explicit Stream(ZeroedFile opened) : file(std::move(opened)) {}
  ZeroedFile file;
  double waiting_bytes = 0;
  std::size_t position = 0;
  std::deque<Write> writes;  // in order; those in front that are done leave
  std::uint64_t durable = 0;
};

class Run {
 public:
  Run(obs::Histogram& commits, const BareLog& load) : commits_(commits), load_(load) {}
  ~Run() {
    if (ring_ready_) ::io_uring_queue_exit(&ring_);
  }
  Run(const Run&) = delete;
  Run& operator=(const Run&) = delete;

  Status prepare();
  Status measure();

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  // Interval k (from 1) is over at this time.
  [[nodiscard]] Nanos end_of(std::uint64_t interval) const {
    return start_ + static_cast<Nanos>(interval) * load_.interval;
  }
  void bring(std::uint64_t interval);
  void submit(Stream& stream, std::uint64_t interval);
  Status wait_until(Nanos time);
  void note_committed(Nanos now);
  [[nodiscard]] std::uint64_t committed_of(std::uint32_t group) const;

  obs::Histogram& commits_;
  const BareLog& load_;
  std::unique_ptr<std::byte, Free> block_;
  std::deque<Stream> streams_;  // node by node
  io_uring ring_{};
  bool ring_ready_ = false;
  Nanos start_ = 0;
  std::uint64_t brought_ = 0;
  std::uint64_t committed_ = 0;
};

Status Run::prepare() {
  block_.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kWriteBytesMax)));
  std::memset(block_.get(), 0x5a, kWriteBytesMax);
  for (std::uint32_t i = 0; i < load_.nodes * load_.groups; ++i) {
    auto file = ZeroedFile::create(load_.dir);
    if (!file) return std::unexpected(file.error());
    streams_.emplace_back(std::move(*file));
  }
  const int error = ::io_uring_queue_init(kRingEntries, &ring_, 0);
  if (error < 0)
    return fail(errc_from_errno(-error), "io_uring is not available: " + std::string(std::strerror(-error)));
  ring_ready_ = true;
  return {};
}

void Run::submit(Stream& stream, std::uint64_t interval) {
  const auto wanted =
      (static_cast<std::size_t>(stream.waiting_bytes) + kBlockBytes) / kBlockBytes * kBlockBytes;
  const std::size_t bytes = std::min(wanted, kWriteBytesMax);
  if (stream.position + bytes > kZeroedBytes) stream.position = 0;
  stream.writes.push_back({.stream = &stream, .interval = interval});
  io_uring_sqe* const entry = ::io_uring_get_sqe(&ring_);
  ESC_ASSERT(entry != nullptr);
  ::io_uring_prep_write(entry, stream.file.fd(), block_.get(), static_cast<unsigned>(bytes), stream.position);
  ::io_uring_sqe_set_data(entry, &stream.writes.back());
  stream.position += bytes;
  stream.waiting_bytes = 0;
}

void Run::bring(std::uint64_t interval) {
  const double share = load_.bytes_per_s * static_cast<double>(load_.interval) / 1e9 / load_.groups;
  for (Stream& stream : streams_) stream.waiting_bytes += share;
  brought_ = interval;
}

Status Run::wait_until(Nanos time) {
  const Nanos wait = std::max<Nanos>(time - monotonic_nanos(), 0);
  __kernel_timespec timeout{.tv_sec = wait / kSecond, .tv_nsec = wait % kSecond};
  io_uring_cqe* entry = nullptr;
  const int result = ::io_uring_submit_and_wait_timeout(&ring_, &entry, 1, &timeout, nullptr);
  if (result < 0 && result != -ETIME && result != -EINTR)
    return fail(errc_from_errno(-result), "io_uring: " + std::string(std::strerror(-result)));
  while (::io_uring_peek_cqe(&ring_, &entry) == 0) {
    auto& write = *static_cast<Write*>(::io_uring_cqe_get_data(entry));
    const int written = entry->res;
    ::io_uring_cqe_seen(&ring_, entry);
    if (written < 0) return fail(errc_from_errno(-written), "synchronous write in " + load_.dir);
    write.done = true;
    Stream& stream = *write.stream;
    while (!stream.writes.empty() && stream.writes.front().done) {
      stream.durable = stream.writes.front().interval;
      stream.writes.pop_front();
    }
  }
  note_committed(monotonic_nanos());
  return {};
}

std::uint64_t Run::committed_of(std::uint32_t group) const {
  std::array<std::uint64_t, kNodesMax> durable{};
  for (std::uint32_t node = 0; node < load_.nodes; ++node)
    durable[node] = streams_[std::size_t{node} * load_.groups + group].durable;
  std::ranges::sort(durable, std::greater<>());
  return durable[load_.nodes / 2];
}

void Run::note_committed(Nanos now) {
  std::uint64_t committed = brought_;
  for (std::uint32_t group = 0; group < load_.groups; ++group)
    committed = std::min(committed, committed_of(group));
  while (committed_ < committed) commits_.record(now - end_of(++committed_));
}

Status Run::measure() {
  const auto intervals = static_cast<std::uint64_t>(load_.span / load_.interval);
  start_ = monotonic_nanos();
  while (committed_ < intervals) {
    while (brought_ < intervals && end_of(brought_ + 1) <= monotonic_nanos()) bring(brought_ + 1);
    for (Stream& stream : streams_) {
      if (stream.waiting_bytes > 0 && stream.writes.size() < kDepth) submit(stream, brought_);
    }
    const Nanos next = brought_ < intervals ? end_of(brought_ + 1) : monotonic_nanos() + kSecond;
    if (const Status status = wait_until(next); !status) return status;
  }
  // What a minority still writes uses the memory of this run.
  while (std::ranges::any_of(streams_, [](const Stream& stream) { return !stream.writes.empty(); })) {
    if (const Status status = wait_until(monotonic_nanos() + kSecond); !status) return status;
  }
  return {};
}

}  // namespace

Status measure_bare_log(obs::Histogram& commits, const BareLog& load) {
  ESC_ASSERT(load.nodes > 0 && load.nodes <= kNodesMax && load.groups > 0 && load.interval > 0);
  Run run(commits, load);
  if (const Status status = run.prepare(); !status) return status;
  return run.measure();
}

}  // namespace esc::bench
