// Bugs planted on purpose: each is a fault of one module, switched on through that module's options, to show
// that the checkers would find it. docs/TESTING_STRATEGY.md lists them.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace esc::escsim {

enum class Plant : std::uint8_t {
  none,
};

struct PlantInfo {
  Plant plant = Plant::none;
  std::string_view name;
  std::string_view what;
  std::uint32_t seeds = 0;  // found within so many seeds, counted from seed 1
};

[[nodiscard]] std::span<const PlantInfo> plants();
[[nodiscard]] std::optional<Plant> plant_named(std::string_view name);

}  // namespace esc::escsim
