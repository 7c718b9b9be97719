// A provided-buffer ring: the kernel picks a buffer per receive, we lend it to the handler and give
// it back to the kernel on release. One group serves all client connections of a core.
//
// Each buffer is in one of three places: with the kernel, in a completion not yet seen, or lent.
#pragma once

#include <cstdint>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "submission_ring.h"

namespace esc::io {

class ReceiveBuffers {
 public:
  ReceiveBuffers(std::uint16_t group, const LoopOptions& options)
      : group_(group), count_(options.receive_buffers), buffer_bytes_(options.receive_buffer_bytes) {}
  ReceiveBuffers(const ReceiveBuffers&) = delete;
  ReceiveBuffers& operator=(const ReceiveBuffers&) = delete;
  ~ReceiveBuffers();

  [[nodiscard]] Status open(SubmissionRing& ring);

  [[nodiscard]] std::uint16_t group() const { return group_; }
  // Buffers not lent: an upper bound of what the kernel can use right now.
  [[nodiscard]] std::uint32_t available() const { return count_ - lent_; }
  [[nodiscard]] std::uint32_t lent() const { return lent_; }

  // A completion carried this buffer.
  [[nodiscard]] ByteView lend(std::uint32_t buffer, std::uint32_t bytes);
  // Back to the kernel.
  void give_back(std::uint32_t buffer);
  [[nodiscard]] static std::uint32_t buffer_of(const Completion& completion) {
    return completion.flags >> IORING_CQE_BUFFER_SHIFT;
  }

 private:
  void provide(std::uint32_t buffer);
  [[nodiscard]] std::byte* data(std::uint32_t buffer) const {
    return memory_ + std::size_t{buffer} * buffer_bytes_;
  }

  const std::uint16_t group_;
  const std::uint32_t count_;
  const std::uint32_t buffer_bytes_;
  std::uint32_t lent_ = 0;
  std::byte* memory_ = nullptr;          // count_ buffers, mapped
  io_uring_buf_ring* shared_ = nullptr;  // count_ descriptors, mapped
  std::vector<bool> is_lent_;
};

}  // namespace esc::io
