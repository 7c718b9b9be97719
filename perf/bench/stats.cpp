#include "stats.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::bench {

LatencySeries::LatencySeries(const Window& window)
    : window_(window), total_(std::make_unique<obs::Histogram>()) {
  const Nanos span = std::max<Nanos>(window.stop - window.measure_from, 0);
  const auto count = static_cast<std::size_t>((span + kSecond - 1) / kSecond);
  for (std::size_t i = 0; i < count; ++i) seconds_.push_back(std::make_unique<obs::Histogram>());
}

void LatencySeries::record(Nanos intended, Nanos latency, std::uint64_t count) {
  if (!window_.measures(intended)) return;
  total_->record_many(latency, count);
  seconds_[static_cast<std::size_t>((intended - window_.measure_from) / kSecond)]->record_many(latency,
                                                                                               count);
}

void LatencySeries::merge(const LatencySeries& other) {
  ESC_ASSERT(seconds_.size() == other.seconds_.size());
  total_->merge(*other.total_);
  for (std::size_t i = 0; i < seconds_.size(); ++i) seconds_[i]->merge(*other.seconds_[i]);
}

void ProduceStats::merge(const ProduceStats& other) {
  latency.merge(other.latency);
  acked_events += other.acked_events;
  acked_batches += other.acked_batches;
  acked_requests += other.acked_requests;
  acked_events_ever += other.acked_events_ever;
  retried_batches += other.retried_batches;
  unfinished_events += other.unfinished_events;
  disconnects += other.disconnects;
  last_ack = std::max(last_ack, other.last_ack);
  longest_gap = std::max(longest_gap, other.longest_gap);
  if (error.empty()) error = other.error;
}

void ConsumeStats::merge(const ConsumeStats& other) {
  latency.merge(other.latency);
  events += other.events;
  bytes += other.bytes;
  events_ever += other.events_ever;
  fetches += other.fetches;
  offset_errors += other.offset_errors;
  bad_events += other.bad_events;
  if (first_receive == 0 || (other.first_receive != 0 && other.first_receive < first_receive)) {
    first_receive = other.first_receive;
  }
  last_receive = std::max(last_receive, other.last_receive);
  if (error.empty()) error = other.error;
}

}  // namespace esc::bench
