// The hwloc reader: everything else of this module works without it.
#include "esc/topo/topology.h"

#include <hwloc.h>
#include <sched.h>

#include <algorithm>
#include <memory>

#include "cgroup.h"
#include "device.h"
#include "files.h"

namespace esc::topo {
namespace {

struct HwlocDelete {
  void operator()(hwloc_topology* topology) const { hwloc_topology_destroy(topology); }
};
using HwlocTopology = std::unique_ptr<hwloc_topology, HwlocDelete>;

Result<HwlocTopology> load_hwloc() {
  hwloc_topology_t raw = nullptr;
  if (hwloc_topology_init(&raw) != 0) return fail(Errc::io_error, "hwloc cannot be initialised");
  HwlocTopology topology(raw);
  // RESTRICT_TO_CPUBINDING has an effect only together with IS_THISSYSTEM; without it hwloc ignores taskset.
  const unsigned long flags = HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING | HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM;
  if (hwloc_topology_set_flags(raw, flags) != 0 || hwloc_topology_load(raw) != 0) {
    return fail(Errc::io_error, "hwloc cannot read the topology of this machine; is /sys mounted?");
  }
  return topology;
}

std::uint32_t logical_index_of_ancestor(hwloc_topology_t topology, hwloc_obj_type_t type, hwloc_obj_t pu,
                                        std::uint32_t otherwise) {
  const hwloc_obj_t ancestor = hwloc_get_ancestor_obj_by_type(topology, type, pu);
  return ancestor == nullptr ? otherwise : ancestor->logical_index;
}

// Some virtual machines report no L3: then the whole package shares whatever there is.
std::uint32_t l3_group_of(hwloc_topology_t topology, hwloc_obj_t pu, std::uint32_t package) {
  return logical_index_of_ancestor(topology, HWLOC_OBJ_L3CACHE, pu, package);
}

// NUMA nodes are memory children in hwloc 2, not ancestors: the smallest local one by cpuset counts.
std::uint32_t numa_node_of(hwloc_topology_t topology, std::uint32_t cpu) {
  hwloc_obj_t node = nullptr;
  while ((node = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_NUMANODE, node)) != nullptr) {
    if (node->cpuset != nullptr && hwloc_bitmap_isset(node->cpuset, cpu) != 0) return node->os_index;
  }
  return 0;
}

void add_cpus(hwloc_topology_t hwloc, Topology& topology) {
  hwloc_obj_t pu = nullptr;
  while ((pu = hwloc_get_next_obj_by_type(hwloc, HWLOC_OBJ_PU, pu)) != nullptr) {
    if (pu->os_index >= kCpusMax) continue;
    Cpu cpu;
    cpu.id = pu->os_index;
    cpu.physical_core = logical_index_of_ancestor(hwloc, HWLOC_OBJ_CORE, pu, pu->logical_index);
    cpu.package = logical_index_of_ancestor(hwloc, HWLOC_OBJ_PACKAGE, pu, 0);
    cpu.numa_node = numa_node_of(hwloc, cpu.id);
    cpu.l3_group = l3_group_of(hwloc, pu, cpu.package);
    topology.cpus.push_back(cpu);
    topology.packages = std::max(topology.packages, cpu.package + 1);
    topology.numa_nodes.push_back(cpu.numa_node);
  }
  std::ranges::sort(topology.cpus, {}, &Cpu::id);
  std::ranges::sort(topology.numa_nodes);
  const auto repeated = std::ranges::unique(topology.numa_nodes);
  topology.numa_nodes.erase(repeated.begin(), repeated.end());
}

CpuSet own_affinity(const CpuSet& otherwise) {
  cpu_set_t mask;
  CPU_ZERO(&mask);
  // Fails on kernels configured for more than 1024 CPUs; hwloc's restriction still holds then.
  if (sched_getaffinity(0, sizeof mask, &mask) != 0) return otherwise;
  CpuSet set;
  for (std::uint32_t cpu = 0; cpu < kCpusMax; ++cpu) {
    if (CPU_ISSET(cpu, &mask)) set.add(cpu);
  }
  return set;
}

CpuSet ids_of(const std::vector<Cpu>& cpus) {
  CpuSet set;
  for (const Cpu& cpu : cpus) set.add(cpu.id);
  return set;
}

}  // namespace

Result<Topology> read_topology(const TopologyQuery& query) {
  auto hwloc = load_hwloc();
  if (!hwloc) return std::unexpected(hwloc.error());
  Topology topology;
  add_cpus(hwloc->get(), topology);
  const CpuSet visible = ids_of(topology.cpus);
  const std::string cpu_files = query.root + "/sys/devices/system/cpu/";
  topology.online = read_cpu_list(cpu_files + "online") | visible;
  topology.isolated = read_cpu_list(cpu_files + "isolated");
  topology.nohz_full = read_cpu_list(cpu_files + "nohz_full");
  topology.affinity = own_affinity(visible);
  const CgroupLimits limits = read_cgroup_limits(query.root);
  topology.cgroup_cpus = limits.cpus.value_or(topology.online);
  topology.quota = limits.quota;
  topology.data_numa_node = numa_node_of_directory(query.root, query.data_dir);
  topology.wal_numa_node = numa_node_of_directory(query.root, query.wal_dir);
  topology.nic_numa_node = numa_node_of_address(query.root, query.listen_host);
  if (topology.allowed().empty()) {
    return fail(Errc::invalid_argument,
                "no CPU is left to run on: affinity mask " + topology.affinity.to_string() +
                    ", cgroup cpuset " + topology.cgroup_cpus.to_string() + ", online " +
                    topology.online.to_string() +
                    "; widen the affinity mask (taskset) or the cgroup's cpuset.cpus");
  }
  return topology;
}

}  // namespace esc::topo
