// The io_uring instance of one loop: setup, submission slots, waiting, completions in batches.
//
// Threading: made on any thread, started (bound) by the first thread that submits or waits; see
// IORING_SETUP_SINGLE_ISSUER in io_uring_setup(2).
#pragma once

#include <liburing.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "esc/base/result.h"
#include "esc/io/uring_loop.h"

namespace esc::io {

struct Completion {
  std::uint64_t tag = 0;
  std::int32_t result = 0;
  std::uint32_t flags = 0;
};

class SubmissionRing {
 public:
  static constexpr std::uint32_t kBatch = 64;              // completions copied out at once
  static constexpr std::uint32_t kRegisteredRegions = 16;  // registered memory regions

  SubmissionRing(const LoopOptions& options, LoopStats& stats) : options_(options), stats_(stats) {}
  SubmissionRing(const SubmissionRing&) = delete;
  SubmissionRing& operator=(const SubmissionRing&) = delete;
  ~SubmissionRing();

  [[nodiscard]] Status open();
  // Binds the ring to the calling thread; no-op when done.
  void start();

  // A submission slot with its tag; the caller fills it with an io_uring_prep_* helper at once. When the
  // queue is full, what is in it goes to the kernel first.
  [[nodiscard]] io_uring_sqe& next_sqe(std::uint64_t tag);

  void submit();
  // Submits if there is anything, and lets the kernel run its pending task work for this ring.
  void submit_and_collect();
  // The same, then sleeps until a completion, at most `wait_ns`.
  void submit_and_wait(Nanos wait_ns);
  // Up to kBatch completions, copied so that callbacks may submit; empty when there are none.
  [[nodiscard]] std::span<const Completion> take_completions();

  // Index for *_FIXED operations when [data, data + bytes) lies in registered memory, else -1.
  [[nodiscard]] int registered_index(const void* data, std::uint64_t bytes) const;
  void register_memory(ByteSpan region);

  // Before teardown: the kernel lets go of all memory that requests point to.
  void cancel_all();

  [[nodiscard]] bool supports(unsigned opcode) const;
  [[nodiscard]] io_uring& raw() { return ring_; }
  [[nodiscard]] int fd() const { return ring_.ring_fd; }

 private:
  void check(int result);
  void limit_workers();

  const LoopOptions& options_;
  LoopStats& stats_;
  io_uring ring_{};
  bool opened_ = false;
  bool started_ = false;
  int owner_thread_ = 0;
  std::uint64_t opcodes_ = 0;  // bit per supported opcode
  std::array<Completion, kBatch> batch_{};
  std::array<ByteSpan, kRegisteredRegions> regions_{};
  std::uint32_t regions_used_ = 0;
  bool regions_possible_ = false;
};

}  // namespace esc::io
