#include "esc/obs/histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <vector>

#include "esc/base/prng.h"

namespace esc::obs {
namespace {

// The naive twin keeps every value.
class NaiveHistogram {
 public:
  void record(std::int64_t value) { values_.push_back(value); }
  std::int64_t percentile(double percent) {
    std::sort(values_.begin(), values_.end());
    const auto rank =
        static_cast<std::size_t>(std::ceil(percent / 100.0 * static_cast<double>(values_.size())));
    return values_[std::clamp<std::size_t>(rank, 1, values_.size()) - 1];
  }

 private:
  std::vector<std::int64_t> values_;
};

constexpr double kPercents[] = {0, 0.1, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99, 100};

// Never below the truth, and above it by at most 1/128.
void expect_bounded(std::int64_t reported, std::int64_t truth) {
  EXPECT_GE(reported, truth);
  EXPECT_LE(static_cast<double>(reported - truth), static_cast<double>(truth) / 128.0);
}

TEST(Histogram, is_all_zero_when_empty) {
  const auto h = std::make_unique<Histogram>();
  EXPECT_EQ(h->count(), 0u);
  EXPECT_EQ(h->min(), 0);
  EXPECT_EQ(h->max(), 0);
  EXPECT_EQ(h->mean(), 0.0);
  EXPECT_EQ(h->percentile(99), 0);
}

TEST(Histogram, buckets_tile_the_range_without_gap_or_overlap) {
  for (std::size_t i = 0; i < Histogram::kBucketCount; ++i) {
    const std::int64_t highest = Histogram::bucket_highest(i);
    ASSERT_EQ(Histogram::bucket_index(highest), i);
    if (i + 1 == Histogram::kBucketCount) break;
    ASSERT_EQ(Histogram::bucket_index(highest + 1), i + 1);
  }
  EXPECT_EQ(Histogram::bucket_highest(Histogram::kBucketCount - 1), Histogram::kValueMax);
}

TEST(Histogram, is_exact_below_256) {
  const auto h = std::make_unique<Histogram>();
  for (std::int64_t v = 0; v < 256; ++v) h->record(v);
  EXPECT_EQ(h->percentile(50), 127);
  EXPECT_EQ(h->percentile(100), 255);
}

TEST(Histogram, percentiles_agree_with_the_naive_twin_within_the_stated_error) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    const auto h = std::make_unique<Histogram>();
    NaiveHistogram naive;
    const std::uint64_t count = 1 + prng.below(3000);
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto value = static_cast<std::int64_t>(prng.next() >> (64 - 1 - prng.below(41)));
      h->record(value);
      naive.record(value);
    }
    for (const double percent : kPercents) {
      SCOPED_TRACE(testing::Message() << "seed " << seed << " percent " << percent);
      expect_bounded(h->percentile(percent), naive.percentile(percent));
    }
  }
}

TEST(Histogram, merge_equals_recording_everything_in_one) {
  Prng prng(7);
  const auto left = std::make_unique<Histogram>();
  const auto right = std::make_unique<Histogram>();
  const auto both = std::make_unique<Histogram>();
  for (int i = 0; i < 5000; ++i) {
    const std::int64_t value = prng.between(0, 50'000'000);
    (prng.chance(1, 3) ? *left : *right).record(value);
    both->record(value);
  }
  left->merge(*right);
  EXPECT_EQ(left->count(), both->count());
  EXPECT_EQ(left->sum(), both->sum());
  EXPECT_EQ(left->min(), both->min());
  EXPECT_EQ(left->max(), both->max());
  for (std::size_t i = 0; i < Histogram::kBucketCount; ++i)
    ASSERT_EQ(left->bucket_count(i), both->bucket_count(i));
}

TEST(Histogram, merging_an_empty_one_changes_nothing) {
  const auto h = std::make_unique<Histogram>();
  h->record(1000);
  h->merge(*std::make_unique<Histogram>());
  EXPECT_EQ(h->count(), 1u);
  EXPECT_EQ(h->min(), 1000);
}

TEST(Histogram, clamps_what_it_cannot_hold_but_keeps_the_exact_maximum) {
  const auto h = std::make_unique<Histogram>();
  h->record(-5);
  h->record(INT64_MAX);
  EXPECT_EQ(h->min(), 0);
  EXPECT_EQ(h->max(), INT64_MAX);
  EXPECT_EQ(h->percentile(50), 0);
  EXPECT_EQ(h->percentile(100), INT64_MAX);
}

TEST(Histogram, record_many_counts_that_often) {
  const auto h = std::make_unique<Histogram>();
  h->record_many(10, 99);
  h->record(1000);
  EXPECT_EQ(h->count(), 100u);
  EXPECT_EQ(h->sum(), 1990);
  EXPECT_DOUBLE_EQ(h->mean(), 19.9);
  EXPECT_EQ(h->percentile(99), 10);
}

TEST(Histogram, reset_forgets_everything) {
  const auto h = std::make_unique<Histogram>();
  h->record(77);
  h->reset();
  EXPECT_EQ(h->count(), 0u);
  EXPECT_EQ(h->percentile(50), 0);
  h->record(3);
  EXPECT_EQ(h->min(), 3);
}

}  // namespace
}  // namespace esc::obs
