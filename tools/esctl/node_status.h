// What every node of the cluster says of itself and its groups, side by side.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cluster_client.h"

namespace esc::esctl {

struct PeerReport {
  std::int32_t node = -1;
  std::int8_t state = 0;  // raft::ProgressState
  std::int64_t match = 0;
  std::int64_t last_contact_ms = -1;
};

struct GroupReport {
  std::int8_t role = 0;  // raft::Role
  bool serving = false;
  std::int64_t term = 0;
  std::int32_t leader = -1;
  std::int64_t commit = 0;
  std::int64_t last = 0;
  std::int64_t durable = 0;
  std::int64_t applied = 0;
  std::int64_t records = 0;
  std::int64_t elected_ms = -1;
  std::int32_t previous_leader = -1;
  std::vector<PeerReport> peers;  // of the leader
  std::vector<std::int32_t> voters;
  std::vector<std::int32_t> learners;
};

struct NodeReport {
  std::int32_t id = -1;
  std::string address;
  std::string trouble;  // why it gave no answer; empty when it did
  std::string version;
  std::int64_t uptime_ms = 0;
  std::vector<GroupReport> groups;  // by number

  [[nodiscard]] bool answered() const { return trouble.empty(); }
};

struct ClusterReport {
  std::string cluster_id;
  std::int32_t controller = -1;
  std::int64_t topics = 0;
  std::int64_t partitions = 0;
  std::int64_t without_leader = 0;
  std::vector<NodeReport> nodes;  // by id

  [[nodiscard]] std::size_t groups() const;
  // The node that leads the group in the highest term any node knows; nullptr: nobody does.
  [[nodiscard]] const NodeReport* leader_of(std::size_t group) const;
};

// Asks any node for the list, then every node. Fails only when no node answers.
[[nodiscard]] Result<ClusterReport> report_cluster(const Bootstrap& bootstrap, Deadline deadline);

// Every node answers, every group has a leader, and every follower has all but the last few entries.
[[nodiscard]] bool caught_up(const ClusterReport& report);

}  // namespace esc::esctl
