#include "esc/base/crc32c.h"

#include <isa-l/crc.h>

#include "esc/base/assert.h"

namespace esc {

std::uint32_t crc32c(ByteView bytes, std::uint32_t crc) {
  // ISA-L takes an int length and neither pre- nor post-inverts.
  std::uint32_t state = ~crc;
  auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
  std::size_t left = bytes.size();
  while (left > 0) {
    constexpr std::size_t kStep = std::size_t{1} << 30;
    const std::size_t step = left < kStep ? left : kStep;
    state = crc32_iscsi(data, static_cast<int>(step), state);
    data += step;
    left -= step;
  }
  return ~state;
}

}  // namespace esc
