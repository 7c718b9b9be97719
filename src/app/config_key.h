// The table of every configuration key: one row gives its name, kind, range and meaning. Reading,
// messages, `--print-config` and the manual page all come from it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "config_value.h"
#include "esc/app/config.h"

namespace esc::app {

enum class KeyKind : std::uint8_t {
  boolean,
  count,
  size,
  duration,
  text,
  choice,
  address,
  cpu_list,
  node_list
};

// Plain function pointers, so that the table is constant data.
struct ConfigKey {
  std::string_view path;  // "tuning.wal.segment_bytes", also the C++ field
  KeyKind kind = KeyKind::text;
  std::int64_t low = 0;  // numbers: inclusive range, in the key's unit
  std::int64_t high = 0;
  std::int64_t unit_ns = 0;       // durations
  bool may_be_unlimited = false;  // -1 or "unlimited"
  bool secret = false;            // its value appears in no message and no print
  std::span<const std::string_view> choices{};
  std::string_view meaning;
  // Numbers, booleans (0, 1) and choices (index) go through the first pair, everything else through the
  // second.
  std::int64_t (*get_number)(const Config&) = nullptr;
  void (*set_number)(Config&, std::int64_t) = nullptr;
  std::string (*get_text)(const Config&) = nullptr;
  Status (*set_text)(Config&, std::string_view) = nullptr;
};

[[nodiscard]] std::span<const ConfigKey> config_keys();

// What the key takes, as a phrase: "an integer from 1 to 64".
[[nodiscard]] std::string accepted_values(const ConfigKey& key);

// Sets one key. `lenient`: everything arrives as text, as it does from the command line, so "2" is a number.
// The message of a failure is the part after "key = value: ".
[[nodiscard]] Status set_key(Config& config, const ConfigKey& key, const RawValue& value, bool lenient);

// The current value as TOML.
[[nodiscard]] std::string print_key(const Config& config, const ConfigKey& key);

// The value as messages may show it.
[[nodiscard]] std::string_view shown(const ConfigKey& key, std::string_view printed);

// "unknown key", with the nearest known ones.
[[nodiscard]] std::string unknown_key_message(std::string_view path);

}  // namespace esc::app
