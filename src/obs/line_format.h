// Formats one log line into a fixed buffer. Never allocates; a field that does not fit is left out and
// the line says truncated=true, so that JSON lines stay valid.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "esc/obs/log.h"

namespace esc::obs {

struct LineInput {
  LogFormat format = LogFormat::text;
  Nanos wall_nanos = 0;
  Level level = Level::info;
  std::string_view source;
  std::string_view event;
  Fields fields;
  std::uint64_t suppressed = 0;  // appended as a field when not 0
};

inline constexpr std::size_t kLineBytesMax = 1000;  // with its newline

// Writes the line with its newline; returns its length. `out` holds at least kLineBytesMax bytes.
[[nodiscard]] std::size_t format_line(std::span<char> out, const LineInput& input);

}  // namespace esc::obs
