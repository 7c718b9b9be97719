// What the file system asks of O_DIRECT.
#pragma once

#include <string>

#include "esc/base/result.h"

namespace esc::wal {

// Refuses a file whose O_DIRECT writes must be aligned to more than kBlockBytes. Unknown (an older kernel, a
// simulated file) passes: then the first write would fail, and say so.
[[nodiscard]] Status check_direct_alignment(const std::string& path);

}  // namespace esc::wal
