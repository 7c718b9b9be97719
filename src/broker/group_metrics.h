// What the groups of this core count by themselves, Raft groups and consumer groups, summed up into the
// metrics once a second. How far consumer groups are behind is LagMetrics'.
//
// Threading: the core of the broker.
#pragma once

#include <array>
#include <map>

#include "esc/broker/broker.h"
#include "lag_metrics.h"

namespace esc::broker {

class GroupMetrics {
 public:
  GroupMetrics(Broker& broker, obs::Scope& scope);
  // Brings them up to date from time to time.
  void do_work(Nanos now);

 private:
  // A counter that follows a sum over partitions, which falls when one of them is deleted.
  struct Followed {
    obs::Counter& counter;
    std::uint64_t sum = 0;
    void follow(std::uint64_t now) {
      if (now > sum) counter.add(now - sum);
      sum = now;
    }
  };
  struct Compaction {
    explicit Compaction(obs::Scope& scope);
    void follow(const replica::CompactionStats& stats);
    Followed passes, segments, bytes_before, bytes_after, records_removed, nanos;
  };
  struct EventIds {
    explicit EventIds(obs::Scope& scope);
    void follow(const replica::EventIdStats& stats);
    obs::Gauge& ids;
    obs::Gauge& memory_bytes;
    Followed expired, evicted, file_reads;
  };
  // Of one Raft group, as this node sees it.
  struct RaftGroup {
    RaftGroup(obs::Scope& scope, GroupId id);
    void show(const replica::Group& group);
    obs::Gauge& leader;
    obs::Gauge& term;
    obs::Gauge& commit_index;
    obs::Gauge& wal_bytes;
    obs::Gauge& disk_full;
    Followed damage_found;
  };

  void count_consumer_groups();
  void count_raft_groups();

  Broker& broker_;
  obs::Scope& scope_;
  std::array<obs::Gauge*, coord::kPhases> groups_{};  // by phase; null: of none that counts
  obs::Gauge& members_;
  obs::Counter& rebalances_;
  obs::Counter& members_expired_;
  obs::Counter& commits_;
  obs::Counter& offsets_committed_;
  coord::CoordinatorStats counted_;  // is in the counters
  Compaction compaction_;
  EventIds event_ids_;
  std::map<GroupId, RaftGroup> raft_groups_;
  LagMetrics lag_;
  Nanos next_ = 0;
};

}  // namespace esc::broker
