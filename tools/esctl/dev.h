// dev up, dev down, dev status: a cluster on this machine, for development.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "commands.h"
#include "local_cluster.h"
#include "outcome.h"

namespace esc::esctl {

struct DevOptions {
  std::string directory;  // empty: LocalCluster::default_directory()
  // Of up; what is not given stays as the directory has it.
  std::optional<std::uint32_t> nodes;
  std::optional<std::uint16_t> kafka_port;
  std::optional<std::string> profile;
  std::vector<std::string> sets;
  // Of down.
  bool remove_data = false;
};

[[nodiscard]] Result<ExitCode> dev_up(const Options& options, const DevOptions& dev);
[[nodiscard]] Result<ExitCode> dev_down(const Options& options, const DevOptions& dev);
// healthy, degraded (a node is down, every group commits) or unhealthy.
[[nodiscard]] Result<ExitCode> dev_status(const Options& options, const DevOptions& dev);

// The cluster that `directory` names (empty: the default one).
[[nodiscard]] Result<LocalCluster> open_local_cluster(const std::string& directory);
// Until a canary event commits in every group. Errc::closed when a node ends meanwhile.
[[nodiscard]] Status wait_until_ready(const LocalCluster& cluster, Deadline deadline);

}  // namespace esc::esctl
