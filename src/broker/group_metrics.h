// What the groups of this core count by themselves, Raft groups and consumer groups, summed up into the
// metrics once a second. How far a consumer group is behind is not among them: a series for each group would
// have no bound, and the ends of its partitions are on other cores (`esctl group lag` asks them).
//
// Threading: the core of the broker.
#pragma once

#include <array>

#include "esc/broker/broker.h"

namespace esc::broker {

class GroupMetrics {
 public:
  GroupMetrics(Broker& broker, obs::Scope& scope);
  // Brings them up to date from time to time.
  void do_work(Nanos now);

 private:
  void count_consumer_groups();

  Broker& broker_;
  std::array<obs::Gauge*, coord::kPhases> groups_{};  // by phase; null: of none that counts
  obs::Gauge& members_;
  obs::Counter& rebalances_;
  obs::Counter& members_expired_;
  obs::Counter& commits_;
  obs::Counter& offsets_committed_;
  coord::CoordinatorStats counted_;  // is in the counters
  Nanos next_ = 0;
};

}  // namespace esc::broker
