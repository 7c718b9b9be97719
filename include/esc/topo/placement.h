// Placement: which CPU runs which data core, decided by a pure function and explained in sentences.
//
// `plan_placement` reads nothing but its arguments, so the same plan can be computed for a machine
// described in a test. `read_topology` (topology.h) describes the machine we run on; `escd
// --print-plan` shows the plan; the core loop applies it and verifies it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "esc/base/result.h"
#include "esc/topo/topology.h"

namespace esc::topo {

// Upper bound of data cores of one node. The mesh needs cores^2 rings, so this is a real limit.
inline constexpr std::uint32_t kCoresMax = 64;

enum class PinMode : std::uint8_t {
  off,      // the kernel schedules the data cores over the allowed CPUs
  prefer,   // one CPU each when every data core can have its own, otherwise as `off` with a warning
  require,  // one CPU each, or refuse to start
};

// What a data core does when a turn of its loop found no work.
enum class IdleStrategy : std::uint8_t {
  park,      // sleep in io_uring_enter until a completion or a wake-up from another core
  adaptive,  // poll for a short while (yielding), then park
  spin,      // poll for ever; owns its CPU, needs pinning and no CPU quota
};

[[nodiscard]] std::string_view to_string(PinMode mode);
[[nodiscard]] std::string_view to_string(IdleStrategy strategy);

struct PlacementRequest {
  std::uint32_t cores = 0;  // data cores; 0 = one per physical core that housekeeping does not need
  PinMode pin = PinMode::prefer;
  IdleStrategy idle = IdleStrategy::adaptive;
  CpuSet cpu_list{};           // explicit CPUs of the data cores, empty = choose
  CpuSet housekeeping_cpus{};  // explicit CPUs of admin, metrics and io workers, empty = choose
};

struct CorePlacement {
  std::uint32_t core = 0;             // dense from 0
  bool pinned = false;                // false: `cpus` is the whole set the kernel may choose from
  std::uint32_t cpu = 0;              // meaningful when pinned
  std::uint32_t numa_node = 0;        // node of `cpu`; of the first allowed CPU when not pinned
  bool shares_physical_core = false;  // an SMT sibling runs another data core
  bool isolated = false;              // the kernel keeps other tasks away (isolcpus)
};

struct Plan {
  PinMode pin = PinMode::off;  // the effective mode: `off` when `prefer` had to give way
  IdleStrategy idle = IdleStrategy::park;
  std::vector<CorePlacement> cores;
  CpuSet data_cpus;                   // union over all data cores
  CpuSet housekeeping_cpus;           // never empty; may overlap data_cpus on small machines
  CpuSet io_worker_cpus;              // affinity of io-wq workers (IORING_REGISTER_IOWQ_AFF), never empty
  std::vector<std::string> reasons;   // why it looks like this, one sentence each
  std::vector<std::string> warnings;  // legal, but an operator wants to know
};

// Fails with invalid_argument; the message names the cause, the numbers and the fix.
[[nodiscard]] Result<Plan> plan_placement(const Topology& topology, const PlacementRequest& request);

// Readable table followed by reasons and warnings; ends with a newline.
[[nodiscard]] std::string format_plan(const Topology& topology, const Plan& plan);
// One JSON object, stable key names; ends with a newline.
[[nodiscard]] std::string format_plan_json(const Topology& topology, const Plan& plan);

}  // namespace esc::topo
