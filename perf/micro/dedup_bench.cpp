// Looking for event ids: in a full window of several slices, one by one and by batches of 64 with their cells
// fetched ahead, as the append path does it; taking in new ones; the hash; bytes per id.
#include <benchmark/benchmark.h>

#include <array>
#include <memory>

#include "esc/base/prng.h"
#include "esc/dedup/pending.h"
#include "esc/dedup/window.h"

namespace esc::dedup {
namespace {

constexpr std::size_t kBatch = 64;

class NoFiles final : public EntrySource {
 public:
  std::uint64_t reads = 0;
  const Entry* read(Place) override {
    ++reads;
    return nullptr;
  }
};

Id id_of(std::uint64_t number) {
  std::array<std::byte, 36> text{};  // as long as a UUID in text
  store_le(text.data(), number);
  return make_id({1, 2}, text);
}

// `ids` ids in four slices or more of log time, the sealed ones on disk.
std::unique_ptr<Window> full_window(std::int64_t ids, const Limits& limits) {
  auto window = std::make_unique<Window>();
  for (std::int64_t i = 0; i < ids; ++i) {
    if (i % 64 == 0) window->begin(i * (limits.window_ms - 1) / ids, limits);
    window->insert(id_of(static_cast<std::uint64_t>(i)), Offset(i));
  }
  for (const auto& part : window->take_unflushed()) benchmark::DoNotOptimize(part.bytes.data());
  window->drop_flushed();
  return window;
}

constexpr Limits kHour{.window_ms = 3'600'000, .bytes_max = 4 * kGiB};

void hash_a_uuid(benchmark::State& state) {
  std::uint64_t i = 0;
  for (auto _ : state) benchmark::DoNotOptimize(id_of(i++));
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(hash_a_uuid);

void look_up_misses(benchmark::State& state) {
  const auto window = full_window(state.range(0), kHour);
  NoFiles files;
  std::array<Id, kBatch> ids;
  std::uint64_t next = 1ULL << 40;
  std::uint64_t found = 0;
  for (auto _ : state) {
    state.PauseTiming();
    for (Id& id : ids) id = id_of(next++);
    state.ResumeTiming();
    for (const Id& id : ids) window->prefetch(id);
    for (const Id& id : ids)
      found += window->find(id, kHour.window_ms - 1, kHour, files).state != Found::State::absent ? 1 : 0;
  }
  benchmark::DoNotOptimize(found);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
  state.counters["slices"] = static_cast<double>(window->generations());
  state.counters["memory_bytes_per_id"] =
      static_cast<double>(window->memory_bytes()) / static_cast<double>(window->ids());
  state.counters["file_reads_per_lookup"] =
      static_cast<double>(files.reads) /
      static_cast<double>(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(look_up_misses)->Arg(10'000)->Arg(100'000)->Arg(1'000'000)->Arg(10'000'000);

void look_up_hits_in_memory(benchmark::State& state) {
  const auto window = full_window(state.range(0), kHour);
  NoFiles files;
  Prng prng(1);
  std::array<Id, kBatch> ids;
  std::uint64_t found = 0;
  const auto recent = static_cast<std::uint64_t>(state.range(0) / 16);
  for (auto _ : state) {
    state.PauseTiming();
    for (Id& id : ids) id = id_of(static_cast<std::uint64_t>(state.range(0)) - 1 - prng.below(recent));
    state.ResumeTiming();
    for (const Id& id : ids) window->prefetch(id);
    for (const Id& id : ids)
      found += window->find(id, kHour.window_ms - 1, kHour, files).state == Found::State::duplicate ? 1 : 0;
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
  state.counters["found"] = static_cast<double>(found) / static_cast<double>(state.iterations());
}
BENCHMARK(look_up_hits_in_memory)->Arg(1'000'000);

// A topic's way, 8 partitions in turn: a batch of new ids is looked up, pending, then committed into windows
// that grow to `ids` ids each in one slice. Ids are drawn, not hashed, so that all the time is the tables'.
void take_in_new_ids(benchmark::State& state) {
  constexpr std::size_t kPartitions = 8;
  std::array<Window, kPartitions> windows;
  std::array<Pending, kPartitions> pendings;
  Prng prng(1);
  NoFiles files;
  std::array<Id, kBatch> ids;
  std::int64_t offset = 0;
  std::uint64_t found = 0;
  for (auto _ : state) {
    for (Id& id : ids) id = {prng.next(), prng.next()};
    Window& window = windows[static_cast<std::size_t>(offset) / kBatch % kPartitions];
    Pending& pending = pendings[static_cast<std::size_t>(offset) / kBatch % kPartitions];
    for (const Id& id : ids) window.prefetch(id);
    for (const Id& id : ids) found += window.find(id, 1, kHour, files).state != Found::State::absent ? 1 : 0;
    for (std::size_t i = 0; i < kBatch; ++i)
      benchmark::DoNotOptimize(pending.insert(ids[i], Offset(offset + static_cast<std::int64_t>(i))));
    window.begin(1, kHour);
    for (const Id& id : ids) window.prefetch_for_insert(id);
    for (const Id& id : ids) {
      window.insert(id, Offset(offset++));
      pending.erase(id);
    }
  }
  benchmark::DoNotOptimize(found);
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(kBatch));
}
BENCHMARK(take_in_new_ids)->Iterations(10'000)->Iterations(70'000);

}  // namespace
}  // namespace esc::dedup

BENCHMARK_MAIN();
