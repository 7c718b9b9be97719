// A node of the cluster, as the other nodes and the clients find it.
#pragma once

#include <cstdint>
#include <string>

#include "esc/base/ids.h"

namespace esc::replica {

struct NodeRecord {
  NodeId node{};
  std::string host{};  // where clients connect to
  std::uint16_t port = 0;
  std::string peer_host{};  // where the other nodes connect to
  std::uint16_t peer_port = 0;
  std::string rack{};
  bool operator==(const NodeRecord&) const = default;
};

}  // namespace esc::replica
