// A file of zeroes on the disk that is measured, as a recycled log segment is one: nothing is allocated when
// it is written again.
#pragma once

#include <cstdint>
#include <string>

#include "esc/base/result.h"
#include "esc/base/units.h"

namespace esc::bench {

inline constexpr std::size_t kZeroedBytes = 16 * kMiB;

// Open for O_DIRECT|O_DSYNC writes; has no name any more, so that it goes with the process.
class ZeroedFile {
 public:
  [[nodiscard]] static Result<ZeroedFile> create(const std::string& dir);
  ZeroedFile(ZeroedFile&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  ZeroedFile(const ZeroedFile&) = delete;
  ZeroedFile& operator=(const ZeroedFile&) = delete;
  ~ZeroedFile();
  [[nodiscard]] int fd() const { return fd_; }

 private:
  explicit ZeroedFile(int fd) : fd_(fd) {}
  int fd_;
};

}  // namespace esc::bench
