// The same log through io_uring on the file system of the build directory.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <optional>

#include "esc/io/posix_files.h"
#include "esc/io/uring_loop.h"
#include "world.h"

namespace esc::wal {
namespace {

struct RealWorld {
  RealWorld() : directory(std::filesystem::current_path() / ("wal_test." + std::to_string(::getpid()))) {
    auto created = io::UringLoop::create({});
    EXPECT_TRUE(created);
    loop = std::move(*created);
    options = World::small_options();
    options.directory = (directory / "group-5").string();
    options.segment_bytes = 1 * kMiB;
    options.initial_segment_bytes = 256 * kKiB;
    options.bytes_max = 8 * kMiB;
  }
  ~RealWorld() {
    close();
    std::filesystem::remove_all(directory);
  }
  void close() {
    while (log && !log->idle()) loop->poll(loop->now() + kMillisecond);
    log.reset();
  }
  Status open(Index after) {
    recovered.clear();
    auto opened = Log::open(
        files, *loop, *loop, options, after,
        [this](const RecoveredFrame& frame) -> Status {
          recovered.push_back(crc32c(frame.payload));
          return {};
        },
        report);
    if (!opened) return std::unexpected(opened.error());
    log = std::move(*opened);
    return {};
  }
  // One frame, waited for.
  void append(std::uint32_t payload_bytes) {
    const Block memory = aligned_block(logfmt::frame_bytes(payload_bytes));
    for (std::uint32_t i = 0; i < payload_bytes; ++i)
      memory.get()[logfmt::kFrameHeaderBytes + i] = static_cast<std::byte>(prng.next());
    FrameWrite frame;
    frame.frame = memory.get();
    frame.payload_bytes = payload_bytes;
    frame.term = Term{1};
    frame.first_index = frame.last_index = Index{++index};
    int state = 0;
    frame.context = &state;
    frame.done = [](FrameWrite& done, Errc error) {
      *static_cast<int*>(done.context) = error == Errc::ok ? 1 : 2;
    };
    const auto turn = [this] {
      loop->poll(loop->now() + kMillisecond);
      log->do_work(loop->now());
    };
    while (!log->can_write(logfmt::frame_bytes(payload_bytes))) turn();
    log->write(frame);
    while (state == 0) turn();
    ASSERT_EQ(state, 1);
    written.push_back(crc32c({memory.get() + logfmt::kFrameHeaderBytes, payload_bytes}));
  }

  // Reads one frame back, as it was written.
  void check_read(Index wanted) {
    const Block buffer = aligned_block(64 * kKiB);
    std::optional<Errc> result;
    EntryRead read;
    read.first = read.last_max = wanted;
    read.buffer = ByteSpan(buffer.get(), 64 * kKiB);
    read.context = &result;
    read.done = [](EntryRead& done, Errc error) { *static_cast<std::optional<Errc>*>(done.context) = error; };
    log->read(read);
    while (!result) {
      loop->poll(loop->now() + kMillisecond);
      log->do_work(loop->now());
    }
    ASSERT_EQ(*result, Errc::ok) << read.detail;
    ASSERT_EQ(crc32c(read.entries), written[wanted.value() - 1]);
  }

  std::filesystem::path directory;
  io::PosixFiles files;
  std::unique_ptr<io::UringLoop> loop;
  Options options;
  RecoveryReport report;
  std::unique_ptr<Log> log;
  Prng prng{7};
  std::uint64_t index = 0;
  std::vector<std::uint32_t> written;
  std::vector<std::uint32_t> recovered;
};

TEST(RealDisk, frames_survive_reopening_and_recycling) {
  RealWorld w;
  const auto created = w.open(Index{0});
  ASSERT_TRUE(created) << created.error().message;
  for (std::uint32_t i = 0; i < 60; ++i) ASSERT_NO_FATAL_FAILURE(w.append(1 + i * 997 % 60'000));
  w.close();
  const auto reopened = w.open(Index{0});
  ASSERT_TRUE(reopened) << reopened.error().message;
  EXPECT_EQ(w.recovered, w.written);
  EXPECT_FALSE(w.report.torn_tail) << w.report.torn_detail;
  for (std::uint64_t i = 1; i <= 60; ++i) ASSERT_NO_FATAL_FAILURE(w.check_read(Index{i}));
  for (std::uint32_t i = 0; i < 60; ++i) {
    ASSERT_NO_FATAL_FAILURE(w.append(50'000));
    w.log->release_through(Index{w.index});
  }
  EXPECT_GT(w.log->stats().segments_recycled, 0U);
  w.close();
  const auto again = w.open(Index{w.index});
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(w.recovered.empty());
  EXPECT_EQ(w.report.last_index, Index{w.index});
}

}  // namespace
}  // namespace esc::wal
