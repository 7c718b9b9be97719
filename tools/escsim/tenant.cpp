#include "tenant.h"

#include <fmt/format.h>

#include <algorithm>

#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/delete_topics.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/metadata.h"

namespace esc::escsim {
namespace {

using wire::ErrorCode;

constexpr std::int16_t kCreateVersion = 7;
constexpr std::int16_t kDeleteVersion = 5;  // by name
constexpr std::int16_t kMetadataVersion = 12;
constexpr std::int16_t kFetchVersion = 11;
constexpr Nanos kRetry = 20 * kMillisecond;
constexpr Nanos kLost = 3 * kSecond;  // what has not come true by then never will

// What a client may be told by a topic that is deleted under it, or by a leader that is no more.
bool is_expected(ErrorCode code) {
  switch (code) {
    case ErrorCode::unknown_topic_or_partition:
    case ErrorCode::not_leader_or_follower:
    case ErrorCode::leader_not_available:
    case ErrorCode::request_timed_out:
    case ErrorCode::not_enough_replicas:
    case ErrorCode::not_enough_replicas_after_append:
    case ErrorCode::kafka_storage_error: return true;
    default: return false;
  }
}

}  // namespace

Tenant::Tenant(World& world, std::uint32_t host_number, std::string name, Prng prng,
               std::uint64_t first_number)
    : Sender(world, host_number, std::move(name), prng),
      next_number_(first_number),
      positions_(kPassingPartitions, 0),
      watermarks_(kPassingPartitions, -1) {
  topic_ = kPassingTopic;
}

bool Tenant::quiet() const {
  return stopping() && step_ == Step::use && !asking_ && !fetching_ && in_flight_ == 0 &&
         (lost_at_ == 0 || loop_->now() > lost_at_ + kLost);
}

Nanos Tenant::work(Nanos now) {
  if (step_ == Step::audit || (step_ == Step::use && !stopping())) return use(now);
  if (asking_ || (step_ == Step::use && stopping())) return INT64_MAX;
  if (now < next_) return next_;
  switch (step_) {
    case Step::create: create(); break;
    case Step::remove: remove(); break;
    case Step::identify: identify(); break;
    case Step::use:
    case Step::audit: break;
  }
  return INT64_MAX;
}

Nanos Tenant::use(Nanos now) {
  if (step_ == Step::use && now >= next_) {
    step_ = Step::remove;
    return now;
  }
  if (now < next_send_) return next_send_;
  const auto partition = static_cast<std::int32_t>(prng_.below(kPassingPartitions));
  next_send_ = now + prng_.between(1, 40) * kMillisecond;
  if (leader_link(partition) == nullptr) return next_send_;
  if (step_ == Step::use && in_flight_ < world_.scenario.in_flight) produce(partition);
  if (!fetching_ && leader_link(partition) != nullptr) fetch(partition);
  return next_send_;
}

// --- the topic ---

void Tenant::changed(ErrorCode code, ErrorCode already, Step next) {
  world_.trace.event(name_, "{}: {}", step_ == Step::create ? "creates its topic" : "deletes its topic",
                     wire::to_string(code));
  if (code != ErrorCode::none && code != already) return;
  ++changes_;
  step_ = next;
  forget_leaders();
  std::ranges::fill(positions_, 0);
  const std::int64_t pause = next == Step::use ? prng_.between(20, 900) : prng_.between(0, 100);
  next_ = loop_->now() + pause * kMillisecond;
}

void Tenant::create() {
  asking_ = true;
  wire::CreateTopicsRequest::Topic topics[] = {{}};
  topics[0].name = topic_;
  topics[0].num_partitions = kPassingPartitions;
  topics[0].replication_factor = -1;
  wire::CreateTopicsRequest request;
  request.topics = topics;
  request.timeout_ms = 1000;
  any_link()->call(request, kCreateVersion, kCallTimeout, [this](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kRetry;
    if (body == nullptr) lost_at_ = loop_->now();
    if (body == nullptr) return;
    const Decoded<wire::CreateTopicsResponse> answer(*body, kCreateVersion);
    if (!answer || answer->topics.size() != 1)
      return world_.model.fail(name_ + ": malformed CreateTopics answer");
    const auto& topic = answer->topics[0];
    if (topic.error_code == ErrorCode::request_timed_out) lost_at_ = loop_->now();
    if (topic.error_code == ErrorCode::none) world_.model.created(topic.topic_id.bytes);
    changed(topic.error_code, ErrorCode::topic_already_exists, Step::use);
  });
}

void Tenant::remove() {
  asking_ = true;
  const wire::String names[] = {topic_};
  wire::DeleteTopicsRequest request;
  request.topic_names = names;
  request.timeout_ms = 1000;
  any_link()->call(request, kDeleteVersion, kCallTimeout, [this](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kRetry;
    if (body == nullptr) lost_at_ = loop_->now();
    if (body == nullptr) return;
    const Decoded<wire::DeleteTopicsResponse> answer(*body, kDeleteVersion);
    if (!answer || answer->responses.size() != 1)
      return world_.model.fail(name_ + ": malformed DeleteTopics answer");
    const ErrorCode code = answer->responses[0].error_code;
    if (code == ErrorCode::request_timed_out) lost_at_ = loop_->now();
    // A stopped tenant has its last topic deleted or leaves it, as the moment has it.
    changed(code, ErrorCode::unknown_topic_or_partition, stopping() ? Step::use : Step::create);
  });
}

void Tenant::begin_audit() {
  step_ = Step::identify;
  next_ = 0;
  forget_leaders();
  std::ranges::fill(positions_, 0);
  std::ranges::fill(watermarks_, -1);  // it ends where the log ends now
}

void Tenant::identify() {
  asking_ = true;
  call_metadata(kMetadataVersion, [this](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kRetry;
    if (body == nullptr) return;
    const Decoded<wire::MetadataResponse> answer(*body, kMetadataVersion);
    if (!answer || answer->topics.size() != 1) return world_.model.fail(name_ + ": malformed metadata");
    const auto& topic = answer->topics[0];
    identified_ = true;
    step_ = Step::audit;
    if (topic.error_code != ErrorCode::unknown_topic_or_partition) id_ = topic.topic_id;
    world_.trace.event(name_, "its topic is {}", id_ ? "there" : "gone");
  });
}

bool Tenant::audited() const {
  if (!identified_) return false;
  if (!id_) return true;
  for (std::size_t i = 0; i < positions_.size(); ++i)
    if (watermarks_[i] < 0 || positions_[i] < watermarks_[i]) return false;
  return true;
}

void Tenant::report() const {
  world_.model.check_passing(id_ ? std::optional(id_->bytes) : std::nullopt, positions_);
}

// --- its records ---

void Tenant::produce(std::int32_t partition) {
  Batch batch = make_batch(next_number_, {});
  ++in_flight_;
  send(partition, batch.bytes, [this, partition, numbers = std::move(batch.numbers)](const ByteView* body) {
    --in_flight_;
    const auto result = body == nullptr ? std::nullopt : outcome(*body);
    if (!result) return;
    if (result->code == ErrorCode::none) {
      acknowledged_ += numbers.size();
      world_.trace.fold(numbers.front(), static_cast<std::uint64_t>(result->base_offset));
      world_.trace.note(name_, "partition {}: records {}..{} acknowledged at offset {}", partition,
                        numbers.front(), numbers.back(), result->base_offset);
      return world_.model.acknowledged_passing(partition, result->base_offset, numbers);
    }
    world_.trace.event(name_, "partition {}: records {}.. refused: {}", partition, numbers.front(),
                       wire::to_string(result->code));
    if (!is_expected(result->code))
      world_.model.fail(fmt::format("{}: a producer is told {}", name_, wire::to_string(result->code)));
    forget_leaders();
  });
}

void Tenant::fetch(std::int32_t partition) {
  wire::FetchRequest::Partition wanted;
  wanted.partition = partition;
  wanted.fetch_offset = positions_[static_cast<std::size_t>(partition)];
  wanted.partition_max_bytes = 32 * 1024;
  const wire::FetchRequest::Partition partitions[] = {wanted};
  const wire::FetchRequest::Topic topics[] = {{.topic = topic_, .partitions = partitions}};
  wire::FetchRequest request;
  request.max_wait_ms = static_cast<std::int32_t>(prng_.between(0, 200));
  request.min_bytes = 1;
  request.max_bytes = 64 * 1024;
  request.topics = topics;
  fetching_ = true;
  leader_link(partition)->call(request, kFetchVersion, kCallTimeout,
                               [this, partition, changes = changes_, step = step_](const ByteView* body) {
                                 fetching_ = false;
                                 // Of an earlier life of the topic, as far as positions go.
                                 if (changes != changes_ || step != step_) return;
                                 on_fetched(partition, body);
                               });
}

void Tenant::on_fetched(std::int32_t partition, const ByteView* body) {
  if (body == nullptr) return;
  const Decoded<wire::FetchResponse> answer(*body, kFetchVersion);
  if (!answer || answer->responses.size() != 1 || answer->responses[0].partitions.size() != 1)
    return world_.model.fail(name_ + ": malformed Fetch answer");
  const auto& result = answer->responses[0].partitions[0];
  std::int64_t& position = positions_[static_cast<std::size_t>(partition)];
  if (result.error_code != ErrorCode::none) {
    world_.trace.event(name_, "partition {} offset {}: {}", partition, position,
                       wire::to_string(result.error_code));
    // A node that does not know yet of the new topic has shown the old one.
    const bool beyond = result.error_code == ErrorCode::offset_out_of_range && step_ == Step::use;
    if (!beyond && !is_expected(result.error_code))
      world_.model.fail(fmt::format("{}: a consumer is told {}", name_, wire::to_string(result.error_code)));
    if (beyond) position = 0;
    forget_leaders();
    return;
  }
  watermarks_[static_cast<std::size_t>(partition)] = result.high_watermark;
  take(partition, result.records.bytes);
}

void Tenant::take(std::int32_t partition, ByteView records) {
  std::int64_t& position = positions_[static_cast<std::size_t>(partition)];
  const auto id = step_ == Step::audit && id_ ? std::optional(id_->bytes) : std::nullopt;
  wire::BatchIterator batches(records);
  while (const auto batch = batches.next()) {
    if (batch->last_offset() < position) continue;
    if (batch->base_offset() > position) {
      return world_.model.fail(fmt::format("{}: partition {}: asked for offset {}, was given {}", name_,
                                           partition, position, batch->base_offset()));
    }
    world_.model.fetched_passing(id, partition, *batch);
    position = batch->next_offset();
  }
  if (batches.end_reason() == Errc::corruption)
    world_.model.fail(fmt::format("{}: partition {}: damaged records were served", name_, partition));
}

}  // namespace esc::escsim
