// Looking up an offset and a time in the index of a full segment, taking note of a batch, and saving the
// index.
#include <benchmark/benchmark.h>

#include <array>

#include "../../src/store/segment_index.h"
#include "esc/base/prng.h"

namespace esc::store {
namespace {

constexpr std::uint32_t kBatches = 20'000;  // of 8 KiB: a segment of 160 MiB

SegmentIndex full_index() {
  SegmentIndex index(32 * 1024);
  index.reserve(kIndexEntriesMax);
  for (std::uint32_t i = 0; i < kBatches; ++i) {
    index.note({.offset_delta = i * 16, .position = i * 8192, .max_timestamp_before = WallMs{i}});
  }
  return index;
}

void find_offset(benchmark::State& state) {
  const SegmentIndex index = full_index();
  Prng prng(1);
  std::array<std::uint32_t, 1024> wanted;
  for (auto& offset : wanted) offset = static_cast<std::uint32_t>(prng.below(kBatches * 16));
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(index.floor_offset(wanted[i++ % wanted.size()]));
}
BENCHMARK(find_offset);

void find_timestamp(benchmark::State& state) {
  const SegmentIndex index = full_index();
  Prng prng(2);
  std::array<WallMs, 1024> wanted;
  for (auto& time : wanted) time = static_cast<WallMs>(prng.below(kBatches));
  std::size_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(index.floor_time(wanted[i++ % wanted.size()]));
}
BENCHMARK(find_timestamp);

void note_batch(benchmark::State& state) {
  SegmentIndex index(32 * 1024);
  index.reserve(kIndexEntriesMax);
  std::uint32_t i = 0;
  for (auto _ : state) {
    index.note({.offset_delta = i, .position = i * 8, .max_timestamp_before = 0});
    if (++i == UINT32_MAX / 8) {
      i = 0;
      index = SegmentIndex(32 * 1024);
      index.reserve(kIndexEntriesMax);
    }
  }
  benchmark::DoNotOptimize(index.entries().data());
}
BENCHMARK(note_batch);

void encode(benchmark::State& state) {
  const SegmentIndex index = full_index();
  std::array<std::byte, kIndexFileBytesMax> room;
  const IndexFile header{.covered_bytes = std::uint64_t{kBatches} * 8192,
                         .next_offset = Offset(kBatches * 16),
                         .interval_bytes = index.interval_bytes()};
  for (auto _ : state) benchmark::DoNotOptimize(encode_index_file(header, index.entries(), room).data());
}
BENCHMARK(encode);

}  // namespace
}  // namespace esc::store

BENCHMARK_MAIN();
