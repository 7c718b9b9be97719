#include "plants.h"

#include <algorithm>
#include <array>

namespace esc::escsim {
namespace {

constexpr std::array<PlantInfo, 1> kPlants{{{Plant::none, "none", "", 0}}};

}  // namespace

std::span<const PlantInfo> plants() {
  return std::span(kPlants).subspan(1);
}

std::optional<Plant> plant_named(std::string_view name) {
  const auto found = std::ranges::find(kPlants, name, &PlantInfo::name);
  if (found == kPlants.end()) return std::nullopt;
  return found->plant;
}

}  // namespace esc::escsim
