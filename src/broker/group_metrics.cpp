#include "group_metrics.h"

#include <utility>

#include "coordinators.h"

namespace esc::broker {
namespace {

void add(replica::CompactionStats& all, const replica::CompactionStats& stats) {
  all.passes += stats.passes;
  all.segments += stats.segments;
  all.bytes_before += stats.bytes_before;
  all.bytes_after += stats.bytes_after;
  all.records_removed += stats.records_removed;
  all.nanos += stats.nanos;
}

void add(replica::EventIdStats& all, const replica::EventIdStats& stats) {
  all.ids += stats.ids;
  all.memory_bytes += stats.memory_bytes;
  all.expired += stats.expired;
  all.evicted += stats.evicted;
  all.file_reads += stats.file_reads;
}

void set(obs::Gauge& gauge, std::uint64_t value) {
  gauge.set(static_cast<std::int64_t>(value));
}

}  // namespace

GroupMetrics::GroupMetrics(Broker& broker, obs::Scope& scope)
    : broker_(broker),
      members_(scope.gauge("esc_consumer_group_members", "Members of the consumer groups coordinated here")),
      rebalances_(
          scope.counter("esc_consumer_group_rebalances_total", "Generations of consumer groups begun")),
      members_expired_(
          scope.counter("esc_consumer_group_members_expired_total", "Members whose session timed out")),
      commits_(scope.counter("esc_offset_commits_total", "Commits of offsets that are in the log")),
      offsets_committed_(scope.counter("esc_offsets_committed_total", "Offsets in them")),
      lag_(broker, scope) {
  using enum coord::Phase;
  for (const coord::Phase phase : {empty, preparing, completing, stable}) {
    groups_[static_cast<std::size_t>(phase)] =
        &scope.gauge("esc_consumer_groups", "Consumer groups coordinated here, by state",
                     {{"state", std::string(to_string(phase))}});
  }
}

void GroupMetrics::count_consumer_groups() {
  const Coordinators::Totals now = broker_.coordinators().totals();
  for (std::size_t i = 0; i < groups_.size(); ++i) {
    if (groups_[i] != nullptr) set(*groups_[i], now.groups.groups[i]);
  }
  set(members_, now.groups.members);
  const coord::CoordinatorStats before = std::exchange(counted_, now.stats);
  rebalances_.add(counted_.rebalances - before.rebalances);
  members_expired_.add(counted_.members_expired - before.members_expired);
  commits_.add(counted_.commits - before.commits);
  offsets_committed_.add(counted_.offsets_committed - before.offsets_committed);
}

void GroupMetrics::do_work(Nanos now) {
  lag_.do_work(now);
  if (now < next_) return;
  next_ = now + kSecond;
  count_consumer_groups();
  replica::CompactionStats compaction;
  replica::EventIdStats ids;
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    const replica::Group* const group = broker_.group(GroupId(id));
    if (group == nullptr) continue;
    add(compaction, group->stats().compaction);
    add(ids, group->event_id_stats());
  }
  BrokerMetrics& metrics = broker_.metrics();
  set(metrics.compactions, compaction.passes);
  set(metrics.compacted_segments, compaction.segments);
  set(metrics.compaction_bytes_before, compaction.bytes_before);
  set(metrics.compaction_bytes_after, compaction.bytes_after);
  set(metrics.compaction_records_removed, compaction.records_removed);
  set(metrics.compaction_seconds, compaction.nanos / static_cast<std::uint64_t>(kSecond));
  set(metrics.dedup_ids, ids.ids);
  set(metrics.dedup_memory_bytes, ids.memory_bytes);
  set(metrics.dedup_expired, ids.expired);
  set(metrics.dedup_evicted, ids.evicted);
  set(metrics.dedup_file_reads, ids.file_reads);
}

}  // namespace esc::broker
