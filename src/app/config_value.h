// Values as operators write them: sizes, durations, addresses, suggestions for typing mistakes.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace esc::app {

// What a file or an option holds for one key, before it is known what the key wants.
struct RawValue {
  enum class Type : std::uint8_t { boolean, integer, text, other };
  Type type = Type::other;
  bool boolean = false;
  std::int64_t integer = 0;
  std::string text{};     // type text; a list of nodes in its one-line form
  std::string printed{};  // as the operator wrote it, for messages
};

// "64MiB", "1GB", "4096": bytes. Unset when it is not a size or does not fit.
[[nodiscard]] std::optional<std::int64_t> parse_size(std::string_view text);
inline constexpr std::string_view kSizeUnits = "B, KiB, MiB, GiB, TiB, kB, MB, GB, TB";

// "10ms", "7d": a whole number of `unit_ns`; a bare number counts `unit_ns`. Unset when it is no duration,
// does not fit, or is not a whole number of units ("500us" for a key in milliseconds).
[[nodiscard]] std::optional<std::int64_t> parse_duration(std::string_view text, std::int64_t unit_ns);
inline constexpr std::string_view kDurationUnits = "us, ms, s, min, h, d";

[[nodiscard]] std::optional<std::int64_t> parse_integer(std::string_view text);

// The shortest exact form: 1048576 -> "1MiB", 1000 -> "1000B"; durations likewise.
[[nodiscard]] std::string format_size(std::int64_t bytes);
[[nodiscard]] std::string format_duration(std::int64_t count, std::int64_t unit_ns);

// The candidates nearest to a mistyped word (edit distance), at most three, joined with " or ".
[[nodiscard]] std::string did_you_mean(std::string_view word, std::span<const std::string_view> candidates);

// Quoted with TOML's escapes.
[[nodiscard]] std::string toml_quoted(std::string_view text);

}  // namespace esc::app
