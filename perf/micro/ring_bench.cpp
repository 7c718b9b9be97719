// SPSC and MPSC rings: the cost of a message on one core, and between two threads.
#include <benchmark/benchmark.h>

#include <atomic>
#include <thread>

#include "esc/ring/mpsc_ring.h"
#include "esc/ring/spsc_ring.h"

namespace {

struct Message {
  std::uint64_t words[8];
};

void spsc_push_and_pop_on_one_core(benchmark::State& state) {
  esc::ring::SpscRing<Message> ring(1024);
  const auto batch = static_cast<std::uint32_t>(state.range(0));
  Message message{};
  std::uint64_t sum = 0;
  for (auto _ : state) {
    for (std::uint32_t i = 0; i < batch; ++i) {
      message.words[0] = i;
      benchmark::DoNotOptimize(ring.try_push(message));
    }
    ring.consume(batch, [&](const Message& popped) { sum += popped.words[0]; });
  }
  benchmark::DoNotOptimize(sum);
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(spsc_push_and_pop_on_one_core)->Arg(1)->Arg(32);

void mpsc_push_and_pop_on_one_core(benchmark::State& state) {
  esc::ring::MpscRing<Message> ring(1024);
  Message message{};
  for (auto _ : state) {
    benchmark::DoNotOptimize(ring.try_push(message));
    benchmark::DoNotOptimize(ring.try_pop(message));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(mpsc_push_and_pop_on_one_core);

// The other thread pushes as fast as the ring takes it.
void spsc_between_two_threads(benchmark::State& state) {
  esc::ring::SpscRing<Message> ring(1024);
  std::atomic<bool> stop{false};
  std::thread producer([&] {
    Message message{};
    while (!stop.load(std::memory_order_relaxed)) {
      if (ring.try_push(message)) {
        ++message.words[0];
      } else {
        std::this_thread::yield();
      }
    }
  });
  std::int64_t messages = 0;
  for (auto _ : state) {
    std::uint32_t count = 0;
    while ((count = ring.consume(
                64, [](const Message& message) { benchmark::DoNotOptimize(message.words[0]); })) == 0) {
      std::this_thread::yield();
    }
    messages += count;
  }
  stop.store(true, std::memory_order_relaxed);
  producer.join();
  state.SetItemsProcessed(messages);
}
BENCHMARK(spsc_between_two_threads)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
