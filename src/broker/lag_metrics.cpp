#include "lag_metrics.h"

#include "coordinators.h"

namespace esc::broker {
namespace {

constexpr Nanos kInterval = 10 * kSecond;
// Of a larger batch the time is not known.
constexpr std::size_t kBatchBytesMax = 256 * 1024;
constexpr std::int64_t kMsPerSecond = 1000;

}  // namespace

LagMetrics::LagMetrics(Broker& broker, obs::Scope& scope)
    : broker_(broker),
      scope_(scope),
      left_out_(scope.gauge("esc_consumer_group_lag_left_out",
                            "Partitions of consumer groups whose lag has no series, over 1,000 per core.")) {}

void LagMetrics::do_work(Nanos now) {
  if (under_way_ || now < next_) return;
  const bool first = next_ == 0;
  next_ = now + kInterval;
  if (first) return;
  under_way_ = true;
  collect();
  measure(broker_, kBatchBytesMax);
}

// What is committed in the groups that are coordinated here.
void LagMetrics::collect() {
  items.clear();
  asked_.clear();
  for (auto& [key, series] : series_) series.known = false;
  std::int64_t left_out = 0;
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    const replica::Group* const raft_group = broker_.group(GroupId(id));
    if (raft_group == nullptr || !raft_group->leading()) continue;
    for (const auto& [group, stored] : broker_.coordinators().of(GroupId(id)).state().groups()) {
      for (const auto& [topic, offsets] : stored.topics) {
        for (const auto& [index, offset] : offsets.partitions) {
          Series* const series = series_of(group, topic, index);
          if (series == nullptr) {
            ++left_out;
            continue;
          }
          LagItem& item = items.emplace_back();
          item.topic = topic;
          item.index = index;
          item.committed.offset = offset.offset;
          series->known = true;
          asked_.push_back(series);
        }
      }
    }
  }
  left_out_.set(left_out);
}

LagMetrics::Series* LagMetrics::series_of(const std::string& group, const std::string& topic,
                                          std::int32_t index) {
  const auto found = series_.find(std::tie(group, topic, index));
  if (found != series_.end()) return &found->second;
  if (series_.size() == kLagSeriesMax) return nullptr;
  const obs::Labels labels = {{"group", group}, {"topic", topic}, {"partition", std::to_string(index)}};
  Series& series = series_[Key(group, topic, index)];
  series.events = &scope_.gauge("esc_consumer_group_lag_events",
                                "Records between a consumer group's committed offset and the end.", labels);
  series.seconds = &scope_.gauge("esc_consumer_group_lag_seconds",
                                 "Age of the first record that a consumer group has not consumed.", labels);
  series.show(-1, -1);
  return &series;
}

void LagMetrics::Series::show(std::int64_t lag_events, std::int64_t lag_seconds) const {
  lag_events < 0 ? events->set_unknown() : events->set(lag_events);
  lag_seconds < 0 ? seconds->set_unknown() : seconds->set(lag_seconds);
}

void LagMetrics::done(Broker&) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    const std::int64_t ms = items[i].lag_ms;
    asked_[i]->show(items[i].lag_events, ms < 0 ? -1 : (ms + kMsPerSecond - 1) / kMsPerSecond);
  }
  for (auto& [key, series] : series_) {
    if (!series.known) series.show(-1, -1);
  }
  under_way_ = false;
}

}  // namespace esc::broker
