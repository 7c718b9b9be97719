#include "engine.h"
#include "esc/wire/api/alter_configs.h"
#include "esc/wire/api/create_partitions.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_records.h"
#include "esc/wire/api/delete_topics.h"
#include "esc/wire/api/describe_configs.h"
#include "esc/wire/api/describe_log_dirs.h"
#include "esc/wire/api/incremental_alter_configs.h"
#include "esc/wire/api/offset_for_leader_epoch.h"

namespace esc::wire {

ESC_WIRE_INSTANTIATE_CODEC(CreateTopicsRequest);
ESC_WIRE_INSTANTIATE_CODEC(CreateTopicsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DeleteTopicsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DeleteTopicsResponse);
ESC_WIRE_INSTANTIATE_CODEC(CreatePartitionsRequest);
ESC_WIRE_INSTANTIATE_CODEC(CreatePartitionsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DescribeConfigsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DescribeConfigsResponse);
ESC_WIRE_INSTANTIATE_CODEC(AlterConfigsRequest);
ESC_WIRE_INSTANTIATE_CODEC(AlterConfigsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DeleteRecordsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DeleteRecordsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DescribeLogDirsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DescribeLogDirsResponse);
ESC_WIRE_INSTANTIATE_CODEC(IncrementalAlterConfigsRequest);
ESC_WIRE_INSTANTIATE_CODEC(IncrementalAlterConfigsResponse);
ESC_WIRE_INSTANTIATE_CODEC(OffsetForLeaderEpochRequest);
ESC_WIRE_INSTANTIATE_CODEC(OffsetForLeaderEpochResponse);

}  // namespace esc::wire
