// CPU limits of the control group we run in, for cgroup v1, v2 and the hybrid of both.
#pragma once

#include <optional>
#include <string>

#include "esc/topo/topology.h"

namespace esc::topo {

struct CgroupLimits {
  std::optional<CpuSet> cpus;     // unset: no cpuset controller governs us
  std::optional<CpuQuota> quota;  // unset: unlimited
};

// Never fails: what cannot be read does not limit us. `root` is put before every path.
// Sources: cgroups(7), Documentation/admin-guide/cgroup-v2.rst (cpu.max, cpuset.cpus.effective),
// Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us).
[[nodiscard]] CgroupLimits read_cgroup_limits(const std::string& root);

}  // namespace esc::topo
