#include "engine.h"
#include "esc/wire/api/alter_nodes.h"
#include "esc/wire/api/api_versions.h"
#include "esc/wire/api/describe_cluster.h"
#include "esc/wire/api/describe_nodes.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/api/node_status.h"

namespace esc::wire {

ESC_WIRE_INSTANTIATE_CODEC(MetadataRequest);
ESC_WIRE_INSTANTIATE_CODEC(MetadataResponse);
ESC_WIRE_INSTANTIATE_CODEC(ApiVersionsRequest);
ESC_WIRE_INSTANTIATE_CODEC(ApiVersionsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DescribeClusterRequest);
ESC_WIRE_INSTANTIATE_CODEC(DescribeClusterResponse);
ESC_WIRE_INSTANTIATE_CODEC(AlterNodesRequest);
ESC_WIRE_INSTANTIATE_CODEC(AlterNodesResponse);
ESC_WIRE_INSTANTIATE_CODEC(DescribeNodesRequest);
ESC_WIRE_INSTANTIATE_CODEC(DescribeNodesResponse);
ESC_WIRE_INSTANTIATE_CODEC(NodeStatusRequest);
ESC_WIRE_INSTANTIATE_CODEC(NodeStatusResponse);

}  // namespace esc::wire
