// Every message of the module, for tests that hold for all of them.
#pragma once

#include <string>

#include "esc/wire/api/alter_configs.h"
#include "esc/wire/api/api_versions.h"
#include "esc/wire/api/create_partitions.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_groups.h"
#include "esc/wire/api/delete_records.h"
#include "esc/wire/api/delete_topics.h"
#include "esc/wire/api/describe_cluster.h"
#include "esc/wire/api/describe_configs.h"
#include "esc/wire/api/describe_groups.h"
#include "esc/wire/api/describe_log_dirs.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/find_coordinator.h"
#include "esc/wire/api/heartbeat.h"
#include "esc/wire/api/incremental_alter_configs.h"
#include "esc/wire/api/init_producer_id.h"
#include "esc/wire/api/join_group.h"
#include "esc/wire/api/leave_group.h"
#include "esc/wire/api/list_groups.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/metadata.h"
#include "esc/wire/api/offset_commit.h"
#include "esc/wire/api/offset_delete.h"
#include "esc/wire/api/offset_fetch.h"
#include "esc/wire/api/offset_for_leader_epoch.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/api/sync_group.h"

namespace esc::wire::test {

// Kafka's name: "FetchRequest".
template <class Message>
std::string message_name() {
  return std::string(api_info(Message::kApi).name) + (Message::kIsRequest ? "Request" : "Response");
}

// Calls visit.template operator()<Message>() for each.
template <class Visit>
void for_each_message(Visit&& visit) {
  auto all = [&]<class... Message>() { (visit.template operator()<Message>(), ...); };
  all.template operator()<
      ProduceRequest, ProduceResponse, FetchRequest, FetchResponse, ListOffsetsRequest, ListOffsetsResponse,
      MetadataRequest, MetadataResponse, OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest,
      OffsetFetchResponse, FindCoordinatorRequest, FindCoordinatorResponse, JoinGroupRequest,
      JoinGroupResponse, HeartbeatRequest, HeartbeatResponse, LeaveGroupRequest, LeaveGroupResponse,
      SyncGroupRequest, SyncGroupResponse, ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest,
      CreateTopicsResponse, DeleteTopicsRequest, DeleteTopicsResponse, InitProducerIdRequest,
      InitProducerIdResponse, DescribeConfigsRequest, DescribeConfigsResponse, CreatePartitionsRequest,
      CreatePartitionsResponse, DescribeClusterRequest, DescribeClusterResponse, AlterConfigsRequest,
      AlterConfigsResponse, DeleteRecordsRequest, DeleteRecordsResponse, DescribeLogDirsRequest,
      DescribeLogDirsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
      OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, DescribeGroupsRequest,
      DescribeGroupsResponse, ListGroupsRequest, ListGroupsResponse, DeleteGroupsRequest,
      DeleteGroupsResponse, OffsetDeleteRequest, OffsetDeleteResponse>();
}

}  // namespace esc::wire::test
