// Variable-size buffers from one fixed block: a binary buddy allocator.
//
// Requests that span receive buffers and responses being built live here, so their total is bounded by the
// profile whatever clients do. O(log n) per call, no allocation after construction.
//
// Threading: one core allocates and frees; another may fill a buffer it was handed. Errors: an empty span
// when nothing large enough is free (back-pressure).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "esc/base/bytes.h"

namespace esc::broker {

class BufferPool {
 public:
  static constexpr std::size_t kBlockBytesMin = 1024;

  // `bytes` is rounded down to whole blocks of the largest power of two that fits.
  explicit BufferPool(std::size_t bytes);
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  // At least `bytes`, rounded up to a power of two, kBlockBytesMin-aligned. Empty: none free.
  [[nodiscard]] ByteSpan allocate(std::size_t bytes);
  // Exactly a span that allocate() returned.
  void free(ByteSpan buffer);

  [[nodiscard]] std::size_t capacity() const { return capacity_; }
  [[nodiscard]] std::size_t used() const { return used_; }
  // The largest size allocate() could ever satisfy.
  [[nodiscard]] std::size_t bytes_max() const { return kBlockBytesMin << top_order_; }

 private:
  struct FreeBlock {
    FreeBlock* next;
    FreeBlock* previous;
  };
  [[nodiscard]] std::size_t slot_of(const std::byte* block) const {
    return static_cast<std::size_t>(block - memory_.get()) / kBlockBytesMin;
  }
  void push(std::byte* block, std::uint32_t order);
  void remove(std::byte* block, std::uint32_t order);

  struct Release {
    void operator()(std::byte* p) const;
  };
  std::size_t capacity_ = 0;
  std::size_t used_ = 0;
  std::uint32_t top_order_ = 0;
  std::unique_ptr<std::byte[], Release> memory_;
  std::vector<FreeBlock*> free_;  // by order
  std::vector<std::uint8_t>
      free_order_;  // per smallest block: order + 1 of the free block starting here, or 0
};

}  // namespace esc::broker
