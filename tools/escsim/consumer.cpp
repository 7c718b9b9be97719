#include <fmt/format.h>

#include <algorithm>

#include "client.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/record_batch.h"

namespace esc::escsim {
namespace {

constexpr std::int16_t kVersion = 11;
constexpr Nanos kErrorPause = 20 * kMillisecond;

}  // namespace

Consumer::Consumer(World& world, std::uint32_t host_number, std::string name, Prng prng)
    : Client(world, host_number, std::move(name), prng),
      positions_(static_cast<std::size_t>(world.scenario.partitions), 0),
      watermarks_(static_cast<std::size_t>(world.scenario.partitions), -1) {}

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
  const std::int32_t partition = next_partition_;
  next_partition_ = (next_partition_ + 1) % world_.scenario.partitions;
  KafkaLink* const link = leader_link(partition);
  if (link == nullptr) {
    next_ = now + kErrorPause;
    return next_;
  }
  wire::FetchRequest::Partition wanted;
  wanted.partition = partition;
  wanted.fetch_offset = positions_[static_cast<std::size_t>(partition)];
  wanted.partition_max_bytes = 32 * 1024;
  const wire::FetchRequest::Partition partitions[] = {wanted};
  const wire::FetchRequest::Topic topics[] = {{.topic = kTopic, .partitions = partitions}};
  wire::FetchRequest request;
  request.max_wait_ms = static_cast<std::int32_t>(prng_.between(0, 50));
  request.min_bytes = 1;
  request.max_bytes = 64 * 1024;
  request.topics = topics;
  asking_ = true;
  link->call(request, kVersion, kCallTimeout, [this, partition, round = round_](const ByteView* body) {
    asking_ = false;
    on_answer(partition, round, body);
  });
  return INT64_MAX;
}

void Consumer::on_answer(std::int32_t partition, std::uint64_t round, const ByteView* body) {
  if (body == nullptr || round != round_) return;
  const Decoded<wire::FetchResponse> answer(*body, kVersion);
  if (!answer || answer->responses.size() != 1 || answer->responses[0].partitions.size() != 1)
    return world_.model.fail(name_ + ": malformed Fetch answer");
  const auto& result = answer->responses[0].partitions[0];
  std::int64_t& position = positions_[static_cast<std::size_t>(partition)];
  if (result.error_code != wire::ErrorCode::none) {
    world_.trace.event(name_, "partition {} offset {}: {}", partition, position,
                       wire::to_string(result.error_code));
    forget_leaders();
    next_ = loop_->now() + kErrorPause;
    return;
  }
  watermarks_[static_cast<std::size_t>(partition)] = result.high_watermark;
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
  if (batches.end_reason() == Errc::corruption)
    world_.model.fail(fmt::format("{}: partition {}: damaged records were served", name_, partition));
}

}  // namespace esc::escsim
