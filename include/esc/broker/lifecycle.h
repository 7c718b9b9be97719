// What the shard needs from the broker's controller: metadata in and out of group 0, and the start of
// service. Threading: on the broker's core.
#pragma once

#include <vector>

#include "esc/broker/broker.h"

namespace esc::broker {

void on_metadata(Broker& broker, Index index, ByteView command);
void save_metadata(Broker& broker, std::vector<std::byte>& out);
[[nodiscard]] Status load_metadata(Broker& broker, ByteView state);
void on_partition(Broker& broker, GroupId group, replica::Partition& partition);
// Tells every core who leads the group.
void announce_leadership(Broker& broker, GroupId group, Term term);
// Tells every core the port that clients reach us on, unless one is configured.
void announce_port(Broker& broker, std::uint16_t port);

// On the core of group 0.
[[nodiscard]] bool every_group_led(Broker& broker);
void start_controller(Broker& broker);
[[nodiscard]] bool controller_ready(Broker& broker);

}  // namespace esc::broker
