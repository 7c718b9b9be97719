// A vector with its storage inside: capacity is part of the type, nothing is ever allocated.
//
// For small trivially copyable records. Overflow is a broken invariant of the caller (each capacity
// follows from a named limit), so push_back asserts; ask full() first where the limit is soft.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "esc/base/assert.h"

namespace esc {

template <class T, std::size_t Capacity>
class FixedVector {
  static_assert(std::is_trivially_destructible_v<T>);

 public:
  using value_type = T;
  static constexpr std::size_t kCapacity = Capacity;

  constexpr FixedVector() = default;

  constexpr void push_back(const T& value) {
    ESC_ASSERT(size_ < Capacity);
    items_[size_++] = value;
  }
  constexpr void pop_back() {
    ESC_ASSERT(size_ > 0);
    --size_;
  }
  // Removes one item and keeps the order of the others.
  constexpr void erase_at(std::size_t position) {
    ESC_ASSERT(position < size_);
    for (std::size_t i = position + 1; i < size_; ++i) items_[i - 1] = items_[i];
    --size_;
  }
  constexpr void clear() { size_ = 0; }

  [[nodiscard]] constexpr std::size_t size() const { return size_; }
  [[nodiscard]] constexpr bool empty() const { return size_ == 0; }
  [[nodiscard]] constexpr bool full() const { return size_ == Capacity; }
  [[nodiscard]] constexpr std::size_t room() const { return Capacity - size_; }

  [[nodiscard]] constexpr T& operator[](std::size_t i) {
    ESC_ASSERT(i < size_);
    return items_[i];
  }
  [[nodiscard]] constexpr const T& operator[](std::size_t i) const {
    ESC_ASSERT(i < size_);
    return items_[i];
  }
  [[nodiscard]] constexpr T& back() { return (*this)[size_ - 1]; }
  [[nodiscard]] constexpr const T& back() const { return (*this)[size_ - 1]; }
  [[nodiscard]] constexpr T* begin() { return items_.data(); }
  [[nodiscard]] constexpr T* end() { return items_.data() + size_; }
  [[nodiscard]] constexpr const T* begin() const { return items_.data(); }
  [[nodiscard]] constexpr const T* end() const { return items_.data() + size_; }

  friend constexpr bool operator==(const FixedVector& a, const FixedVector& b) {
    if (a.size_ != b.size_) return false;
    for (std::size_t i = 0; i < a.size_; ++i)
      if (!(a.items_[i] == b.items_[i])) return false;
    return true;
  }

 private:
  std::size_t size_ = 0;
  std::array<T, Capacity> items_{};
};

}  // namespace esc
