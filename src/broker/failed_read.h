// What a client is told of a partition whose segment files could not be read, and who else hears of it.
#pragma once

#include "esc/broker/broker.h"

namespace esc::broker {

// `code` is that of a store operation on the partition that has just failed; the partition may be gone by
// now. Logs it, and reports damage to the partition's group, which then learns the data again from its peers.
// offset_out_of_range when retention was faster, else kafka_storage_error. On the group's core.
[[nodiscard]] wire::ErrorCode failed_read(Broker& broker, GroupId group, PartitionId partition, Errc code);

}  // namespace esc::broker
