// Bugs planted on purpose: each is a fault of one module, switched on through that module's options, to show
// that the checkers would find it. docs/TESTING_STRATEGY.md says more.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "esc/shard/shard.h"

namespace esc::escsim {

struct Plant {
  std::string_view name;
  std::string_view what;
  std::uint32_t seeds = 0;  // found within so many seeds, counted from seed 1; 0: 300 seeds did not find it
  void (*apply)(shard::ShardOptions& options) = nullptr;
  // What must be found: a violation that the model has seen, or, when this is not empty, a failure with this
  // in its reason.
  std::string_view sign{};
  std::uint32_t nodes = 0;  // of every cluster; 0: the seed decides
};

[[nodiscard]] std::span<const Plant> plants();
// Null: there is none of that name.
[[nodiscard]] const Plant* plant_named(std::string_view name);
// The failure is the one that the plant must lead to: no broken promise is found by a timeout.
[[nodiscard]] bool is_sign_of(const Plant& plant, std::string_view reason);

}  // namespace esc::escsim
