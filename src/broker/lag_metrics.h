// How far the consumer groups that are coordinated on this core are behind, by partition, as gauges. Looked
// at every few seconds, and only when the look before has ended.
//
// Bounded: the first 1,000 partitions of groups that this core meets in the life of the process have a series
// each (of two gauges); how many more there are is a gauge, too (`esctl group lag` shows any group). A series
// is left out of the dump while nothing is known here: another node coordinates the group now, or it is gone.
//
// Threading: the core of the broker. Registering a series takes the registry's mutex, once.
#pragma once

#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "lag_survey.h"

namespace esc::broker {

inline constexpr std::size_t kLagSeriesMax = 1000;

class LagMetrics final : private LagSurvey {
 public:
  LagMetrics(Broker& broker, obs::Scope& scope);
  void do_work(Nanos now);

 private:
  struct Series {
    obs::Gauge* events = nullptr;
    obs::Gauge* seconds = nullptr;
    bool known = false;  // by the survey that is under way
    // -1: not known
    void show(std::int64_t lag_events, std::int64_t lag_seconds) const;
  };
  using Key = std::tuple<std::string, std::string, std::int32_t>;  // group, topic, partition

  void collect();
  [[nodiscard]] Series* series_of(const std::string& group, const std::string& topic, std::int32_t index);
  void done(Broker& broker) override;

  Broker& broker_;
  obs::Scope& scope_;
  obs::Gauge& left_out_;
  std::map<Key, Series> series_;
  std::vector<Series*> asked_;  // of the survey's items
  bool under_way_ = false;
  Nanos next_ = 0;
};

}  // namespace esc::broker
