// A bump allocator over one fixed block: decoding a request or building a response takes its arrays
// from here, so the data path never calls malloc. Objects must be trivially destructible.
//
// Threading: single owner. Lifetime: everything allocated dies at reset().
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

#include "esc/base/assert.h"

namespace esc {

class Arena {
 public:
  // The block is the caller's and outlives the arena.
  explicit Arena(std::span<std::byte> block) : block_(block) {}

  // `count` value-initialised objects, or a null span when the block is exhausted (the caller
  // answers "too large"; an empty request returns a valid empty span with data() != nullptr).
  template <class T>
  [[nodiscard]] std::span<T> allocate(std::size_t count) {
    static_assert(std::is_trivially_destructible_v<T>);
    const std::size_t start = (used_ + alignof(T) - 1) & ~(alignof(T) - 1);
    if (start > block_.size() || count > (block_.size() - start) / sizeof(T)) return {};
    used_ = start + count * sizeof(T);
    T* first = reinterpret_cast<T*>(block_.data() + start);
    std::uninitialized_value_construct_n(first, count);
    return {first, count};
  }

  void reset() { used_ = 0; }
  [[nodiscard]] std::size_t used() const { return used_; }
  [[nodiscard]] std::size_t capacity() const { return block_.size(); }

 private:
  std::span<std::byte> block_;
  std::size_t used_ = 0;
};

}  // namespace esc
