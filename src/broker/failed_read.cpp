#include "failed_read.h"

namespace esc::broker {

wire::ErrorCode failed_read(Broker& broker, GroupId group_id, PartitionId partition_id, Errc code) {
  if (code == Errc::out_of_range || code == Errc::not_found) return wire::ErrorCode::offset_out_of_range;
  replica::Group& group = *broker.group(group_id);
  const replica::Partition* const partition = group.find(partition_id);
  const std::string_view detail = partition == nullptr ? std::string_view("") : partition->log().last_error();
  broker.log().error("segment_read_failed",
                     {{"cause", code},
                      {"detail", detail},
                      {"fix", "the damaged range is not served; other partitions are not affected"}});
  if (code == Errc::corruption && partition != nullptr) group.report_damage(detail);
  return wire::ErrorCode::kafka_storage_error;
}

}  // namespace esc::broker
