// DescribeNodes (key 20002), version 0: our own, for esctl. The nodes of the cluster as the one that is asked
// knows them, with those that Metadata leaves out because they are gone.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct DescribeNodesRequest {
  static constexpr ApiKey kApi = ApiKey::describe_nodes;
  static constexpr bool kIsRequest = true;

  static void describe(auto&, auto&) {}
};

struct DescribeNodesResponse {
  static constexpr ApiKey kApi = ApiKey::describe_nodes;
  static constexpr bool kIsRequest = false;

  struct Node {
    std::int32_t node_id = 0;
    String host{};  // for clients
    std::int32_t port = 0;
    String peer_host{};  // for the other nodes; empty: a single node
    std::int32_t peer_port = 0;
    String rack{};
    bool gone = false;     // the node that is asked has had no link to it for a while
    bool leaving = false;  // it is being removed

    static void describe(auto& field, auto& self) {
      field("node_id", self.node_id);
      field("host", self.host);
      field("port", self.port);
      field("peer_host", self.peer_host);
      field("peer_port", self.peer_port);
      field("rack", self.rack);
      field("gone", self.gone);
      field("leaving", self.leaving);
    }
  };

  ErrorCode error_code = ErrorCode::none;
  std::int32_t node_id = 0;  // who answers
  bool recorded = false;     // group 0's log has the nodes; otherwise they are those of the configuration
  Array<Node> nodes{};       // ascending by id

  static void describe(auto& field, auto& self) {
    field("error_code", self.error_code);
    field("node_id", self.node_id);
    field("recorded", self.recorded);
    field("nodes", self.nodes);
  }
};

}  // namespace esc::wire
