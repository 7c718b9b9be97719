// A round trip between two cores through the mesh: both asleep between messages (ring message wakes the
// loop), and both spinning. And the costs of a turn that has nothing to do.
#include <benchmark/benchmark.h>

#include <atomic>
#include <thread>

#include "esc/io/loop_waker.h"
#include "esc/io/uring_loop.h"
#include "esc/ring/mesh.h"

namespace {

using esc::CoreId;

struct Cores {
  Cores() : zero(*esc::io::UringLoop::create({})), one(*esc::io::UringLoop::create({})), mesh(2, 64, waker) {
    waker.add(*zero);
    waker.add(*one);
  }
  std::unique_ptr<esc::io::UringLoop> zero;
  std::unique_ptr<esc::io::UringLoop> one;
  esc::io::LoopWaker waker;
  esc::ring::Mesh<std::uint64_t> mesh;
};

constexpr CoreId kZero{0};
constexpr CoreId kOne{1};
constexpr std::uint64_t kStop = 0;

// One turn that ends when a message came; sleeps if `park`.
std::uint64_t wait_for_message(Cores& cores, CoreId me, esc::io::UringLoop& loop, bool park) {
  std::uint64_t heard = UINT64_MAX;
  while (true) {
    cores.mesh.drain(me, 1, [&](CoreId, std::uint64_t value) { heard = value; });
    if (heard != UINT64_MAX) return heard;
    cores.mesh.flush(me);
    if (park && cores.mesh.prepare_sleep(me)) {
      loop.poll(INT64_MAX);
      cores.mesh.end_sleep(me);
    } else {
      loop.poll(0);
    }
  }
}

void mesh_round_trip(benchmark::State& state) {
  Cores cores;
  const bool park = state.range(0) != 0;
  std::thread echo([&] {
    while (true) {
      const std::uint64_t value = wait_for_message(cores, kOne, *cores.one, park);
      if (value == kStop) return;
      benchmark::DoNotOptimize(cores.mesh.try_send(kOne, kZero, value));
    }
  });
  for (auto _ : state) {
    benchmark::DoNotOptimize(cores.mesh.try_send(kZero, kOne, std::uint64_t{1}));
    benchmark::DoNotOptimize(wait_for_message(cores, kZero, *cores.zero, park));
  }
  benchmark::DoNotOptimize(cores.mesh.try_send(kZero, kOne, kStop));
  cores.mesh.flush(kZero);
  cores.zero->flush();
  echo.join();
  state.counters["wakes"] = benchmark::Counter(static_cast<double>(cores.zero->stats().wakes_sent),
                                               benchmark::Counter::kAvgIterations);
  state.counters["fallbacks"] = static_cast<double>(cores.zero->stats().wakes_fallback);
}
BENCHMARK(mesh_round_trip)->ArgName("park")->Arg(0)->Arg(1)->UseRealTime();

void idle_poll(benchmark::State& state) {
  auto loop = *esc::io::UringLoop::create({});
  for (auto _ : state) benchmark::DoNotOptimize(loop->poll(0));
}
BENCHMARK(idle_poll);

void wake_by_eventfd_and_poll(benchmark::State& state) {
  auto loop = *esc::io::UringLoop::create({});
  loop->poll(0);
  for (auto _ : state) {
    loop->wake();
    while (loop->poll(0) == 0) {
    }
  }
}
BENCHMARK(wake_by_eventfd_and_poll);

}  // namespace

BENCHMARK_MAIN();
