#include "engine.h"
#include "esc/wire/api/delete_groups.h"
#include "esc/wire/api/describe_groups.h"
#include "esc/wire/api/find_coordinator.h"
#include "esc/wire/api/group_lag.h"
#include "esc/wire/api/heartbeat.h"
#include "esc/wire/api/init_producer_id.h"
#include "esc/wire/api/join_group.h"
#include "esc/wire/api/leave_group.h"
#include "esc/wire/api/list_groups.h"
#include "esc/wire/api/offset_commit.h"
#include "esc/wire/api/offset_delete.h"
#include "esc/wire/api/offset_fetch.h"
#include "esc/wire/api/sync_group.h"

namespace esc::wire {

ESC_WIRE_INSTANTIATE_CODEC(FindCoordinatorRequest);
ESC_WIRE_INSTANTIATE_CODEC(FindCoordinatorResponse);
ESC_WIRE_INSTANTIATE_CODEC(JoinGroupRequest);
ESC_WIRE_INSTANTIATE_CODEC(JoinGroupResponse);
ESC_WIRE_INSTANTIATE_CODEC(SyncGroupRequest);
ESC_WIRE_INSTANTIATE_CODEC(SyncGroupResponse);
ESC_WIRE_INSTANTIATE_CODEC(HeartbeatRequest);
ESC_WIRE_INSTANTIATE_CODEC(HeartbeatResponse);
ESC_WIRE_INSTANTIATE_CODEC(LeaveGroupRequest);
ESC_WIRE_INSTANTIATE_CODEC(LeaveGroupResponse);
ESC_WIRE_INSTANTIATE_CODEC(OffsetCommitRequest);
ESC_WIRE_INSTANTIATE_CODEC(OffsetCommitResponse);
ESC_WIRE_INSTANTIATE_CODEC(OffsetFetchRequest);
ESC_WIRE_INSTANTIATE_CODEC(OffsetFetchResponse);
ESC_WIRE_INSTANTIATE_CODEC(DescribeGroupsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DescribeGroupsResponse);
ESC_WIRE_INSTANTIATE_CODEC(ListGroupsRequest);
ESC_WIRE_INSTANTIATE_CODEC(ListGroupsResponse);
ESC_WIRE_INSTANTIATE_CODEC(GroupLagRequest);
ESC_WIRE_INSTANTIATE_CODEC(GroupLagResponse);
ESC_WIRE_INSTANTIATE_CODEC(DeleteGroupsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DeleteGroupsResponse);
ESC_WIRE_INSTANTIATE_CODEC(OffsetDeleteRequest);
ESC_WIRE_INSTANTIATE_CODEC(OffsetDeleteResponse);
ESC_WIRE_INSTANTIATE_CODEC(InitProducerIdRequest);
ESC_WIRE_INSTANTIATE_CODEC(InitProducerIdResponse);

}  // namespace esc::wire
