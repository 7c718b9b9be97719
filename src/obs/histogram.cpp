#include "esc/obs/histogram.h"

#include <algorithm>
#include <cmath>

#include "esc/base/assert.h"

namespace esc::obs {

namespace {
constexpr auto kRelaxed = std::memory_order_relaxed;
}

Histogram& Histogram::operator=(const Histogram& other) {
  if (this == &other) return *this;
  for (std::size_t i = 0; i < kBucketCount; ++i) buckets_[i].store(other.bucket_count(i), kRelaxed);
  count_.store(other.count_.load(kRelaxed), kRelaxed);
  sum_.store(other.sum_.load(kRelaxed), kRelaxed);
  min_.store(other.min_.load(kRelaxed), kRelaxed);
  max_.store(other.max_.load(kRelaxed), kRelaxed);
  return *this;
}

void Histogram::merge(const Histogram& other) {
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    if (const std::uint64_t n = other.bucket_count(i); n != 0) add_relaxed(buckets_[i], n);
  }
  add_relaxed(count_, other.count());
  add_relaxed(sum_, other.sum());
  min_.store(std::min(min_.load(kRelaxed), other.min_.load(kRelaxed)), kRelaxed);
  max_.store(std::max(max_.load(kRelaxed), other.max_.load(kRelaxed)), kRelaxed);
}

void Histogram::reset() {
  for (auto& bucket : buckets_) bucket.store(0, kRelaxed);
  count_.store(0, kRelaxed);
  sum_.store(0, kRelaxed);
  min_.store(INT64_MAX, kRelaxed);
  max_.store(0, kRelaxed);
}

double Histogram::mean() const {
  const std::uint64_t n = count();
  return n == 0 ? 0.0 : static_cast<double>(sum()) / static_cast<double>(n);
}

std::int64_t Histogram::bucket_highest(std::size_t index) {
  ESC_ASSERT(index < kBucketCount);
  const std::size_t row = index >> kSubBucketBits;
  if (row <= 1) return static_cast<std::int64_t>(index);
  const auto shift = static_cast<unsigned>(row - 1);
  const std::uint64_t leading = index - (std::uint64_t{shift} << kSubBucketBits);
  return static_cast<std::int64_t>(((leading + 1) << shift) - 1);
}

std::int64_t Histogram::percentile(double percent) const {
  // The buckets are summed here rather than trusting count(): a concurrent writer may be between the two.
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < kBucketCount; ++i) total += bucket_count(i);
  if (total == 0) return 0;
  const double clamped = std::clamp(percent, 0.0, 100.0);
  const auto exact = static_cast<std::uint64_t>(std::ceil(clamped / 100.0 * static_cast<double>(total)));
  const std::uint64_t rank = std::clamp<std::uint64_t>(exact, 1, total);
  if (rank == total) return max();
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i < kBucketCount; ++i) {
    seen += bucket_count(i);
    if (seen >= rank) return std::min(bucket_highest(i), max());
  }
  return max();
}

}  // namespace esc::obs
