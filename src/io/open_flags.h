// OpenFlags in the language of open(2); shared by the asynchronous and the blocking implementation.
#pragma once

#include <fcntl.h>

#include "esc/io/disk.h"

namespace esc::io {

inline constexpr mode_t kFileMode = 0640;
inline constexpr mode_t kDirectoryMode = 0750;

[[nodiscard]] inline int posix_open_flags(OpenFlags flags) {
  int result = O_CLOEXEC | (flags.write ? O_RDWR : O_RDONLY);
  if (flags.create) result |= O_CREAT;
  if (flags.create && flags.exclusive) result |= O_EXCL;
  if (flags.direct) result |= O_DIRECT;
  if (flags.direct_dsync) result |= O_DIRECT | O_DSYNC;
  return result;
}

}  // namespace esc::io
