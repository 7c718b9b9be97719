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

// Consumer groups have the label "group".
obs::Labels label(GroupId id) {
  return {{"raft_group", std::to_string(id.value())}};
}

}  // namespace

GroupMetrics::Compaction::Compaction(obs::Scope& scope)
    : passes{scope.counter("esc_compactions_total", "Compactions of partitions that were finished.")},
      segments{scope.counter("esc_compaction_segments_total", "Segments that compactions have replaced.")},
      bytes_before{
          scope.counter("esc_compaction_read_bytes_total", "Bytes of segments before their compaction.")},
      bytes_after{
          scope.counter("esc_compaction_written_bytes_total", "Bytes of segments after their compaction.")},
      records_removed{
          scope.counter("esc_compaction_removed_records_total", "Records that compactions have removed.")},
      nanos{scope.counter("esc_compaction_seconds_total", "Time that compactions took, pauses included.", {},
                          obs::Unit::nanoseconds_as_seconds)} {}

void GroupMetrics::Compaction::follow(const replica::CompactionStats& stats) {
  passes.follow(stats.passes);
  segments.follow(stats.segments);
  bytes_before.follow(stats.bytes_before);
  bytes_after.follow(stats.bytes_after);
  records_removed.follow(stats.records_removed);
  nanos.follow(stats.nanos);
}

GroupMetrics::EventIds::EventIds(obs::Scope& scope)
    : ids(scope.gauge("esc_dedup_window_ids", "Event ids that the windows of all replicas here hold.")),
      memory_bytes(scope.gauge("esc_dedup_memory_bytes", "Memory of the event ids in the windows.")),
      expired{scope.counter("esc_dedup_expired_ids_total",
                            "Event ids forgotten at the end of their window (dedup.window.ms).")},
      evicted{scope.counter("esc_dedup_evicted_ids_total",
                            "Event ids forgotten before the end of their window (dedup.window.bytes).")},
      file_reads{scope.counter("esc_dedup_file_reads_total", "Blocks of event ids read from files.")} {}

void GroupMetrics::EventIds::follow(const replica::EventIdStats& stats) {
  set(ids, stats.ids);
  set(memory_bytes, stats.memory_bytes);
  expired.follow(stats.expired);
  evicted.follow(stats.evicted);
  file_reads.follow(stats.file_reads);
}

GroupMetrics::RaftGroup::RaftGroup(obs::Scope& scope, GroupId id)
    : leader(scope.gauge("esc_raft_leader", "1 while this node leads the Raft group, else 0.", label(id))),
      term(scope.gauge("esc_raft_term", "Term of the Raft group: it grows with each election.", label(id))),
      commit_index(scope.gauge("esc_raft_commit_index",
                               "Last entry of the Raft group's log known to be committed.", label(id))),
      wal_bytes(scope.gauge("esc_wal_bytes", "Bytes in the Raft group's write-ahead log.", label(id))),
      disk_full(scope.gauge("esc_disk_full",
                            "1 while this leader refuses producers because its disk is full, else 0.",
                            label(id))),
      damage_found{scope.counter("esc_damage_found_total", "Reads that met bytes which fail their checksum.",
                                 label(id))} {}

void GroupMetrics::RaftGroup::show(const replica::Group& group) {
  leader.set(group.leading() ? 1 : 0);
  set(term, group.term().value());
  set(commit_index, group.commit_index().value());
  set(wal_bytes, group.wal().live_bytes());
  disk_full.set(group.accepting() == Errc::no_space ? 1 : 0);
  damage_found.follow(group.stats().damage_found);
}

GroupMetrics::GroupMetrics(Broker& broker, obs::Scope& scope)
    : broker_(broker),
      scope_(scope),
      members_(scope.gauge("esc_consumer_group_members", "Members of the consumer groups coordinated here.")),
      rebalances_(scope.counter("esc_consumer_group_rebalances_total",
                                "Generations begun by consumer groups coordinated here.")),
      members_expired_(scope.counter("esc_consumer_group_members_expired_total",
                                     "Members of consumer groups whose session timed out.")),
      commits_(scope.counter("esc_offset_commits_total", "Offset commits of consumer groups in the log.")),
      offsets_committed_(
          scope.counter("esc_offsets_committed_total", "Offsets in the commits of consumer groups.")),
      compaction_(scope),
      event_ids_(scope),
      lag_(broker, scope) {
  using enum coord::Phase;
  for (const coord::Phase phase : {empty, preparing, completing, stable}) {
    groups_[static_cast<std::size_t>(phase)] =
        &scope.gauge("esc_consumer_groups", "Consumer groups coordinated here, by state.",
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

void GroupMetrics::count_raft_groups() {
  replica::CompactionStats compaction;
  replica::EventIdStats ids;
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    const replica::Group* const group = broker_.group(GroupId(id));
    if (group == nullptr) continue;
    add(compaction, group->stats().compaction);
    add(ids, group->event_id_stats());
    raft_groups_.try_emplace(GroupId(id), scope_, GroupId(id)).first->second.show(*group);
  }
  compaction_.follow(compaction);
  event_ids_.follow(ids);
}

void GroupMetrics::do_work(Nanos now) {
  lag_.do_work(now);
  if (now < next_) return;
  next_ = now + kSecond;
  count_consumer_groups();
  count_raft_groups();
}

}  // namespace esc::broker
