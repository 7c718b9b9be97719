#include "esc/topo/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "esc/base/assert.h"

namespace esc::topo {
namespace {

// From so many physical cores on, one is left to housekeeping, the kernel's I/O workers and interrupts: with
// two CPUs and two data cores the disk's completions wait for a data core, which costs twice the CPU per
// event and most of the tail latency (docs/PERFORMANCE.md).
constexpr std::size_t kPhysicalCoresWithRoomMin = 2;

std::size_t physical_core_count(const Topology& topology, const CpuSet& set) {
  std::set<std::uint32_t> physical;
  for (const Cpu& cpu : topology.cpus) {
    if (set.contains(cpu.id)) physical.insert(cpu.physical_core);
  }
  return physical.size();
}

// Every CPU of the physical cores that `set` touches.
CpuSet with_siblings(const Topology& topology, const CpuSet& set) {
  std::set<std::uint32_t> physical;
  for (const Cpu& cpu : topology.cpus) {
    if (set.contains(cpu.id)) physical.insert(cpu.physical_core);
  }
  CpuSet all;
  for (const Cpu& cpu : topology.cpus) {
    if (physical.contains(cpu.physical_core)) all.add(cpu.id);
  }
  return all;
}

// Why CPUs an operator named cannot be used; empty when they can.
std::string why_unusable(const Topology& topology, const CpuSet& wanted) {
  const CpuSet missing = wanted - topology.allowed();
  if (missing.empty()) return {};
  const CpuSet offline = missing - topology.online;
  const CpuSet outside_cgroup = (missing - offline) - topology.cgroup_cpus;
  const CpuSet outside_affinity = missing - offline - outside_cgroup;
  std::string why;
  const auto add = [&why](const CpuSet& set, std::string_view what) {
    if (!set.empty()) why += fmt::format("{}CPU {} {}", why.empty() ? "" : ", ", set.to_string(), what);
  };
  add(offline, "does not exist or is offline");
  add(outside_cgroup, "is outside of the cgroup's cpuset (cpuset.cpus)");
  add(outside_affinity, "is excluded by the process affinity (taskset)");
  return why;
}

// One planning run: the inputs, what has been decided so far, and the plan under construction.
class Planner {
 public:
  Planner(const Topology& topology, const PlacementRequest& request)
      : topology_(topology), request_(request), allowed_(topology.allowed()) {}

  Result<Plan> run() {
    if (auto status = check_request(); !status) return std::unexpected(status.error());
    decide_core_count();
    if (auto status = decide_pinning(); !status) return std::unexpected(status.error());
    if (auto status = decide_idle(); !status) return std::unexpected(status.error());
    if (plan_.pin == PinMode::off) {
      place_unpinned();
    } else {
      place_pinned();
    }
    place_housekeeping();
    explain_quota();
    return std::move(plan_);
  }

 private:
  Status check_request();
  void decide_core_count();
  Status decide_pinning();
  Status decide_idle();
  void place_unpinned();
  void place_pinned();
  void place_housekeeping();
  void explain_quota();
  void explain_pinned(const std::vector<Cpu>& chosen);

  [[nodiscard]] CpuSet candidates() const;
  [[nodiscard]] std::uint32_t home_node(const CpuSet& set) const;
  [[nodiscard]] std::vector<Cpu> choose(const CpuSet& set, std::size_t count) const;
  void reason(std::string sentence) { plan_.reasons.push_back(std::move(sentence)); }
  void warn(std::string sentence) { plan_.warnings.push_back(std::move(sentence)); }

  const Topology& topology_;
  const PlacementRequest& request_;
  const CpuSet allowed_;
  std::uint32_t cores_ = 0;
  Plan plan_;
};

Status Planner::check_request() {
  if (allowed_.empty()) {
    return fail(Errc::invalid_argument,
                "no CPU is allowed: widen the affinity mask (taskset) or the cgroup's cpuset");
  }
  if (request_.cores > kCoresMax) {
    return fail(Errc::invalid_argument,
                fmt::format("cores = {} is more than the limit of {} data cores of one node", request_.cores,
                            kCoresMax));
  }
  if (auto why = why_unusable(topology_, request_.cpu_list); !why.empty()) {
    return fail(Errc::invalid_argument,
                fmt::format("cpu_list = {}: {}; allowed are {}", request_.cpu_list.to_string(), why,
                            allowed_.to_string()));
  }
  if (auto why = why_unusable(topology_, request_.housekeeping_cpus); !why.empty()) {
    return fail(Errc::invalid_argument,
                fmt::format("housekeeping_cpu_list = {}: {}; allowed are {}",
                            request_.housekeeping_cpus.to_string(), why, allowed_.to_string()));
  }
  const std::size_t listed = request_.cpu_list.count();
  if (listed > 0 && request_.cores > listed) {
    return fail(
        Errc::invalid_argument,
        fmt::format("cores = {} but cpu_list = {} names only {}: list one CPU per data core, or lower cores",
                    request_.cores, request_.cpu_list.to_string(), listed));
  }
  if (listed > kCoresMax && request_.cores == 0) {
    return fail(
        Errc::invalid_argument,
        fmt::format("cpu_list names {} CPUs; one node runs at most {} data cores", listed, kCoresMax));
  }
  if (listed > 0 && request_.pin == PinMode::off) {
    return fail(Errc::invalid_argument,
                "cpu_list is set but pin = \"off\": set pin to \"prefer\" or \"require\", or "
                "remove cpu_list");
  }
  return {};
}

void Planner::decide_core_count() {
  if (request_.cores > 0) {
    cores_ = request_.cores;
    reason(fmt::format("{} data core{} as configured.", cores_, cores_ == 1 ? "" : "s"));
    return;
  }
  if (!request_.cpu_list.empty()) {
    cores_ = static_cast<std::uint32_t>(request_.cpu_list.count());
    reason(fmt::format("{} data core{}: one per CPU of cpu_list.", cores_, cores_ == 1 ? "" : "s"));
    return;
  }
  const CpuSet isolated = candidates() & topology_.isolated;
  std::size_t count = 0;
  if (!isolated.empty()) {
    count = physical_core_count(topology_, isolated);
    reason(
        fmt::format("Automatic: one data core per isolated physical core (CPUs {}).", isolated.to_string()));
  } else {
    const std::size_t physical = physical_core_count(topology_, candidates());
    const bool room = physical >= kPhysicalCoresWithRoomMin && request_.housekeeping_cpus.empty();
    count = room ? physical - 1 : physical;
    reason(fmt::format("Automatic: {} physical core{} allowed{}.", physical, physical == 1 ? " is" : "s are",
                       room ? ", one of them is left to housekeeping" : ""));
  }
  if (topology_.quota) {
    const auto whole = static_cast<std::size_t>(std::max(1.0, topology_.quota->cpus()));
    if (whole < count) {
      count = whole;
      reason(fmt::format("Automatic: {} data core{} because the CPU quota is {:.2f} CPUs.", count,
                         count == 1 ? "" : "s", topology_.quota->cpus()));
    }
  }
  cores_ = static_cast<std::uint32_t>(std::clamp<std::size_t>(count, 1, kCoresMax));
}

// CPUs a data core may be pinned to.
CpuSet Planner::candidates() const {
  if (!request_.cpu_list.empty()) return request_.cpu_list;
  const CpuSet rest = allowed_ - request_.housekeeping_cpus;
  return rest.empty() ? allowed_ : rest;
}

Status Planner::decide_pinning() {
  plan_.pin = request_.pin;
  const CpuSet usable = candidates();
  if (request_.pin == PinMode::off || cores_ <= usable.count()) return {};
  if (request_.pin == PinMode::require) {
    return fail(
        Errc::invalid_argument,
        fmt::format(
            "cores = {} cannot be pinned: only {} CPU{} allowed for data cores ({}); lower cores to {}, "
            "set pin = \"prefer\", or widen the affinity mask or the cgroup's cpuset",
            cores_, usable.count(), usable.count() == 1 ? " is" : "s are", usable.to_string(),
            usable.count()));
  }
  plan_.pin = PinMode::off;
  warn(fmt::format("Not pinned: {} data cores share {} CPU{} ({}); lower cores to {} for steady latency.",
                   cores_, usable.count(), usable.count() == 1 ? "" : "s", usable.to_string(),
                   usable.count()));
  return {};
}

Status Planner::decide_idle() {
  plan_.idle = request_.idle;
  if (topology_.quota && request_.idle == IdleStrategy::spin) {
    return fail(
        Errc::invalid_argument,
        fmt::format(
            "idle = \"spin\" under a CPU quota of {:.2f} CPUs (cpu.max {} {}): polling would use up the "
            "quota and the kernel would stop every core for the rest of each period; set idle = "
            "\"park\", or remove the quota",
            topology_.quota->cpus(), topology_.quota->quota_us, topology_.quota->period_us));
  }
  if (topology_.quota && request_.idle == IdleStrategy::adaptive) {
    plan_.idle = IdleStrategy::park;
    reason("Idle cores park instead of polling: the cgroup has a CPU quota.");
  }
  if (request_.idle == IdleStrategy::spin && plan_.pin == PinMode::off) {
    return fail(
        Errc::invalid_argument,
        fmt::format("idle = \"spin\" needs one CPU per data core, but the {} data core{} not pinned (pin = "
                    "\"{}\", {} CPUs allowed); set pin = \"require\" with at most {} cores, or idle = "
                    "\"adaptive\"",
                    cores_, cores_ == 1 ? " is" : "s are", to_string(request_.pin), candidates().count(),
                    candidates().count()));
  }
  return {};
}

void Planner::place_unpinned() {
  // The scheduler never moves a task onto or off an isolated CPU, so a floating core must not start there.
  const CpuSet balanced = allowed_ - topology_.isolated - request_.housekeeping_cpus;
  const CpuSet floating = balanced.empty() ? allowed_ : balanced;
  plan_.data_cpus = floating;
  const std::uint32_t node = topology_.find(floating.first())->numa_node;
  for (std::uint32_t core = 0; core < cores_; ++core) {
    plan_.cores.push_back({.core = core, .numa_node = node});
  }
  reason(fmt::format("Data cores float over CPUs {}: pinning is off.", floating.to_string()));
  if (request_.pin == PinMode::off && cores_ > floating.count()) {
    warn(fmt::format("{} data cores on {} CPU{}: they take turns; lower cores to {}.", cores_,
                     floating.count(), floating.count() == 1 ? "" : "s", floating.count()));
  }
}

// The memory node data cores should live on: the log's disk decides, then the data disk, then the network
// card; otherwise the lowest node with enough physical cores, so that the mesh stays on one socket.
std::uint32_t Planner::home_node(const CpuSet& set) const {
  std::map<std::uint32_t, CpuSet> by_node;
  for (const Cpu& cpu : topology_.cpus) {
    if (set.contains(cpu.id)) by_node[cpu.numa_node].add(cpu.id);
  }
  for (const auto& preferred : {topology_.wal_numa_node, topology_.data_numa_node, topology_.nic_numa_node}) {
    if (preferred && by_node.contains(*preferred)) return *preferred;
  }
  for (const auto& [node, cpus] : by_node) {
    if (physical_core_count(topology_, cpus) >= cores_) return node;
  }
  return by_node.begin()->first;
}

// The best `count` CPUs of `set`, best first. Order of preference: isolated; a physical core of its own;
// the home node; not CPU 0's physical core (it serves timers and interrupts); a shared L3; low numbers.
std::vector<Cpu> Planner::choose(const CpuSet& set, std::size_t count) const {
  const std::uint32_t home = home_node(set);
  const Cpu* cpu0 = topology_.find(0);
  std::map<std::pair<bool, std::uint32_t>, std::uint32_t> seen;  // (isolated, physical core) -> CPUs so far
  std::vector<std::pair<std::tuple<bool, std::uint32_t, bool, bool, std::uint32_t, std::uint32_t>, Cpu>>
      ranked;
  for (const Cpu& cpu : topology_.cpus) {
    if (!set.contains(cpu.id)) continue;
    const bool isolated = topology_.isolated.contains(cpu.id);
    const std::uint32_t sibling_rank = seen[{isolated, cpu.physical_core}]++;
    const bool beside_cpu0 = cpu0 != nullptr && cpu.physical_core == cpu0->physical_core;
    ranked.push_back(
        {{!isolated, sibling_rank, cpu.numa_node != home, beside_cpu0, cpu.l3_group, cpu.id}, cpu});
  }
  std::ranges::sort(ranked, {}, [](const auto& entry) { return entry.first; });
  std::vector<Cpu> chosen;
  for (const auto& entry : ranked) {
    if (chosen.size() < count) chosen.push_back(entry.second);
  }
  return chosen;
}

void Planner::place_pinned() {
  std::vector<Cpu> chosen = choose(candidates(), cores_);
  ESC_ASSERT(chosen.size() == cores_);
  // Neighbouring data cores get neighbouring CPUs.
  std::ranges::sort(chosen, {},
                    [](const Cpu& cpu) { return std::tuple(cpu.numa_node, cpu.l3_group, cpu.id); });
  std::map<std::uint32_t, std::uint32_t> users;  // physical core -> data cores on it
  for (const Cpu& cpu : chosen) ++users[cpu.physical_core];
  for (const Cpu& cpu : chosen) {
    plan_.cores.push_back({.core = static_cast<std::uint32_t>(plan_.cores.size()),
                           .pinned = true,
                           .cpu = cpu.id,
                           .numa_node = cpu.numa_node,
                           .shares_physical_core = users[cpu.physical_core] > 1,
                           .isolated = topology_.isolated.contains(cpu.id)});
    plan_.data_cpus.add(cpu.id);
  }
  explain_pinned(chosen);
}

void Planner::explain_pinned(const std::vector<Cpu>& chosen) {
  const CpuSet isolated = plan_.data_cpus & topology_.isolated;
  const CpuSet exposed = plan_.data_cpus - topology_.isolated;
  if (!request_.cpu_list.empty()) {
    reason(fmt::format("Data cores are pinned to CPUs {} of cpu_list.", plan_.data_cpus.to_string()));
  } else {
    reason(fmt::format("Data cores are pinned to CPUs {}.", plan_.data_cpus.to_string()));
  }
  if (!isolated.empty()) reason(fmt::format("CPUs {} are isolated from other tasks.", isolated.to_string()));
  if (!isolated.empty() && !exposed.empty()) {
    warn(fmt::format("CPUs {} are not isolated: {} data cores do not fit on the isolated CPUs {}.",
                     exposed.to_string(), cores_, (topology_.isolated & allowed_).to_string()));
  }
  if (std::ranges::any_of(plan_.cores, &CorePlacement::shares_physical_core)) {
    warn(fmt::format(
        "Some data cores share a physical core with another one (SMT): {} data cores, {} physical cores; "
        "expect about a quarter more throughput from the second, and longer tails.",
        cores_, physical_core_count(topology_, plan_.data_cpus)));
  }
  const CpuSet not_quiet = plan_.data_cpus - topology_.nohz_full;
  if (plan_.idle == IdleStrategy::spin && !topology_.nohz_full.empty() && !not_quiet.empty()) {
    warn(fmt::format("CPUs {} spin but are not in nohz_full: the timer tick interrupts them.",
                     not_quiet.to_string()));
  }
  std::set<std::uint32_t> nodes;
  for (const Cpu& cpu : chosen) nodes.insert(cpu.numa_node);
  if (topology_.numa_nodes.size() > 1) {
    reason(
        fmt::format("Home memory node is {} of {}.", home_node(candidates()), topology_.numa_nodes.size()));
  }
  if (nodes.size() > 1)
    warn(fmt::format("Data cores span {} memory nodes: rings between them cost more.", nodes.size()));
  const std::pair<std::string_view, std::optional<std::uint32_t>> devices[] = {
      {"WAL device", topology_.wal_numa_node},
      {"data device", topology_.data_numa_node},
      {"network interface", topology_.nic_numa_node}};
  for (const auto& [what, node] : devices) {
    if (!node || topology_.numa_nodes.size() < 2) continue;
    if (nodes.contains(*node)) {
      reason(fmt::format("The {} is on memory node {}.", what, *node));
    } else {
      warn(fmt::format("The {} is on memory node {}, no data core is.", what, *node));
    }
  }
}

void Planner::place_housekeeping() {
  const CpuSet pinned = plan_.pin == PinMode::off ? CpuSet{} : plan_.data_cpus;
  if (!request_.housekeeping_cpus.empty()) {
    plan_.housekeeping_cpus = request_.housekeeping_cpus;
    const CpuSet shared = pinned & plan_.housekeeping_cpus;
    if (!shared.empty()) {
      warn(fmt::format(
          "CPU {} runs a data core and housekeeping: take it out of housekeeping_cpu_list or cpu_list.",
          shared.to_string()));
    }
  } else {
    // From best to worst: own physical cores, siblings of data cores, isolated leftovers, shared CPUs.
    const CpuSet balanced = allowed_ - topology_.isolated;
    for (const CpuSet& set : {balanced - with_siblings(topology_, pinned), balanced - pinned,
                              allowed_ - pinned, balanced, allowed_}) {
      if (set.empty()) continue;
      plan_.housekeeping_cpus = set;
      break;
    }
    // Normal on a small machine; harmful only where the data cores never let go of their CPUs.
    if (pinned.intersects(plan_.housekeeping_cpus) && plan_.idle == IdleStrategy::spin) {
      warn(
          fmt::format("No CPU is left for housekeeping and the kernel's io workers: on CPUs {} they compete "
                      "with data cores that "
                      "never sleep, which delays disk writes; lower cores by one.",
                      plan_.housekeeping_cpus.to_string()));
    }
  }
  reason(fmt::format("Housekeeping threads run on CPUs {}.", plan_.housekeeping_cpus.to_string()));
  // A worker that completes a write for a core should be near its memory.
  CpuSet near;
  for (const Cpu& cpu : topology_.cpus) {
    const bool local = std::ranges::any_of(
        plan_.cores, [&](const CorePlacement& core) { return core.numa_node == cpu.numa_node; });
    if (local && plan_.housekeeping_cpus.contains(cpu.id)) near.add(cpu.id);
  }
  plan_.io_worker_cpus = near.empty() ? plan_.housekeeping_cpus : near;
}

void Planner::explain_quota() {
  if (!topology_.quota) return;
  if (static_cast<double>(cores_) > topology_.quota->cpus()) {
    warn(fmt::format(
        "{} data core{} under a CPU quota of {:.2f} CPUs: under load the kernel stops all of them until the "
        "next period of {} us; raise cpu.max or lower cores.",
        cores_, cores_ == 1 ? "" : "s", topology_.quota->cpus(), topology_.quota->period_us));
  } else {
    reason(fmt::format("The CPU quota is {:.2f} CPUs.", topology_.quota->cpus()));
  }
}

}  // namespace

std::string_view to_string(PinMode mode) {
  switch (mode) {
    case PinMode::off: return "off";
    case PinMode::prefer: return "prefer";
    case PinMode::require: return "require";
  }
  ESC_UNREACHABLE("pin mode");
}

std::string_view to_string(IdleStrategy strategy) {
  switch (strategy) {
    case IdleStrategy::park: return "park";
    case IdleStrategy::adaptive: return "adaptive";
    case IdleStrategy::spin: return "spin";
  }
  ESC_UNREACHABLE("idle strategy");
}

Result<Plan> plan_placement(const Topology& topology, const PlacementRequest& request) {
  return Planner(topology, request).run();
}

}  // namespace esc::topo
