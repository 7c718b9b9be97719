// The write-ahead log on a real directory, through the io_uring loop: group commit at several frame sizes and
// depths, with p50/p99 of a frame's way to stable storage. ESC_BENCH_DIR chooses the device (default: the
// current directory).
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "esc/io/posix_files.h"
#include "esc/io/uring_loop.h"
#include "esc/logfmt/frame.h"
#include "esc/wal/log.h"

namespace esc {
namespace {

struct FreeBytes {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};

// A log in a directory of its own, removed at the end.
class Bench {
 public:
  Bench(std::uint32_t depth, std::uint32_t frame_bytes) : depth_(depth), frame_bytes_(frame_bytes) {
    const char* base = std::getenv("ESC_BENCH_DIR");
    directory_ =
        std::filesystem::absolute(base == nullptr ? "." : base) / ("wal_bench." + std::to_string(::getpid()));
  }
  ~Bench() {
    if (log_) {
      while (!log_->idle()) loop_->poll(loop_->now() + kMillisecond);
      log_.reset();
    }
    std::filesystem::remove_all(directory_);
  }

  bool start(benchmark::State& state) {
    auto loop = io::UringLoop::create({});
    if (!loop) return give_up(state, loop.error());
    loop_ = std::move(*loop);
    wal::Options options;
    options.directory = directory_.string();
    options.cluster_id = 1;
    options.depth = depth_;
    wal::RecoveryReport report;
    auto log = wal::Log::open(
        files_, *loop_, *loop_, options, Index{0}, [](const wal::RecoveredFrame&) -> Status { return {}; },
        report);
    if (!log) return give_up(state, log.error());
    log_ = std::move(*log);
    frames_.resize(depth_);
    for (Frame& frame : frames_) {
      frame.memory.reset(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, frame_bytes_)));
      std::memset(frame.memory.get(), 0x5A, frame_bytes_);
      frame.bench = this;
    }
    return true;
  }

  // Keeps `depth` frames in flight until `count` more are durable.
  void write(std::uint64_t count) {
    const std::uint64_t until = durable_ + count;
    while (durable_ < until && !log_->failed()) {
      for (Frame& frame : frames_)
        if (!frame.busy && submitted_ < until && log_->can_write(frame_bytes_)) submit(frame);
      loop_->poll(loop_->now() + kMillisecond);
      log_->do_work(loop_->now());
      log_->release_through(Index{durable_});
    }
  }
  void report(benchmark::State& state) {
    std::sort(latencies_.begin(), latencies_.end());
    if (!latencies_.empty()) {
      state.counters["p50_us"] = static_cast<double>(latencies_[latencies_.size() / 2]) / 1000;
      state.counters["p99_us"] = static_cast<double>(latencies_[latencies_.size() * 99 / 100]) / 1000;
    }
    state.counters["created"] = static_cast<double>(log_->stats().segments_created);
    state.counters["recycled"] = static_cast<double>(log_->stats().segments_recycled);
    if (log_->failed()) state.SkipWithError("the log failed");
  }
  wal::Log& log() { return *log_; }

 private:
  struct Frame {
    std::unique_ptr<std::byte, FreeBytes> memory;
    wal::FrameWrite write;
    Bench* bench = nullptr;
    Nanos submitted_at = 0;
    bool busy = false;
  };

  static Nanos clock() {
    struct timespec time{};
    ::clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * kSecond + time.tv_nsec;
  }
  static bool give_up(benchmark::State& state, const Error& error) {
    state.SkipWithError(error.message.c_str());
    return false;
  }
  void submit(Frame& frame) {
    frame.busy = true;
    frame.submitted_at = clock();
    frame.write.frame = frame.memory.get();
    frame.write.payload_bytes = frame_bytes_ - logfmt::kFrameHeaderBytes;
    frame.write.term = Term{1};
    frame.write.first_index = frame.write.last_index = Index{++submitted_};
    frame.write.context = &frame;
    frame.write.done = [](wal::FrameWrite& done, Errc) {
      auto& owner = *static_cast<Frame*>(done.context);
      owner.busy = false;
      ++owner.bench->durable_;
      owner.bench->latencies_.push_back(clock() - owner.submitted_at);
    };
    log_->write(frame.write);
  }

  std::uint32_t depth_;
  std::uint32_t frame_bytes_;
  std::filesystem::path directory_;
  io::PosixFiles files_;
  std::unique_ptr<io::UringLoop> loop_;
  std::unique_ptr<wal::Log> log_;
  std::vector<Frame> frames_;
  std::vector<Nanos> latencies_;
  std::uint64_t submitted_ = 0;
  std::uint64_t durable_ = 0;
};

// Arguments: frame KiB, depth.
void wal_append(benchmark::State& state) {
  const auto frame_bytes = static_cast<std::uint32_t>(state.range(0) * 1024);
  Bench bench(static_cast<std::uint32_t>(state.range(1)), frame_bytes);
  if (!bench.start(state)) return;
  constexpr std::uint64_t kFramesPerIteration = 64;
  for (auto _ : state) bench.write(kFramesPerIteration);
  bench.report(state);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations() * kFramesPerIteration * frame_bytes));
  state.SetItemsProcessed(static_cast<std::int64_t>(state.iterations() * kFramesPerIteration));
}
BENCHMARK(wal_append)
    ->ArgsProduct({{4, 16, 64, 256, 1024}, {1, 2}})
    ->UseRealTime()
    ->Unit(benchmark::kMillisecond);

// The CPU cost of a frame: checksum of the payload and the header.
void wal_seal_frame(benchmark::State& state) {
  const auto bytes = static_cast<std::uint32_t>(state.range(0) * 1024);
  const std::unique_ptr<std::byte, FreeBytes> memory(
      static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes)));
  std::memset(memory.get(), 0x5A, bytes);
  logfmt::FrameHeader header;
  header.kind = logfmt::FrameKind::entries;
  header.payload_bytes = bytes - logfmt::kFrameHeaderBytes;
  header.lsn = header.first_index = header.last_index = 1;
  for (auto _ : state) logfmt::seal_frame(memory.get(), header);
  state.SetBytesProcessed(static_cast<std::int64_t>(state.iterations()) * bytes);
}
BENCHMARK(wal_seal_frame)->Arg(4)->Arg(16)->Arg(64)->Arg(1024);

}  // namespace
}  // namespace esc

BENCHMARK_MAIN();
