// The configuration parser takes any bytes: it refuses with a message or applies, and what it applied
// prints to a text that it reads back to the same configuration.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "esc/app/config.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  esc::app::Config config;
  const auto applied = esc::app::apply_config_text(config, text, "fuzz");
  if (!applied) {
    if (applied.error().message.empty()) std::abort();
    return 0;
  }
  // Whether valid as a whole or not, checking it must be safe.
  if (auto valid = esc::app::validate(config); !valid && valid.error().message.empty()) std::abort();
  const std::string printed = esc::app::format_config(config);
  esc::app::Config again;
  if (!esc::app::apply_config_text(again, printed, "printed")) std::abort();
  if (esc::app::format_config(again) != printed) std::abort();
  return 0;
}
