// A cluster on this machine for development: its directory, its configuration files, its processes.
//
//   DIR/cluster       the settings below; marks the directory as one of ours
//   DIR/secret        what the nodes prove to each other
//   DIR/node-N/       escd.toml, data/, escd.log, escd.pid
//
// Threading: single owner per node; different threads may handle different nodes.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/result.h"
#include "process.h"

namespace esc::esctl {

struct LocalClusterSettings {
  std::uint32_t nodes = 3;
  std::uint16_t kafka_port = 9092;  // of node 1; the others follow
  std::string profile = "laptop";
  std::vector<std::string> sets;  // KEY=VALUE for escd --set
};

class LocalCluster {
 public:
  // Errc::not_found: the directory holds no cluster.
  [[nodiscard]] static Result<LocalCluster> open(const std::string& directory);
  // Makes the directory, or writes its configuration anew. No node may run. The number of nodes of an
  // existing directory is fixed.
  [[nodiscard]] static Result<LocalCluster> configure(const std::string& directory,
                                                      const LocalClusterSettings& settings);
  // $XDG_STATE_HOME or ~/.local/state, then /esc-dev.
  [[nodiscard]] static Result<std::string> default_directory();

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] const LocalClusterSettings& settings() const { return settings_; }
  [[nodiscard]] std::uint32_t nodes() const { return settings_.nodes; }  // numbered from 1
  [[nodiscard]] std::uint32_t groups() const { return settings_.nodes; }
  [[nodiscard]] std::uint16_t kafka_port(std::uint32_t node) const;
  [[nodiscard]] std::uint16_t peer_port(std::uint32_t node) const;
  // Node 1 of the default Kafka port, 9092, has 9644.
  [[nodiscard]] std::uint16_t admin_port(std::uint32_t node) const;
  // Where the node's /metrics is; unset when the settings say something of their own about it.
  [[nodiscard]] std::optional<std::string> metrics_url(std::uint32_t node) const;
  [[nodiscard]] std::string kafka_address(std::uint32_t node) const;
  [[nodiscard]] std::vector<std::string> kafka_addresses() const;
  [[nodiscard]] std::string log_path(std::uint32_t node) const { return node_path(node, "escd.log"); }
  [[nodiscard]] std::string data_path(std::uint32_t node) const { return node_path(node, "data"); }

  // The node's process, if it runs.
  [[nodiscard]] std::optional<ProcessIdentity> process(std::uint32_t node) const;
  [[nodiscard]] std::uint32_t running() const;
  // Errc::already_exists when somebody else has a port of the node.
  [[nodiscard]] Status check_ports(std::uint32_t node) const;
  // Does not wait for the node to serve.
  [[nodiscard]] Status start(std::uint32_t node) const;
  // SIGTERM to every node at once, SIGKILL to those that still run after `patience`. The number killed.
  [[nodiscard]] std::uint32_t stop_all(std::chrono::milliseconds patience) const;
  // Errc::closed with the last lines of its log when a node that was started has ended.
  [[nodiscard]] Status check_running() const;
  // The directory with all data. No node may run.
  [[nodiscard]] Status remove() const;

 private:
  LocalCluster(std::string directory, LocalClusterSettings settings)
      : directory_(std::move(directory)), settings_(std::move(settings)) {}
  [[nodiscard]] std::string node_path(std::uint32_t node, const char* name) const;
  // A node that ended by itself, with the end of its log.
  [[nodiscard]] std::unexpected<Error> ended(std::uint32_t node) const;
  [[nodiscard]] Status write_files() const;
  [[nodiscard]] std::string node_config(std::uint32_t node) const;

  std::string directory_;
  LocalClusterSettings settings_;
};

}  // namespace esc::esctl
