// What the groups of this core count by themselves, summed up into the metrics once a second.
//
// Threading: the core of the broker.
#pragma once

#include "esc/broker/broker.h"

namespace esc::broker {

class GroupMetrics {
 public:
  explicit GroupMetrics(Broker& broker) : broker_(broker) {}
  // Brings them up to date from time to time.
  void do_work(Nanos now);

 private:
  Broker& broker_;
  Nanos next_ = 0;
};

}  // namespace esc::broker
