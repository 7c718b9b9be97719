// The nodes of the cluster, as other nodes and clients find them. Until `esctl node` has changed them for the
// first time they are those of the configuration file; from then on those of group 0's log.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "esc/base/byte_codec.h"
#include "esc/base/ids.h"

namespace esc::replica {

struct NodeRecord {
  NodeId node{};
  std::string host{};  // where clients connect to
  std::uint16_t port = 0;
  std::string peer_host{};  // where the other nodes connect to: numeric
  std::uint16_t peer_port = 0;
  std::string rack{};
  bool leaving = false;  // every group takes it out of its members, then the record goes
  bool operator==(const NodeRecord&) const = default;
};

struct NodeList {
  std::vector<NodeRecord> nodes;  // ascending by id
  std::vector<NodeId> removed;    // ids that were of the cluster once; ascending
  bool operator==(const NodeList&) const = default;

  [[nodiscard]] const NodeRecord* find(NodeId node) const {
    for (const NodeRecord& record : nodes) {
      if (record.node == node) return &record;
    }
    return nullptr;
  }
  // As long as the log has no nodes the configured ones are all there are: nobody leaves.
  [[nodiscard]] bool stays(NodeId node) const {
    const NodeRecord* const record = find(node);
    return nodes.empty() || (record != nullptr && !record->leaving);
  }
};

// docs/PROTOCOL.md, "Nodes".
void encode(const NodeList& list, ByteWriter& writer);
// What does not decode leaves the reader failed.
[[nodiscard]] NodeList decode_node_list(ByteReader& reader);

}  // namespace esc::replica
