#include "esc/topo/topology.h"

#include <algorithm>

namespace esc::topo {

CpuSet Topology::allowed() const {
  CpuSet visible;
  for (const Cpu& cpu : cpus) visible.add(cpu.id);
  return visible & affinity & cgroup_cpus;
}

const Cpu* Topology::find(std::uint32_t cpu) const {
  const auto at = std::ranges::lower_bound(cpus, cpu, {}, &Cpu::id);
  return at != cpus.end() && at->id == cpu ? &*at : nullptr;
}

}  // namespace esc::topo
