#include "esc/broker/buffer_pool.h"

#include <algorithm>
#include <bit>
#include <cstdlib>

#include "esc/base/assert.h"

namespace esc::broker {

void BufferPool::Release::operator()(std::byte* p) const {
  std::free(p);
}

BufferPool::BufferPool(std::size_t bytes) {
  ESC_ASSERT(bytes >= kBlockBytesMin);
  const std::size_t top = std::bit_floor(bytes);
  top_order_ = static_cast<std::uint32_t>(std::countr_zero(top / kBlockBytesMin));
  // What does not fill another top block is used as smaller ones.
  capacity_ = bytes / kBlockBytesMin * kBlockBytesMin;
  memory_.reset(static_cast<std::byte*>(std::aligned_alloc(4096, align_up(capacity_, 4096))));
  ESC_ASSERT_MSG(memory_ != nullptr, "buffer pool memory");
  free_.assign(top_order_ + 1, nullptr);
  free_order_.assign(capacity_ / kBlockBytesMin, 0);
  std::size_t at = 0;
  for (std::uint32_t order = top_order_ + 1; order-- > 0;) {
    const std::size_t size = kBlockBytesMin << order;
    if (capacity_ - at >= size) {
      push(memory_.get() + at, order);
      at += size;
    }
  }
}

void BufferPool::push(std::byte* block, std::uint32_t order) {
  auto* node = reinterpret_cast<FreeBlock*>(block);
  node->previous = nullptr;
  node->next = free_[order];
  if (node->next != nullptr) node->next->previous = node;
  free_[order] = node;
  free_order_[slot_of(block)] = static_cast<std::uint8_t>(order + 1);
}

void BufferPool::remove(std::byte* block, std::uint32_t order) {
  auto* node = reinterpret_cast<FreeBlock*>(block);
  if (node->previous != nullptr)
    node->previous->next = node->next;
  else
    free_[order] = node->next;
  if (node->next != nullptr) node->next->previous = node->previous;
  free_order_[slot_of(block)] = 0;
}

ByteSpan BufferPool::allocate(std::size_t bytes) {
  const std::size_t size = std::max(std::bit_ceil(bytes), kBlockBytesMin);
  const auto wanted = static_cast<std::uint32_t>(std::countr_zero(size / kBlockBytesMin));
  std::uint32_t order = wanted;
  while (order <= top_order_ && free_[order] == nullptr) ++order;
  if (order > top_order_) return {};
  auto* block = reinterpret_cast<std::byte*>(free_[order]);
  remove(block, order);
  while (order > wanted) {
    --order;
    push(block + (kBlockBytesMin << order), order);
  }
  used_ += size;
  return {block, size};
}

void BufferPool::free(ByteSpan buffer) {
  ESC_ASSERT(buffer.data() >= memory_.get() && buffer.data() + buffer.size() <= memory_.get() + capacity_);
  auto order = static_cast<std::uint32_t>(std::countr_zero(buffer.size() / kBlockBytesMin));
  ESC_ASSERT((kBlockBytesMin << order) == buffer.size());
  used_ -= buffer.size();
  std::byte* block = buffer.data();
  ESC_ASSERT_MSG(free_order_[slot_of(block)] == 0, "freed twice");
  while (order < top_order_) {
    const std::size_t slot = slot_of(block);
    const std::size_t buddy = slot ^ (std::size_t{1} << order);
    // The buddy must be whole, free, and inside the block.
    if (buddy >= free_order_.size() || free_order_[buddy] != order + 1) break;
    remove(memory_.get() + buddy * kBlockBytesMin, order);
    block = memory_.get() + std::min(slot, buddy) * kBlockBytesMin;
    ++order;
  }
  push(block, order);
}

}  // namespace esc::broker
