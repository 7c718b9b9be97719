#include "direct_io.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>

#include "esc/base/units.h"

namespace esc::wal {

Status check_direct_alignment(const std::string& path) {
#ifdef STATX_DIOALIGN
  struct statx info{};
  if (::statx(AT_FDCWD, path.c_str(), 0, STATX_DIOALIGN, &info) != 0) return {};
  if ((info.stx_mask & STATX_DIOALIGN) == 0) return {};
  const std::uint32_t needed = std::max(info.stx_dio_mem_align, info.stx_dio_offset_align);
  if (needed > kBlockBytes)
    return fail(
        Errc::unsupported,
        fmt::format(
            "{}: direct writes must be aligned to {} bytes here, the write-ahead log writes blocks of "
            "{}; put wal_dir on a device with blocks of at most {} bytes",
            path, needed, kBlockBytes, kBlockBytes));
#else
  (void)path;
#endif
  return {};
}

}  // namespace esc::wal
