// AlterNodes (key 20003), version 0: our own, for esctl node. Changes the nodes of the cluster; answered by
// the controller when the change is committed and known to every core there. What follows from it goes on by
// itself.
#pragma once

#include "esc/wire/api.h"
#include "esc/wire/error_code.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire {

struct AlterNodesRequest {
  static constexpr ApiKey kApi = ApiKey::alter_nodes;
  static constexpr bool kIsRequest = true;
  static constexpr std::int8_t kAdd = 1;
  static constexpr std::int8_t kRemove = 2;

  std::int8_t action = kAdd;
  std::int32_t node_id = 0;
  String host{};  // for clients; this and what follows only to add
  std::int32_t port = 0;
  String peer_host{};
  std::int32_t peer_port = 0;
  String rack{};

  static void describe(auto& field, auto& self) {
    field("action", self.action);
    field("node_id", self.node_id);
    field("host", self.host);
    field("port", self.port);
    field("peer_host", self.peer_host);
    field("peer_port", self.peer_port);
    field("rack", self.rack);
  }
};

struct AlterNodesResponse {
  static constexpr ApiKey kApi = ApiKey::alter_nodes;
  static constexpr bool kIsRequest = false;

  ErrorCode error_code = ErrorCode::none;
  String error_message{};

  static void describe(auto& field, auto& self) {
    field("error_code", self.error_code);
    field("error_message", self.error_message);
  }
};

}  // namespace esc::wire
