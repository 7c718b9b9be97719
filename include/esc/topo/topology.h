// What the planner knows about a machine: plain data, read once at start, built by hand in tests.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/result.h"
#include "esc/topo/cpu_set.h"

namespace esc::topo {

// One logical CPU (hwloc: PU). Two CPUs of one physical core (SMT) share `physical_core`.
struct Cpu {
  std::uint32_t id = 0;             // kernel number, as taskset knows it
  std::uint32_t physical_core = 0;  // dense over the machine
  std::uint32_t package = 0;        // socket
  std::uint32_t numa_node = 0;      // kernel number of the memory node
  std::uint32_t l3_group = 0;       // CPUs of equal value share a last-level cache
};

// CPU bandwidth limit of the cgroup: at most `quota_us` of CPU time per `period_us`.
struct CpuQuota {
  std::uint64_t quota_us = 0;
  std::uint64_t period_us = 0;
  [[nodiscard]] double cpus() const {
    return period_us == 0 ? 0.0 : static_cast<double>(quota_us) / static_cast<double>(period_us);
  }
};

struct Topology {
  std::vector<Cpu> cpus;  // the CPUs we can see, ascending by id, never empty
  CpuSet online;          // every CPU of the machine, for explanations
  std::uint32_t packages = 1;
  std::vector<std::uint32_t> numa_nodes;  // kernel numbers, ascending, never empty
  CpuSet affinity;                        // CPUs this process may run on by its own affinity mask (taskset)
  CpuSet cgroup_cpus;                     // cpuset.cpus.effective; every CPU when there is no cpuset
  CpuSet isolated;                        // isolcpus=; empty when the kernel has none
  CpuSet nohz_full;                       // empty when missing
  std::optional<CpuQuota> quota;
  std::optional<std::uint32_t> data_numa_node;  // of the device under data_dir
  std::optional<std::uint32_t> wal_numa_node;   // of the device under wal_dir
  std::optional<std::uint32_t> nic_numa_node;   // of the listener's interface

  // CPUs we may use at all: online, in the affinity mask and in the cgroup.
  [[nodiscard]] CpuSet allowed() const;
  // nullptr when the CPU does not exist.
  [[nodiscard]] const Cpu* find(std::uint32_t cpu) const;
};

struct TopologyQuery {
  std::string data_dir{};     // empty = unknown device; need not exist yet (its nearest parent counts)
  std::string wal_dir{};      // empty = unknown device
  std::string listen_host{};  // numeric address of the listener, empty = unknown interface
  std::string root{};         // put before /sys and /proc; tests point it at a directory of their own
};

// Reads the machine through hwloc, /sys and /proc. Missing optional facts (NUMA node of a device,
// nohz_full, quota) are left empty; fails only when not even one usable CPU is found.
[[nodiscard]] Result<Topology> read_topology(const TopologyQuery& query);

}  // namespace esc::topo
