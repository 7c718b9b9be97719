// What is asked about a topic, checked against the catalog as it is, becomes a command of group 0's log.
//
// Threading: the core of group 0, at the node that leads it. Cold: allocates.
#pragma once

#include <vector>

#include "admin_call.h"

namespace esc::broker {

// Either `command` or the order's outcome: why there is none. A command that is to be committed may still
// come with what the order left open (id, name, number of partitions).
void encode_order(Broker& broker, const replica::Catalog& master, TopicOrder& order,
                  std::vector<std::byte>& command);

}  // namespace esc::broker
