// One seed: a cluster, its clients, a time of faults, then healing and the last checks.
//
//   chaos: faults and load -> heal: everything must work again -> quiet: producers stop -> audit: read all,
//   compare
#pragma once

#include <cstdint>
#include <string>

#include "plants.h"
#include "scenario.h"

namespace esc::escsim {

struct SimulationOptions {
  std::uint64_t seed = 1;
  std::uint32_t nodes = 0;  // 0: the seed decides
  const Plant* plant = nullptr;
  Nanos chaos_time = 0;  // 0: the seed decides
  Age age = Age::newest;
  bool print = false;  // the trace, on stdout
  bool logs = false;   // the nodes' own log lines, on stderr
};

struct SimulationReport {
  bool ok = false;
  std::string reason;
  std::uint64_t hash = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t events = 0;  // of the virtual clock
  Nanos virtual_time = 0;
  std::uint64_t boots = 0;
  std::uint64_t leaders = 0;
};

[[nodiscard]] SimulationReport simulate(const SimulationOptions& options);

}  // namespace esc::escsim
