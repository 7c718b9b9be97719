#include "configurer.h"

#include <algorithm>
#include <string>

#include "esc/wire/api/incremental_alter_configs.h"

namespace esc::escsim {
namespace {

using wire::ErrorCode;

constexpr Nanos kRetry = 50 * kMillisecond;
constexpr Nanos kLost = 4 * kSecond;  // what has not come true by then never will
constexpr std::int16_t kVersion = 1;
constexpr std::int8_t kTopicResource = 2;
constexpr std::int64_t kWeekMs = 7 * 24 * 3600 * 1000LL;

// Somebody else is to be asked, or later.
bool is_passing(ErrorCode code) {
  switch (code) {
    case ErrorCode::unknown_topic_or_partition:
    case ErrorCode::not_controller:
    case ErrorCode::request_timed_out: return true;
    default: return false;
  }
}

}  // namespace

bool Configurer::holds(const replica::Partition& partition) const {
  if (partition.identity().topic != kTopic || !settled_) return true;
  return partition.identity().rolling() == rules_ && partition.log().rolling() == rules_;
}

Nanos Configurer::work(Nanos now) {
  if (asking_ || settled_) return INT64_MAX;
  if (next_ == 0) next_ = now + prng_.between(100, 1000) * kMillisecond;
  // The last one follows when none before it can come true any more.
  const Nanos due = stopping() && lost_at_ > 0 ? std::max(next_, lost_at_ + kLost) : next_;
  if (now < due) return due;
  ask();
  return INT64_MAX;
}

void Configurer::ask() {
  asking_ = true;
  const store::RollRules rules{.bytes = std::uint64_t{16 * 1024} << prng_.below(3),
                               .ms = prng_.chance(1, 3) ? kWeekMs : prng_.between(1000, 4000)};
  const std::string bytes = std::to_string(rules.bytes);
  const std::string ms = std::to_string(rules.ms);
  wire::IncrementalAlterConfigsRequest::Resource::Config configs[] = {{}, {}};
  configs[0].name = "segment.bytes";
  configs[0].value = std::string_view(bytes);
  configs[1].name = "segment.ms";
  configs[1].value = std::string_view(ms);
  wire::IncrementalAlterConfigsRequest::Resource resources[] = {{}};
  resources[0].resource_type = kTopicResource;
  resources[0].resource_name = topic_;
  resources[0].configs = configs;
  wire::IncrementalAlterConfigsRequest request;
  request.resources = resources;
  any_link()->call(request, kVersion, kCallTimeout, [this, rules, last = stopping()](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kRetry;
    if (body == nullptr) lost_at_ = loop_->now();
    if (body == nullptr) return;
    const Decoded<wire::IncrementalAlterConfigsResponse> answer(*body, kVersion);
    if (!answer || answer->responses.size() != 1)
      return world_.model.fail(name_ + ": malformed IncrementalAlterConfigs answer");
    answered(rules, last, answer->responses[0].error_code);
  });
}

void Configurer::answered(const store::RollRules& rules, bool last, ErrorCode code) {
  world_.trace.event(name_, "segments of {} bytes, {} ms: {}", rules.bytes, rules.ms, wire::to_string(code));
  if (code == ErrorCode::request_timed_out) lost_at_ = loop_->now();
  if (code == ErrorCode::none) {
    rules_ = rules;
    settled_ = last;
    next_ = loop_->now() + prng_.between(50, 900) * kMillisecond;
  } else if (!is_passing(code)) {
    world_.model.fail(fmt::format("{}: a change of rules is refused: {}", name_, wire::to_string(code)));
  }
}

}  // namespace esc::escsim
