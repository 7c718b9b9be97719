// The topics of a simulation.
#pragma once

#include <cstdint>
#include <string_view>

namespace esc::escsim {

inline constexpr std::string_view kTopic = "events";          // stays
inline constexpr std::string_view kPassingTopic = "passing";  // is deleted and created again, in some seeds
inline constexpr std::int32_t kPassingPartitions = 2;

}  // namespace esc::escsim
