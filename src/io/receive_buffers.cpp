#include "receive_buffers.h"

#include <sys/mman.h>

#include <bit>
#include <cstring>
#include <string>

#include "esc/base/assert.h"

namespace esc::io {

namespace {

constexpr std::uint32_t kBuffersMax = 32768;  // io_uring_register_buf_ring(3)

void* map_pages(std::size_t bytes) {
  void* const pages = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return pages == MAP_FAILED ? nullptr : pages;
}

}  // namespace

ReceiveBuffers::~ReceiveBuffers() {
  if (memory_ != nullptr) ::munmap(memory_, std::size_t{count_} * buffer_bytes_);
  if (shared_ != nullptr) ::munmap(shared_, count_ * sizeof(io_uring_buf));
}

Status ReceiveBuffers::open(SubmissionRing& ring) {
  if (!std::has_single_bit(count_) || count_ > kBuffersMax || buffer_bytes_ == 0) {
    return fail(Errc::invalid_argument, "the number of receive buffers must be a power of two of at most " +
                                            std::to_string(kBuffersMax) + " and their size positive");
  }
  memory_ = static_cast<std::byte*>(map_pages(std::size_t{count_} * buffer_bytes_));
  shared_ = static_cast<io_uring_buf_ring*>(map_pages(count_ * sizeof(io_uring_buf)));
  if (memory_ == nullptr || shared_ == nullptr) {
    return fail(Errc::no_space, "no memory for " + std::to_string(count_) + " receive buffers of " +
                                    std::to_string(buffer_bytes_) + " bytes: lower their number");
  }
  io_uring_buf_reg registration{};
  registration.ring_addr = reinterpret_cast<std::uintptr_t>(shared_);
  registration.ring_entries = count_;
  registration.bgid = group_;
  const int result = io_uring_register_buf_ring(&ring.raw(), &registration, 0);
  if (result < 0) {
    return fail(Errc::unsupported,
                std::string("the kernel refuses a ring of receive buffers: ") + std::strerror(-result));
  }
  io_uring_buf_ring_init(shared_);
  is_lent_.assign(count_, false);
  for (std::uint32_t buffer = 0; buffer < count_; ++buffer) provide(buffer);
  return {};
}

void ReceiveBuffers::provide(std::uint32_t buffer) {
  io_uring_buf_ring_add(shared_, data(buffer), buffer_bytes_, static_cast<unsigned short>(buffer),
                        io_uring_buf_ring_mask(count_), 0);
  io_uring_buf_ring_advance(shared_, 1);
}

ByteView ReceiveBuffers::lend(std::uint32_t buffer, std::uint32_t bytes) {
  ESC_ASSERT(buffer < count_);
  ESC_ASSERT(bytes <= buffer_bytes_);
  ESC_ASSERT(!is_lent_[buffer]);
  is_lent_[buffer] = true;
  ++lent_;
  return {data(buffer), bytes};
}

void ReceiveBuffers::give_back(std::uint32_t buffer) {
  ESC_ASSERT(buffer < count_);
  ESC_ASSERT_MSG(is_lent_[buffer], "a receive buffer was released twice");
  is_lent_[buffer] = false;
  --lent_;
  provide(buffer);
}

}  // namespace esc::io
