// The io_uring loop: one durable 16 KiB write, and an echo over loopback, both as a data core does them.
#include <benchmark/benchmark.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "esc/io/posix_files.h"
#include "esc/io/uring_loop.h"

namespace esc::io {
namespace {

std::unique_ptr<UringLoop> make_loop() {
  auto loop = UringLoop::create({.spin_yield = true});
  if (!loop) std::abort();
  return std::move(*loop);
}

// Overwrites a zero-written file round and round. Arguments: spin (poll(0)) or park; registered memory.
void durable_write_16k(benchmark::State& state) {
  const bool spin = state.range(0) != 0;
  constexpr std::uint64_t kFileBytes = 16 * kMiB;
  constexpr std::uint64_t kWriteBytes = 16 * kKiB;
  const char* const directory = std::getenv("ESC_BENCH_DIR");
  const std::string path = std::string(directory != nullptr ? directory : ".") + "/loop_bench.tmp";
  PosixFiles files;
  const auto zeroed = files.open(path, {.write = true, .create = true});
  if (!zeroed || !files.write(*zeroed, 0, std::vector<std::byte>(kFileBytes)) || !files.sync(*zeroed)) {
    state.SkipWithError("cannot prepare the file; set ESC_BENCH_DIR to a directory on ext4 or XFS");
    return;
  }
  files.close(*zeroed);
  const auto file = files.open(path, {.write = true, .direct_dsync = true});
  if (!file) {
    state.SkipWithError(file.error().message.c_str());
    return;
  }
  auto loop = make_loop();
  auto* const memory = static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kWriteBytes));
  std::memset(memory, 7, kWriteBytes);
  if (state.range(1) != 0) loop->register_memory({memory, kWriteBytes});
  DiskOp op;
  op.kind = DiskOp::Kind::write;
  op.file = *file;
  op.buffer = {memory, kWriteBytes};
  op.done = [](DiskOp&) {};
  for (auto _ : state) {
    op.offset = (op.offset + kWriteBytes) % kFileBytes;
    loop->submit(op);
    while (op.in_flight) loop->poll(spin ? 0 : INT64_MAX);
    if (op.error != Errc::ok) state.SkipWithError("write failed");
  }
  state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(kWriteBytes));
  files.close(*file);
  (void)files.remove(path);
  std::free(memory);
}
BENCHMARK(durable_write_16k)
    ->ArgNames({"spin", "fixed"})
    ->Args({0, 0})
    ->Args({0, 1})
    ->Args({1, 1})
    ->UseRealTime();

struct Echo : ConnectionHandler {
  explicit Echo(UringLoop& owner) : loop(owner) {}
  void on_received(ByteView bytes, ReceiveLoan received) override {
    loan = received;
    const iovec piece{const_cast<std::byte*>(bytes.data()), bytes.size()};
    loop.send(id, {&piece, 1});
  }
  void on_sent() override { loop.release(loan); }
  void on_closed(Errc) override {}
  UringLoop& loop;
  ConnectionId id;
  ReceiveLoan loan;
};

struct Client : ConnectionHandler {
  explicit Client(UringLoop& owner) : loop(owner) {}
  void on_received(ByteView bytes, ReceiveLoan loan) override {
    received += bytes.size();
    loop.release(loan);
  }
  void on_sent() override {}
  void on_closed(Errc) override {}
  UringLoop& loop;
  ConnectionId id;
  std::size_t received = 0;
};

struct Accept : AcceptHandler {
  explicit Accept(Echo& connection) : echo(connection) {}
  void on_accepted(AcceptedSocket socket) override { echo.id = echo.loop.adopt(socket, echo).value(); }
  Echo& echo;
};

// Both ends on one loop and one thread: the CPU cost of two sends and two receives.
void echo_512_bytes_on_one_loop(benchmark::State& state) {
  auto loop = make_loop();
  Echo echo(*loop);
  Accept accept(echo);
  Client client(*loop);
  client.id = loop->connect("127.0.0.1", loop->listen("127.0.0.1", 0, accept).value(), client).value();
  while (!echo.id.valid()) loop->poll(0);
  const std::vector<std::byte> message(512);
  const iovec piece{const_cast<std::byte*>(message.data()), message.size()};
  std::size_t expected = 0;
  for (auto _ : state) {
    expected += message.size();
    loop->send(client.id, {&piece, 1});
    while (client.received < expected) loop->poll(0);
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(echo_512_bytes_on_one_loop);

}  // namespace
}  // namespace esc::io

BENCHMARK_MAIN();
