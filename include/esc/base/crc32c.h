// CRC-32C (Castagnoli), as Kafka's record batches and our own formats use it. ISA-L does the work.
#pragma once

#include <cstdint>

#include "esc/base/bytes.h"

namespace esc {

// CRC of `bytes`, continuing from `crc` (the value a previous call returned; 0 to start).
// crc32c(a+b) == crc32c(b, crc32c(a)).
[[nodiscard]] std::uint32_t crc32c(ByteView bytes, std::uint32_t crc = 0);

}  // namespace esc
