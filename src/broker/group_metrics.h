// What the groups of this core count by themselves, Raft groups and consumer groups, summed up into the
// metrics once a second. How far consumer groups are behind is LagMetrics'.
//
// Threading: the core of the broker.
#pragma once

#include <array>

#include "esc/broker/broker.h"
#include "lag_metrics.h"

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
  LagMetrics lag_;
  Nanos next_ = 0;
};

}  // namespace esc::broker
