// What compaction has done to the groups of this core, as metrics. Private to the broker.
#pragma once

#include "esc/broker/broker.h"

namespace esc::broker {

class CompactionMetrics {
 public:
  explicit CompactionMetrics(Broker& broker) : broker_(broker) {}
  // Brings them up to date from time to time.
  void do_work(Nanos now);

 private:
  Broker& broker_;
  Nanos next_ = 0;
};

}  // namespace esc::broker
