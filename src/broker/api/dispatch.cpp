#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/api_versions.h"

namespace esc::broker {
namespace {

constexpr wire::ApiKey kImplemented[] = {
    wire::ApiKey::produce,           wire::ApiKey::fetch,
    wire::ApiKey::list_offsets,      wire::ApiKey::metadata,
    wire::ApiKey::api_versions,      wire::ApiKey::create_topics,
    wire::ApiKey::delete_topics,     wire::ApiKey::describe_configs,
    wire::ApiKey::create_partitions, wire::ApiKey::describe_cluster,
    wire::ApiKey::find_coordinator,  wire::ApiKey::join_group,
    wire::ApiKey::sync_group,        wire::ApiKey::heartbeat,
    wire::ApiKey::leave_group,       wire::ApiKey::offset_commit,
    wire::ApiKey::offset_fetch,      wire::ApiKey::offset_delete,
    wire::ApiKey::describe_groups,   wire::ApiKey::list_groups,
    wire::ApiKey::delete_groups,     wire::ApiKey::init_producer_id,
    wire::ApiKey::alter_configs,     wire::ApiKey::incremental_alter_configs,
    wire::ApiKey::delete_records,    wire::ApiKey::offset_for_leader_epoch,
    wire::ApiKey::describe_log_dirs,
};

void answer_api_versions(Broker& broker, Request& request, wire::ErrorCode code) {
  wire::ApiVersionsResponse response;
  response.error_code = code;
  const auto memory = broker.allocate<std::byte>(request, 2048);
  Arena arena(memory);
  response.api_keys = wire::advertised_versions(kImplemented, arena);
  broker.respond(request, response);
}

}  // namespace

void handle_api_versions(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::ApiVersionsRequest>(request);
  if (asked == nullptr) return;
  const bool valid =
      request.header.version < 3 || (wire::valid_client_software(asked->client_software_name) &&
                                     wire::valid_client_software(asked->client_software_version));
  answer_api_versions(broker, request, valid ? wire::ErrorCode::none : wire::ErrorCode::invalid_request);
}

void handle_request(Broker& broker, Request& request) {
  if (!request.header.version_supported) {
    if (request.header.api->key != wire::ApiKey::api_versions) {
      broker.protocol_error(request, "this version of the API is not supported");
      return;
    }
    request.header.version = 0;  // KIP-511: the client reads the ranges and asks again
    answer_api_versions(broker, request, wire::ErrorCode::unsupported_version);
    return;
  }
  switch (request.header.api->key) {
    case wire::ApiKey::api_versions: return handle_api_versions(broker, request);
    case wire::ApiKey::metadata: return handle_metadata(broker, request);
    case wire::ApiKey::produce: return handle_produce(broker, request);
    case wire::ApiKey::fetch: return handle_fetch(broker, request);
    case wire::ApiKey::list_offsets: return handle_list_offsets(broker, request);
    case wire::ApiKey::create_topics: return handle_create_topics(broker, request);
    case wire::ApiKey::delete_topics: return handle_delete_topics(broker, request);
    case wire::ApiKey::create_partitions: return handle_create_partitions(broker, request);
    case wire::ApiKey::describe_configs: return handle_describe_configs(broker, request);
    case wire::ApiKey::describe_cluster: return handle_describe_cluster(broker, request);
    case wire::ApiKey::alter_nodes: return handle_alter_nodes(broker, request);
    case wire::ApiKey::describe_nodes: return handle_describe_nodes(broker, request);
    case wire::ApiKey::find_coordinator: return handle_find_coordinator(broker, request);
    case wire::ApiKey::join_group: return handle_join_group(broker, request);
    case wire::ApiKey::sync_group: return handle_sync_group(broker, request);
    case wire::ApiKey::heartbeat: return handle_heartbeat(broker, request);
    case wire::ApiKey::leave_group: return handle_leave_group(broker, request);
    case wire::ApiKey::offset_commit: return handle_offset_commit(broker, request);
    case wire::ApiKey::offset_fetch: return handle_offset_fetch(broker, request);
    case wire::ApiKey::offset_delete: return handle_offset_delete(broker, request);
    case wire::ApiKey::describe_groups: return handle_describe_groups(broker, request);
    case wire::ApiKey::list_groups: return handle_list_groups(broker, request);
    case wire::ApiKey::delete_groups: return handle_delete_groups(broker, request);
    case wire::ApiKey::group_lag: return handle_group_lag(broker, request);
    case wire::ApiKey::alter_configs: return handle_alter_configs(broker, request);
    case wire::ApiKey::incremental_alter_configs: return handle_incremental_alter_configs(broker, request);
    case wire::ApiKey::describe_log_dirs: return handle_describe_log_dirs(broker, request);
    case wire::ApiKey::delete_records: return handle_delete_records(broker, request);
    case wire::ApiKey::offset_for_leader_epoch: return handle_offset_for_leader_epoch(broker, request);
    case wire::ApiKey::init_producer_id: return handle_init_producer_id(broker, request);
    case wire::ApiKey::node_status: return handle_node_status(broker, request);
    default: return broker.protocol_error(request, "this API is not supported");
  }
}

}  // namespace esc::broker
