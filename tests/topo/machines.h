// Synthetic machines for placement tests.
#pragma once

#include <cstdint>

#include "esc/topo/topology.h"

namespace esc::topo {

struct MachineShape {
  std::uint32_t sockets = 1;
  std::uint32_t cores_per_socket = 1;
  std::uint32_t threads_per_core = 1;
};

// CPUs are numbered as Linux does on x86: the first thread of every core, then the second of every core.
inline Topology make_machine(MachineShape shape) {
  Topology topology;
  const std::uint32_t physical = shape.sockets * shape.cores_per_socket;
  for (std::uint32_t thread = 0; thread < shape.threads_per_core; ++thread) {
    for (std::uint32_t core = 0; core < physical; ++core) {
      const std::uint32_t socket = core / shape.cores_per_socket;
      topology.cpus.push_back({.id = thread * physical + core,
                               .physical_core = core,
                               .package = socket,
                               .numa_node = socket,
                               .l3_group = socket});
      topology.online.add(thread * physical + core);
    }
  }
  topology.packages = shape.sockets;
  for (std::uint32_t socket = 0; socket < shape.sockets; ++socket) topology.numa_nodes.push_back(socket);
  topology.affinity = topology.online;
  topology.cgroup_cpus = topology.online;
  return topology;
}

}  // namespace esc::topo
