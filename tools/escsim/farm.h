// Many seeds: one process per job, so that a broken invariant (which aborts) ends one seed only.
#pragma once

#include <cstdint>
#include <string>

#include "simulation.h"

namespace esc::escsim {

struct FarmOptions {
  std::uint64_t first = 1;
  std::uint64_t last = 1;
  std::uint32_t jobs = 1;
  bool once = false;        // else every seed runs twice and must give the same hash
  bool keep_going = false;  // else the first failure ends the run
  SimulationOptions simulation;
};

// Prints failures first, each with its seed, the commit and the reason, then a summary. 0: every seed passed.
[[nodiscard]] int run_farm(const FarmOptions& options);
[[nodiscard]] std::string describe(std::uint64_t seed, const SimulationReport& report);
// What was built: `git describe`, or "unknown".
[[nodiscard]] const char* commit_name();

}  // namespace esc::escsim
