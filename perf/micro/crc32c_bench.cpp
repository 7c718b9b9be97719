// CRC-32C over the sizes that matter: a header, one event, a batch of 64, a large frame; and beside it the
// copy that shares the memory with it.
#include "esc/base/crc32c.h"

#include <benchmark/benchmark.h>

#include <cstring>
#include <vector>

namespace esc {
namespace {

void checksum(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)), std::byte{0x5a});
  for (auto _ : state) benchmark::DoNotOptimize(crc32c(bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(checksum)->Arg(32)->Arg(61)->Arg(576)->Arg(4096)->Arg(34 * 1024)->Arg(1 << 20);

void copy(benchmark::State& state) {
  const std::vector<std::byte> from(static_cast<std::size_t>(state.range(0)), std::byte{0x5a});
  std::vector<std::byte> to(from.size());
  for (auto _ : state) {
    std::memcpy(to.data(), from.data(), from.size());
    benchmark::DoNotOptimize(to.data());
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(copy)->Arg(576)->Arg(34 * 1024)->Arg(1 << 20);

}  // namespace
}  // namespace esc

BENCHMARK_MAIN();
