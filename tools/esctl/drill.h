// drill failover: kills leaders under load in a cluster that esctl dev runs, and measures what clients
// notice.
#pragma once

#include <cstdint>
#include <string>

#include "commands.h"
#include "outcome.h"

namespace esc::esctl {

struct DrillOptions {
  std::string directory;  // of esctl dev; empty: the default one
  std::uint32_t rounds = 10;
};

// kExitFailure when an acknowledged event is missing or out of place.
[[nodiscard]] Result<ExitCode> drill_failover(const Options& options, const DrillOptions& drill);

}  // namespace esc::esctl
