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
  bool quiet = false;       // print nothing
  double seconds_max = 0;   // of real time, then no further seed is begun; 0: no limit
  bool judge = false;       // only signs of the planted bug are failures
  SimulationOptions simulation;
};

struct FarmResult {
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  std::uint64_t first_failed = 0;  // the first to be found, not the lowest
  std::string reason;
};

[[nodiscard]] FarmResult run_seeds(const FarmOptions& options);
// Every plant with a number of seeds is found within it, by a seed that passes without it. Prints a table. 0:
// all were.
[[nodiscard]] int check_plants(const FarmOptions& options);
// The seeds listed in a file, see tests/sim/seeds.txt. 0: every one passed.
[[nodiscard]] int run_list(const std::string& path, const FarmOptions& options);
// Prints failures first, each with its seed, the commit and the reason, then a summary. 0: every seed passed.
[[nodiscard]] int run_farm(const FarmOptions& options);
[[nodiscard]] std::string describe(std::uint64_t seed, const SimulationReport& report);
// What was built: `git describe`, or "unknown".
[[nodiscard]] const char* commit_name();

}  // namespace esc::escsim
