#include <fmt/format.h>

#include <algorithm>

#include "client.h"
#include "esc/wire/record_batch.h"

namespace esc::escsim {
namespace {

constexpr std::int16_t kVersion = 11;
constexpr Nanos kErrorPause = 20 * kMillisecond;
constexpr std::int32_t kPartitionBytes = 32 * 1024;
constexpr std::int32_t kTotalBytes = 64 * 1024;
constexpr std::int64_t kSmallBytes = 4096;  // of one batch or a few, and less than one
constexpr std::int64_t kPassingOffsets = 30;

using Partition = wire::FetchRequest::Partition;
using Topic = wire::FetchRequest::Topic;
using TopicAnswer = wire::FetchResponse::Topic;

}  // namespace

Consumer::Consumer(World& world, std::uint32_t host_number, std::string name, Prng prng)
    : Client(world, host_number, std::move(name), prng),
      positions_(static_cast<std::size_t>(world.scenario.partitions), 0),
      watermarks_(static_cast<std::size_t>(world.scenario.partitions), -1),
      reached_(positions_),
      elsewhere_(positions_) {}

void Consumer::rewind() {
  ++round_;
  std::ranges::fill(positions_, 0);
  std::ranges::fill(watermarks_, -1);
}

bool Consumer::at_end() const {
  for (std::size_t i = 0; i < positions_.size(); ++i)
    if (watermarks_[i] < 0 || positions_[i] < watermarks_[i]) return false;
  return true;
}

Nanos Consumer::work(Nanos now) {
  if (asking_ || stopping()) return INT64_MAX;
  if (now < next_) return next_;
  const std::int32_t first = next_partition_;
  next_partition_ = (next_partition_ + 1) % world_.scenario.partitions;
  KafkaLink* const link = leader_link(first);
  if (link == nullptr) {
    next_ = now + kErrorPause;
    return next_;
  }
  if (world_.scenario.wide_requests && prng_.chance(1, 12)) {
    ask_offsets(*link, first);
  } else {
    ask(*link, choose(first));
  }
  return INT64_MAX;
}

// Where nobody has read for long, the server has to look for the batch.
void Consumer::wander() {
  if (wandering_ > 0) --wandering_;
  if (wandering_ > 0) return;
  if (!prng_.chance(1, 5)) return;
  wandering_ = prng_.between(1, 5);
  for (std::size_t i = 0; i < reached_.size(); ++i) elsewhere_[i] = prng_.between(0, reached_[i]);
}

Consumer::Question Consumer::choose(std::int32_t first) {
  const std::int32_t count = world_.scenario.partitions;
  const bool wide = world_.scenario.wide_requests;
  if (wide) wander();
  const bool all = wide && !prng_.chance(1, 6);
  Question question{.elsewhere = wandering_ > 0, .round = round_};
  for (std::int32_t i = 0; i < (all ? count : 1); ++i) {
    const std::int32_t partition = (first + i) % count;
    if (i > 0 && !led_together(first, partition)) continue;
    const auto at = static_cast<std::size_t>(partition);
    question.wanted.push_back(
        {partition, question.elsewhere ? elsewhere_[at] : positions_[at], epoch_of(partition)});
  }
  if (!wide || !world_.scenario.topic_changes || !prng_.chance(1, 4)) return question;
  question.passing_first = prng_.chance(1, 2);
  for (std::int32_t index = 0; index < kPassingPartitions; ++index)
    question.passing.push_back({.partition = index, .offset = prng_.between(0, kPassingOffsets)});
  return question;
}

void Consumer::ask(KafkaLink& link, Question question) {
  const bool wide = world_.scenario.wide_requests;
  const bool small_parts = wide && prng_.chance(1, 2);
  const bool small = small_parts && prng_.chance(1, 2);
  const auto limit = [&] { return static_cast<std::int32_t>(prng_.between(1, kSmallBytes)); };
  std::vector<Partition> wanted;
  std::vector<Partition> passing;
  for (const auto& [from, to] :
       {std::pair(&question.wanted, &wanted), std::pair(&question.passing, &passing)})
    for (const Wanted& part : *from)
      to->push_back({.partition = part.partition,
                     .current_leader_epoch = part.epoch,
                     .fetch_offset = part.offset,
                     .partition_max_bytes = small_parts ? limit() : kPartitionBytes});
  std::vector<Topic> topics = {{.topic = kTopic, .partitions = wanted}};
  if (!passing.empty())
    topics.insert(question.passing_first ? topics.begin() : topics.end(),
                  {.topic = kPassingTopic, .partitions = passing});
  wire::FetchRequest request;
  request.max_wait_ms = static_cast<std::int32_t>(prng_.between(0, 50));
  request.min_bytes = wide && prng_.chance(1, 4) ? limit() : 1;
  request.max_bytes = small ? limit() : kTotalBytes;
  request.topics = topics;
  asking_ = true;
  link.call(request, kVersion, kCallTimeout, [this, asked = std::move(question)](const ByteView* body) {
    asking_ = false;
    on_answer(asked, body);
  });
}

void Consumer::on_answer(const Question& asked, const ByteView* body) {
  if (body == nullptr || asked.round != round_) return;
  const Decoded<wire::FetchResponse> answer(*body, kVersion);
  const std::size_t topics = asked.passing.empty() ? 1 : 2;
  if (!answer || answer->responses.size() != topics)
    return world_.model.fail(name_ + ": malformed Fetch answer");
  bool data = false;
  bool behind = false;
  for (std::size_t t = 0; t < topics; ++t) {
    const bool passing = topics == 2 && (t == 0) == asked.passing_first;
    const std::vector<Wanted>& wanted = passing ? asked.passing : asked.wanted;
    const TopicAnswer& topic = answer->responses[t];
    if (topic.topic != (passing ? kPassingTopic : kTopic) ||
        !std::ranges::equal(wanted, topic.partitions, {}, &Wanted::partition,
                            &wire::FetchResponse::Partition::partition_index))
      return world_.model.fail(name_ + ": other partitions are answered than were asked for");
    for (std::size_t i = 0; i < wanted.size(); ++i) {
      const auto& result = topic.partitions[i];
      data = data || !result.records.bytes.empty();
      behind =
          behind || (result.error_code == wire::ErrorCode::none && result.high_watermark > wanted[i].offset);
      passing ? take_passing(wanted[i], result) : take(asked, wanted[i], result);
    }
  }
  // However low the limits: one batch at least.
  if (behind && !data)
    world_.model.fail(fmt::format("{}: nothing is served although there is something", name_));
}

// Told in which epoch it was asked, a leader has all that any leader before it has served.
void Consumer::judge(const Wanted& wanted, const wire::FetchResponse::Partition& result) {
  const std::int64_t reached = reached_[static_cast<std::size_t>(wanted.partition)];
  if (wanted.epoch < 0) return;
  if (result.error_code == wire::ErrorCode::offset_out_of_range ||
      (result.error_code == wire::ErrorCode::none &&
       (result.high_watermark < reached || result.log_start_offset != 0)))
    world_.model.fail(fmt::format("{}: partition {}: offset {}: {}, log {}..{}, but it was read up to {}",
                                  name_, wanted.partition, wanted.offset, wire::to_string(result.error_code),
                                  result.log_start_offset, result.high_watermark, reached));
}

void Consumer::take(const Question& asked, const Wanted& wanted,
                    const wire::FetchResponse::Partition& result) {
  const std::int32_t partition = wanted.partition;
  const auto at = static_cast<std::size_t>(partition);
  std::int64_t position = wanted.offset;
  judge(wanted, result);
  if (result.error_code != wire::ErrorCode::none) {
    world_.trace.event(name_, "partition {} offset {}: {}", partition, position,
                       wire::to_string(result.error_code));
    forget_leaders();
    next_ = loop_->now() + kErrorPause;
    return;
  }
  watermarks_[at] = result.high_watermark;
  wire::BatchIterator batches(result.records.bytes);
  while (const auto batch = batches.next()) {
    if (batch->last_offset() < position) continue;
    if (batch->base_offset() > position) {
      return world_.model.fail(fmt::format("{}: partition {}: asked for offset {}, was given {}", name_,
                                           partition, position, batch->base_offset()));
    }
    if (batch->last_offset() >= result.high_watermark) {
      return world_.model.fail(
          fmt::format("{}: partition {}: offset {} is served above the high watermark {}", name_, partition,
                      batch->last_offset(), result.high_watermark));
    }
    world_.model.fetched(partition, *batch);
    position = batch->next_offset();
  }
  if (batches.end_reason() != Errc::ok)
    world_.model.fail(fmt::format("{}: partition {}: damaged records were served", name_, partition));
  reached_[at] = std::max(reached_[at], position);
  (asked.elsewhere ? elsewhere_ : positions_)[at] = position;
}

// Of whichever life; its own client looks closer.
void Consumer::take_passing(const Wanted& wanted, const wire::FetchResponse::Partition& result) {
  wire::BatchIterator batches(result.records.bytes);
  while (const auto batch = batches.next())
    world_.model.fetched_passing(std::nullopt, wanted.partition, *batch);
  if (batches.end_reason() != Errc::ok)
    world_.model.fail(fmt::format("{}: damaged records of the passing topic were served", name_));
}

}  // namespace esc::escsim
