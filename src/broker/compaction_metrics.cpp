#include "compaction_metrics.h"

namespace esc::broker {

void CompactionMetrics::do_work(Nanos now) {
  if (now < next_) return;
  next_ = now + kSecond;
  replica::CompactionStats all;
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    const replica::Group* const group = broker_.group(GroupId(id));
    if (group == nullptr) continue;
    const replica::CompactionStats& stats = group->stats().compaction;
    all.passes += stats.passes;
    all.segments += stats.segments;
    all.bytes_before += stats.bytes_before;
    all.bytes_after += stats.bytes_after;
    all.records_removed += stats.records_removed;
    all.nanos += stats.nanos;
  }
  BrokerMetrics& metrics = broker_.metrics();
  metrics.compactions.set(static_cast<std::int64_t>(all.passes));
  metrics.compacted_segments.set(static_cast<std::int64_t>(all.segments));
  metrics.compaction_bytes_before.set(static_cast<std::int64_t>(all.bytes_before));
  metrics.compaction_bytes_after.set(static_cast<std::int64_t>(all.bytes_after));
  metrics.compaction_records_removed.set(static_cast<std::int64_t>(all.records_removed));
  metrics.compaction_seconds.set(static_cast<std::int64_t>(all.nanos / static_cast<std::uint64_t>(kSecond)));
}

}  // namespace esc::broker
