// Disk operations over the ring: kinds to requests, short transfers continued, a bounded number in
// the kernel and the rest in line (intrusively, in DiskOp::next).
#pragma once

#include <cstdint>

#include "esc/io/disk.h"
#include "esc/io/uring_loop.h"
#include "submission_ring.h"

namespace esc::io {

class DiskEngine {
 public:
  DiskEngine(SubmissionRing& ring, const LoopOptions& options, LoopStats& stats)
      : ring_(ring), in_kernel_max_(options.disk_ops_max), stats_(stats) {}
  DiskEngine(const DiskEngine&) = delete;
  DiskEngine& operator=(const DiskEngine&) = delete;
  ~DiskEngine();

  void submit(DiskOp& op);
  void complete(DiskOp& op, std::int32_t result);

  [[nodiscard]] std::uint32_t in_flight() const { return in_kernel_ + waiting_; }
  [[nodiscard]] std::uint32_t writes_in_flight() const { return writes_in_kernel_; }

 private:
  void issue(DiskOp& op);
  void issue_waiting();
  void prepare(DiskOp& op);
  [[nodiscard]] io_uring_sqe& request(DiskOp& op);
  [[nodiscard]] io_uring_sqe& worker_request(DiskOp& op);  // counted: runs on an io-wq worker
  void prepare_open(DiskOp& op);
  void prepare_read(DiskOp& op);
  void prepare_write(DiskOp& op);
  void prepare_truncate(DiskOp& op);
  void prepare_sync_dir(DiskOp& op);
  void advance(DiskOp& op, std::int32_t result);
  void finish(DiskOp& op, int os_error);

  SubmissionRing& ring_;
  const std::uint32_t in_kernel_max_;
  LoopStats& stats_;
  bool uncached_supported_ = true;  // until the kernel says otherwise
  std::uint32_t in_kernel_ = 0;
  std::uint32_t waiting_ = 0;
  std::uint32_t writes_in_kernel_ = 0;
  DiskOp* first_waiting_ = nullptr;
  DiskOp* last_waiting_ = nullptr;
};

}  // namespace esc::io
