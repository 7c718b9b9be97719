#include "submission_ring.h"

#include <sched.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <string>

#include "esc/base/assert.h"

namespace esc::io {

namespace {

// A kernel that does not take our submissions within this many attempts is broken beyond repair.
constexpr int kSubmitAttemptsMax = 1000;

Status explain_setup_failure(int error) {
  const std::string reason = std::strerror(error);
  switch (error) {
    case ENOSYS:
    case EINVAL:
      return fail(Errc::unsupported, "io_uring with deferred task work needs Linux 6.1 or newer (" + reason +
                                         "): upgrade the kernel");
    case EPERM:
    case EACCES:
      return fail(Errc::unsupported,
                  "io_uring is forbidden (" + reason +
                      "): set sysctl kernel.io_uring_disabled=0, and in a container allow the "
                      "io_uring system calls in the seccomp profile");
    case ENOMEM:
      return fail(Errc::no_space,
                  "no memory for an io_uring (" + reason + "): raise RLIMIT_MEMLOCK or free memory");
    case EMFILE:
    case ENFILE:
      return fail(Errc::no_space, "no file descriptor for an io_uring (" + reason + "): raise RLIMIT_NOFILE");
    default: return fail(Errc::io_error, "io_uring_setup failed: " + reason);
  }
}

}  // namespace

SubmissionRing::~SubmissionRing() {
  if (!opened_) return;
  if (started_ && gettid() != owner_thread_) {
    // The registered ring descriptor belongs to the owner's task. liburing would unregister the same
    // index of *this* task, which may be another loop's.
    ring_.int_flags = 0;
    ring_.enter_ring_fd = ring_.ring_fd;
  }
  io_uring_queue_exit(&ring_);
}

Status SubmissionRing::open() {
  if (!std::has_single_bit(options_.submission_entries) ||
      !std::has_single_bit(options_.completion_entries)) {
    return fail(Errc::invalid_argument, "io_uring queue sizes must be powers of two");
  }
  io_uring_params params{};
  // Starts disabled, so that the thread that will own it can be another than the one that makes it.
  params.flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN |
                 IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE;
  params.cq_entries = options_.completion_entries;
  const int result = io_uring_queue_init_params(options_.submission_entries, &ring_, &params);
  if (result < 0) return explain_setup_failure(-result);
  opened_ = true;
  constexpr unsigned kNeeded =
      IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG | IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_CQE_SKIP;
  if ((params.features & kNeeded) != kNeeded) return explain_setup_failure(EINVAL);

  io_uring_probe* probe = io_uring_get_probe_ring(&ring_);
  if (probe == nullptr) return explain_setup_failure(EINVAL);
  for (int opcode = 0; opcode < 64; ++opcode) {
    if (io_uring_opcode_supported(probe, opcode) != 0) opcodes_ |= std::uint64_t{1} << opcode;
  }
  io_uring_free_probe(probe);
  // An empty table, filled by register_memory; refused without enough locked memory, which costs only speed.
  regions_possible_ = io_uring_register_buffers_sparse(&ring_, kRegisteredRegions) == 0;
  return {};
}

void SubmissionRing::start() {
  if (started_) return;
  started_ = true;
  owner_thread_ = gettid();
  // Not io_uring_enable_rings(): the shared library of liburing 2.3 forgets to export it.
  const int result =
      io_uring_register(static_cast<unsigned>(ring_.ring_fd), IORING_REGISTER_ENABLE_RINGS, nullptr, 0);
  ESC_ASSERT_MSG(result == 0, "io_uring refuses to start");
  // Optional comfort: without it every enter looks the descriptor up.
  (void)io_uring_register_ring_fd(&ring_);
  limit_workers();
}

void SubmissionRing::limit_workers() {
  // Both need the owner's task, hence not in open(). Failure leaves the kernel's defaults: no harm
  // to correctness.
  unsigned limits[2] = {options_.worker_threads_max, options_.worker_threads_max};
  if (options_.worker_threads_max > 0) (void)io_uring_register_iowq_max_workers(&ring_, limits);
  if (options_.worker_cpus.empty()) return;
  cpu_set_t cpus;
  CPU_ZERO(&cpus);
  for (const std::uint32_t cpu : options_.worker_cpus) {
    if (cpu < CPU_SETSIZE) CPU_SET(cpu, &cpus);
  }
  (void)io_uring_register_iowq_aff(&ring_, sizeof cpus, &cpus);
}

bool SubmissionRing::supports(unsigned opcode) const {
  return opcode < 64 && (opcodes_ >> opcode & 1) != 0;
}

io_uring_sqe& SubmissionRing::next_sqe(std::uint64_t tag) {
  io_uring_sqe* sqe = io_uring_get_sqe(&ring_);
  for (int attempt = 0; sqe == nullptr; ++attempt) {
    ESC_ASSERT_MSG(attempt < kSubmitAttemptsMax, "the kernel does not accept io_uring submissions");
    submit();
    sqe = io_uring_get_sqe(&ring_);
  }
  sqe->user_data = tag;  // everything else is set by the io_uring_prep_* helpers
  return *sqe;
}

// EINTR, EAGAIN, EBUSY and ETIME are passing: the next turn submits or waits again. EBADR means that
// completions were lost (no memory for the overflow list), after which nothing can be trusted.
void SubmissionRing::check(int result) {
  if (result >= 0) return;
  ESC_ASSERT_MSG(result == -EINTR || result == -EAGAIN || result == -EBUSY || result == -ETIME,
                 "io_uring_enter failed; completions may be lost");
}

void SubmissionRing::submit() {
  start();
  check(io_uring_submit(&ring_));
}

void SubmissionRing::submit_and_collect() {
  start();
  const unsigned flags = __atomic_load_n(ring_.sq.kflags, __ATOMIC_RELAXED);
  if ((flags & IORING_SQ_CQ_OVERFLOW) != 0) ++stats_.completion_overflows;
  // With nothing to submit and nothing deferred, a spinning turn costs no system call.
  if (io_uring_sq_ready(&ring_) == 0 && (flags & (IORING_SQ_CQ_OVERFLOW | IORING_SQ_TASKRUN)) == 0) return;
  check(io_uring_submit_and_get_events(&ring_));
}

void SubmissionRing::submit_and_wait(Nanos wait_ns) {
  start();
  ESC_ASSERT(wait_ns > 0);
  if (io_uring_cq_has_overflow(&ring_)) ++stats_.completion_overflows;
  __kernel_timespec timeout{.tv_sec = wait_ns / kSecond, .tv_nsec = wait_ns % kSecond};
  io_uring_cqe* first = nullptr;
  check(io_uring_submit_and_wait_timeout(&ring_, &first, 1, &timeout, nullptr));
}

std::span<const Completion> SubmissionRing::take_completions() {
  std::uint32_t count = 0;
  unsigned head = 0;
  io_uring_cqe* cqe = nullptr;
  io_uring_for_each_cqe(&ring_, head, cqe) {
    if (count == kBatch) break;
    batch_[count] = Completion{.tag = cqe->user_data, .result = cqe->res, .flags = cqe->flags};
    ++count;
  }
  io_uring_cq_advance(&ring_, count);
  stats_.completions += count;
  return {batch_.data(), count};
}

void SubmissionRing::cancel_all() {
  // On another thread the owner has exited, which cancelled its requests; see io_uring(7).
  if (!opened_ || !started_ || gettid() != owner_thread_) return;
  io_uring_sync_cancel_reg everything{};
  everything.fd = -1;
  everything.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL;
  everything.timeout.tv_sec = 1;
  (void)io_uring_register_sync_cancel(&ring_, &everything);
}

int SubmissionRing::registered_index(const void* data, std::uint64_t bytes) const {
  const auto* first = static_cast<const std::byte*>(data);
  for (std::uint32_t i = 0; i < regions_used_; ++i) {
    const ByteSpan region = regions_[i];
    if (first >= region.data() && bytes <= region.size() &&
        static_cast<std::uint64_t>(first - region.data()) <= region.size() - bytes) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

void SubmissionRing::register_memory(ByteSpan region) {
  if (!regions_possible_ || regions_used_ == kRegisteredRegions || region.empty()) return;
  const iovec piece{.iov_base = region.data(), .iov_len = region.size()};
  __u64 no_tag = 0;
  if (io_uring_register_buffers_update_tag(&ring_, regions_used_, &piece, &no_tag, 1) < 0) return;
  regions_[regions_used_++] = region;
}

}  // namespace esc::io
