// Helpers of the io tests: a loop, waiting with a deadline, blocking peers, temporary directories.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "esc/io/uring_loop.h"

namespace esc::io::test {

inline std::unique_ptr<UringLoop> make_loop(const LoopOptions& options = {}) {
  auto loop = UringLoop::create(options);
  if (!loop) {
    ADD_FAILURE() << loop.error().message;
    std::abort();
  }
  return std::move(*loop);
}

// Turns the loop until `condition` holds; false after `limit`.
inline bool run_until(UringLoop& loop, const std::function<bool()>& condition, Nanos limit = 10 * kSecond) {
  loop.poll(0);
  const Nanos deadline = loop.now() + limit;
  while (!condition()) {
    if (loop.now() > deadline) return false;
    loop.poll(loop.now() + 10 * kMillisecond);
  }
  return true;
}

// Turns the loop for a while, whatever happens.
inline void run_for(UringLoop& loop, Nanos time) {
  (void)run_until(loop, [] { return false; }, time);
}

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "esc_io_test_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) std::abort();
    path_ = pattern;
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  [[nodiscard]] const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Page-aligned bytes with a recognisable pattern.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t bytes, unsigned seed = 0) : bytes_(bytes) {
    data_ = static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, align_up(bytes, kBlockBytes)));
    for (std::size_t i = 0; i < bytes; ++i) data_[i] = static_cast<std::byte>((i * 131 + seed) >> 3 ^ i);
  }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;
  ~AlignedBytes() { std::free(data_); }
  [[nodiscard]] ByteSpan span() const { return {data_, bytes_}; }

 private:
  std::byte* data_;
  std::size_t bytes_;
};

// Submits one operation and turns the loop until it is done.
inline DiskOp& run_op(UringLoop& loop, DiskOp& op) {
  bool done = false;
  op.context = &done;
  op.done = [](DiskOp& finished) { *static_cast<bool*>(finished.context) = true; };
  loop.submit(op);
  EXPECT_FALSE(done) << "done ran inside submit";
  EXPECT_TRUE(run_until(loop, [&] { return done; }));
  EXPECT_FALSE(op.in_flight);
  return op;
}

}  // namespace esc::io::test
