// NodeStatus (key 20000), version 0: what one node knows of itself and its groups. Not Kafka's: keys from
// 20000 on are this project's own, framed and encoded like the others, never advertised. For esctl and tests.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct NodeStatusRequest {
  static constexpr ApiKey kApi = ApiKey::node_status;
  static constexpr bool kIsRequest = true;

  static void describe(auto&, auto&) {}
};

struct NodeStatusResponse {
  static constexpr ApiKey kApi = ApiKey::node_status;
  static constexpr bool kIsRequest = false;

  struct Peer {
    std::int32_t node_id = 0;
    std::int8_t state = 0;              // raft::ProgressState: 0 probe, 1 replicate, 2 snapshot, 3 regressed
    std::int64_t match_index = 0;       // durable there
    std::int64_t received_index = 0;    // arrived there
    std::int64_t last_contact_ms = -1;  // since it was heard from; -1: not in this term

    static void describe(auto& field, auto& self) {
      field("node_id", self.node_id);
      field("state", self.state);
      field("match_index", self.match_index);
      field("received_index", self.received_index);
      field("last_contact_ms", self.last_contact_ms);
    }
  };

  struct Group {
    std::int32_t group_id = 0;
    std::int8_t role = 0;  // raft::Role: 0 follower, 1 pre-candidate, 2 candidate, 3 leader
    bool serving = false;  // leads and may assign offsets
    std::int64_t term = 0;
    std::int32_t leader_id = -1;  // as known here; -1: nobody
    std::int64_t commit_index = 0;
    std::int64_t last_index = 0;
    std::int64_t durable_index = 0;
    std::int64_t applied_index = 0;
    std::int32_t partitions = 0;
    std::int64_t records = 0;              // sum of the partitions' high watermarks
    std::int64_t elected_ms = -1;          // since a new leader was last heard of here; -1: never
    std::int32_t previous_leader_id = -1;  // before that one; -1: none since this node started
    Array<Peer> peers{};                   // of the leader
    Array<std::int32_t> voters{};          // in force here
    Array<std::int32_t> learners{};        // get the log, do not vote

    static void describe(auto& field, auto& self) {
      field("group_id", self.group_id);
      field("role", self.role);
      field("serving", self.serving);
      field("term", self.term);
      field("leader_id", self.leader_id);
      field("commit_index", self.commit_index);
      field("last_index", self.last_index);
      field("durable_index", self.durable_index);
      field("applied_index", self.applied_index);
      field("partitions", self.partitions);
      field("records", self.records);
      field("elected_ms", self.elected_ms);
      field("previous_leader_id", self.previous_leader_id);
      field("peers", self.peers);
      field("voters", self.voters);
      field("learners", self.learners);
    }
  };

  ErrorCode error_code = ErrorCode::none;
  std::int32_t node_id = 0;
  String cluster_id{};
  String version{};  // of the build
  std::int64_t uptime_ms = 0;
  std::int32_t cores = 0;
  Array<Group> groups{};  // ascending by id

  static void describe(auto& field, auto& self) {
    field("error_code", self.error_code);
    field("node_id", self.node_id);
    field("cluster_id", self.cluster_id);
    field("version", self.version);
    field("uptime_ms", self.uptime_ms);
    field("cores", self.cores);
    field("groups", self.groups);
  }
};

}  // namespace esc::wire
