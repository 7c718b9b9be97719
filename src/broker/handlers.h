// One handler per API, each in its own file under api/. A handler ends, at once or later, with
// Broker::respond, Broker::complete or Broker::protocol_error for its request.
#pragma once

#include "esc/broker/broker.h"

namespace esc::broker {

// Picks the handler; answers ApiVersions of unknown versions, closes on anything unsupported.
void handle_request(Broker& broker, Request& request);

void handle_api_versions(Broker& broker, Request& request);
void handle_metadata(Broker& broker, Request& request);
void handle_produce(Broker& broker, Request& request);
void handle_fetch(Broker& broker, Request& request);
void handle_list_offsets(Broker& broker, Request& request);
void handle_create_topics(Broker& broker, Request& request);
void handle_delete_topics(Broker& broker, Request& request);
void handle_create_partitions(Broker& broker, Request& request);
void handle_describe_configs(Broker& broker, Request& request);
void handle_find_coordinator(Broker& broker, Request& request);
void handle_describe_cluster(Broker& broker, Request& request);

}  // namespace esc::broker
