// A log-linear histogram of non-negative 64-bit values (usually nanoseconds), after HdrHistogram.
//
// Every power of two is split into 128 equal buckets, so that a reported percentile is at most 1/128
// (0.8 %) above the true one and never below it; values under 256 are exact. Memory is fixed (36 KiB:
// keep it off the stack of deep calls), recording is O(1) and never allocates.
//
// Values above kValueMax (2^42 - 1, 73 minutes in nanoseconds) are counted in the last bucket; max()
// stays exact for them. Negative values count as 0.
//
// Threading: one writer. Any thread may read or copy at the same time: cells are relaxed atomics
// written by plain loads and stores, so that a reader sees each cell whole, and a snapshot that may
// miss the latest few records.
#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace esc::obs {

class Histogram {
 public:
  static constexpr unsigned kSubBucketBits = 7;
  static constexpr unsigned kValueBits = 42;
  static constexpr std::int64_t kValueMax = (std::int64_t{1} << kValueBits) - 1;
  static constexpr std::size_t kBucketCount = std::size_t{kValueBits - kSubBucketBits + 1} << kSubBucketBits;

  Histogram() = default;
  Histogram(const Histogram& other) { *this = other; }
  Histogram& operator=(const Histogram& other);

  void record(std::int64_t value) { record_many(value, 1); }
  // As if record(value) were called `count` times.
  void record_many(std::int64_t value, std::uint64_t count);
  // Adds everything `other` holds.
  void merge(const Histogram& other);
  void reset();

  [[nodiscard]] std::uint64_t count() const { return count_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t sum() const { return sum_.load(std::memory_order_relaxed); }
  // 0 when empty.
  [[nodiscard]] std::int64_t min() const { return count() == 0 ? 0 : min_.load(std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t max() const { return max_.load(std::memory_order_relaxed); }
  [[nodiscard]] double mean() const;
  // The smallest bucket bound b such that at least `percent` per cent of the records are <= b; for 100
  // the exact maximum. 0 when empty. percent is clamped to [0, 100].
  [[nodiscard]] std::int64_t percentile(double percent) const;

  // Shape, for tests and for exporters.
  [[nodiscard]] static std::size_t bucket_index(std::int64_t value);
  [[nodiscard]] static std::int64_t bucket_highest(std::size_t index);
  [[nodiscard]] std::uint64_t bucket_count(std::size_t index) const {
    return buckets_[index].load(std::memory_order_relaxed);
  }

 private:
  template <class T>
  static void add_relaxed(std::atomic<T>& cell, T n) {
    cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }

  std::array<std::atomic<std::uint64_t>, kBucketCount> buckets_{};
  std::atomic<std::uint64_t> count_{0};
  std::atomic<std::int64_t> sum_{0};
  std::atomic<std::int64_t> min_{INT64_MAX};
  std::atomic<std::int64_t> max_{0};
};

inline std::size_t Histogram::bucket_index(std::int64_t value) {
  if (value < 0) return 0;
  if (value > kValueMax) value = kValueMax;
  const auto v = static_cast<std::uint64_t>(value);
  const unsigned width = static_cast<unsigned>(std::bit_width(v));
  // Values of at most kSubBucketBits + 1 bits are their own index; above, the shift keeps that many
  // leading bits, and each further octave starts one row of 128 buckets later.
  if (width <= kSubBucketBits + 1) return v;
  const unsigned shift = width - (kSubBucketBits + 1);
  return (std::size_t{shift} << kSubBucketBits) + (v >> shift);
}

inline void Histogram::record_many(std::int64_t value, std::uint64_t count) {
  if (value < 0) value = 0;
  add_relaxed(buckets_[bucket_index(value)], count);
  add_relaxed(count_, count);
  add_relaxed(sum_, value * static_cast<std::int64_t>(count));
  if (value < min_.load(std::memory_order_relaxed)) min_.store(value, std::memory_order_relaxed);
  if (value > max_.load(std::memory_order_relaxed)) max_.store(value, std::memory_order_relaxed);
}

}  // namespace esc::obs
