#include "elsewhere.h"

#include <algorithm>

#include "connection.h"

namespace esc::broker {
namespace {

bool knows_a_leader(const Directory& directory) {
  for (std::uint32_t id = 0; id < directory.group_count(); ++id)
    if (directory.leader(GroupId(id)) != NodeId(0)) return true;
  return false;
}

}  // namespace

void note_search_for_leaders(Broker& broker, Request& request) {
  if (request.connection == nullptr) return;
  Nanos& since = request.connection->search_since;
  const bool alone = broker.directory().nodes().size() == 1;
  if (alone || knows_a_leader(broker.directory())) {
    since = 0;
    return;
  }
  const Nanos now = broker.env().clock.now();
  if (since == 0) since = now;
  if (now - since < kLeaderPatience) return;
  request.close_after = true;
  broker.log().log_limited(broker.client_limiter(), obs::Level::info, "client_sent_elsewhere",
                           {{"reason", "this node knows no leader of any group"},
                            {"client", request.connection->address()},
                            {"client_id", request.header.client_id.value_or("")}});
}

}  // namespace esc::broker
