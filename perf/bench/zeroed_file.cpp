#include "zeroed_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace esc::bench {

namespace {

Error system_error(const std::string& what) {
  return Error{errc_from_errno(errno), what + ": " + std::strerror(errno)};
}

bool fill(int fd) {
  const std::vector<std::byte> zeroes(kMiB);
  for (std::size_t at = 0; at < kZeroedBytes; at += kMiB) {
    if (::pwrite(fd, zeroes.data(), kMiB, static_cast<off_t>(at)) != static_cast<ssize_t>(kMiB)) return false;
  }
  return ::fsync(fd) == 0;
}

}  // namespace

Result<ZeroedFile> ZeroedFile::create(const std::string& dir) {
  const std::string path = dir + "/esc-bench-floor." + std::to_string(::getpid());
  const int plain = ::open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (plain < 0) return std::unexpected(system_error("cannot create " + path));
  const bool good = fill(plain);
  const Error error = system_error("cannot write " + path);
  ::close(plain);
  const int direct = good ? ::open(path.c_str(), O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC) : -1;
  const Error no_direct = system_error("cannot open a file in " + dir + " with O_DIRECT");
  ::unlink(path.c_str());
  if (!good) return std::unexpected(error);
  if (direct < 0) return std::unexpected(no_direct);
  return ZeroedFile(direct);
}

ZeroedFile::~ZeroedFile() {
  if (fd_ >= 0) ::close(fd_);
}

}  // namespace esc::bench
