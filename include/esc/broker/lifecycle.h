// What the shard needs from the broker's controller: metadata in and out of group 0, and the start of
// service. Threading: on the broker's core.
#pragma once

#include <vector>

#include "esc/broker/broker.h"

namespace esc::broker {

void on_metadata(Broker& broker, Index index, ByteView command);
void on_coordinator(Broker& broker, GroupId group, Index index, WallMs timestamp, ByteView command);
// The consumer groups of a group; of group 0 the catalog, too.
void save_metadata(Broker& broker, GroupId group, std::vector<std::byte>& out);
[[nodiscard]] Status load_metadata(Broker& broker, GroupId group, ByteView state);
void on_partition(Broker& broker, GroupId group, replica::Partition& partition);
// Services between brokers (docs/PROTOCOL.md). Values are the protocol.
inline constexpr std::uint16_t kServiceCreateTopics = 64;
inline constexpr std::uint16_t kServiceProducerIdRequest = 65;
inline constexpr std::uint16_t kServiceProducerId = 66;
inline constexpr std::uint16_t kServiceAdmin = 67;
inline constexpr std::uint16_t kServiceAdminDone = 68;
inline constexpr std::uint16_t kServiceInSync = 69;
void on_service(Broker& broker, GroupId group, NodeId from, peer::Service service, ByteView payload);
// Tells every core who leads the group; 0: nobody known. This node only once it may assign offsets.
void announce_leader(Broker& broker, GroupId group, NodeId leader, Term term);
// Tells every core the port that clients reach us on, unless one is configured.
void announce_port(Broker& broker, std::uint16_t port);

// On the core of group 0, once every core is up. A single node waits until it leads its groups; a node of a
// cluster starts at once.
[[nodiscard]] bool controller_may_start(Broker& broker);
void start_controller(Broker& broker);
// The node may listen: its cores have the directory and, in a cluster, every group has a leader or the others
// have had their time (a node without a quorum still answers Metadata).
[[nodiscard]] bool controller_ready(Broker& broker, Nanos now);

}  // namespace esc::broker
