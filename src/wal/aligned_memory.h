// Zeroed memory aligned to kBlockBytes, for O_DIRECT.
#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>

#include "esc/base/assert.h"
#include "esc/base/bytes.h"
#include "esc/base/units.h"

namespace esc::wal {

class AlignedMemory {
 public:
  explicit AlignedMemory(std::size_t bytes)
      : bytes_(align_up(bytes, kBlockBytes)),
        memory_(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, bytes_))) {
    ESC_ASSERT_MSG(memory_ != nullptr, "out of memory at startup");
    std::memset(memory_.get(), 0, bytes_);
  }
  [[nodiscard]] std::byte* data() const { return memory_.get(); }
  [[nodiscard]] std::size_t size() const { return bytes_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::size_t bytes_;
  std::unique_ptr<std::byte, Free> memory_;
};

}  // namespace esc::wal
