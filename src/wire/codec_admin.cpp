#include "engine.h"
#include "esc/wire/api/create_partitions.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_topics.h"
#include "esc/wire/api/describe_configs.h"

namespace esc::wire {

ESC_WIRE_INSTANTIATE_CODEC(CreateTopicsRequest);
ESC_WIRE_INSTANTIATE_CODEC(CreateTopicsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DeleteTopicsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DeleteTopicsResponse);
ESC_WIRE_INSTANTIATE_CODEC(CreatePartitionsRequest);
ESC_WIRE_INSTANTIATE_CODEC(CreatePartitionsResponse);
ESC_WIRE_INSTANTIATE_CODEC(DescribeConfigsRequest);
ESC_WIRE_INSTANTIATE_CODEC(DescribeConfigsResponse);

}  // namespace esc::wire
