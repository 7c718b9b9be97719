#include <fmt/format.h>

#include <algorithm>

#include "client.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/record_batch.h"

namespace esc::escsim {
namespace {

constexpr std::int16_t kVersion = 8;
constexpr std::int16_t kAllReplicas = -1;
constexpr Nanos kErrorPause = 20 * kMillisecond;

}  // namespace

Producer::Producer(World& world, std::uint32_t host_number, std::string name, Prng prng,
                   std::uint64_t first_number)
    : Sender(world, host_number, std::move(name), prng), next_number_(first_number) {}

Nanos Producer::work(Nanos now) {
  if (stopping()) return INT64_MAX;
  if (now < next_send_) return next_send_;
  if (in_flight_ >= world_.scenario.in_flight) return INT64_MAX;
  const auto partition =
      static_cast<std::int32_t>(prng_.below(static_cast<std::uint64_t>(world_.scenario.partitions)));
  next_send_ = now + prng_.between(0, world_.scenario.think_max);
  if (leader_link(partition) != nullptr) send_batches(partition);
  return next_send_;
}

Sender::Batch Sender::make_batch(std::uint64_t& next_number, const wire::BatchOptions& options) {
  const auto count = prng_.between(1, world_.scenario.batch_records_max);
  Batch batch;
  wire::BatchBuilder builder(scratch_, options);
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t number = next_number++;
    value_.assign(static_cast<std::size_t>(prng_.between(16, world_.scenario.record_bytes_max)),
                  static_cast<std::byte>(number));
    store_le(value_.data(), number);
    if (!builder.append(loop_->wall_ms(), std::nullopt, ByteView(value_))) break;
    batch.numbers.push_back(number);
    world_.model.sent(number);
  }
  const ByteView built = builder.finish();
  batch.bytes.assign(built.begin(), built.end());
  return batch;
}

void Sender::send(std::int32_t partition, ByteView batch, KafkaLink::Answer answer) {
  const wire::ProduceRequest::Partition partitions[] = {
      {.index = partition, .records = wire::NullableBytes(batch)}};
  const wire::ProduceRequest::Topic topics[] = {{.name = topic_, .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = kAllReplicas;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  leader_link(partition)->call(request, kVersion, kCallTimeout, std::move(answer));
}

void Sender::send(std::span<const Part> parts, KafkaLink::Answer answer) {
  std::vector<wire::ProduceRequest::Partition> partitions;
  for (const Part& part : parts)
    partitions.push_back({.index = part.partition, .records = wire::NullableBytes(part.batch.bytes)});
  const wire::ProduceRequest::Topic topics[] = {{.name = topic_, .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = kAllReplicas;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  leader_link(parts.front().partition)->call(request, kVersion, kCallTimeout, std::move(answer));
}

std::optional<std::vector<Sender::Outcome>> Sender::outcomes(ByteView body, std::span<const Part> parts) {
  const Decoded<wire::ProduceResponse> answer(body, kVersion);
  const auto results = answer && answer->responses.size() == 1
                           ? answer->responses[0].partition_responses
                           : wire::Array<wire::ProduceResponse::Partition>{};
  if (!std::ranges::equal(parts, results, {}, &Part::partition, &wire::ProduceResponse::Partition::index)) {
    world_.model.fail(name_ + ": malformed Produce answer");
    return std::nullopt;
  }
  std::vector<Outcome> out;
  for (const auto& result : results) out.push_back({result.error_code, result.base_offset});
  return out;
}

std::optional<Sender::Outcome> Sender::outcome(ByteView body) {
  const Decoded<wire::ProduceResponse> answer(body, kVersion);
  if (!answer || answer->responses.size() != 1 || answer->responses[0].partition_responses.size() != 1) {
    world_.model.fail(name_ + ": malformed Produce answer");
    return std::nullopt;
  }
  const auto& result = answer->responses[0].partition_responses[0];
  return Outcome{result.error_code, result.base_offset};
}

void Sender::tell_acknowledged(std::int32_t partition, std::int64_t base_offset,
                               const std::vector<std::uint64_t>& numbers) {
  world_.trace.fold(numbers.front(), static_cast<std::uint64_t>(base_offset));
  world_.trace.note(name_, "partition {}: records {}..{} acknowledged at offset {}", partition,
                    numbers.front(), numbers.back(), base_offset);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    world_.model.acknowledged(partition, base_offset + static_cast<std::int64_t>(i), numbers[i]);
}

void Producer::send_batches(std::int32_t partition) {
  std::vector<Part> parts;
  parts.push_back({partition, make_batch(next_number_, {})});
  const bool more = world_.scenario.wide_requests && prng_.chance(1, 2);
  for (std::int32_t other = 0; more && other < world_.scenario.partitions; ++other) {
    if (other != partition && led_together(partition, other) && prng_.chance(1, 2))
      parts.push_back({other, make_batch(next_number_, {})});
  }
  ++in_flight_;
  send(parts, [this, parts](const ByteView* body) { on_answer(parts, body); });
}

// Anything but a plain yes leaves it open what became of the records.
void Producer::on_answer(std::span<const Part> parts, const ByteView* body) {
  --in_flight_;
  const auto results = body == nullptr ? std::nullopt : outcomes(*body, parts);
  if (!results) return;
  for (std::size_t i = 0; i < parts.size(); ++i) on_outcome(parts[i], (*results)[i]);
}

void Producer::on_outcome(const Part& part, const Outcome& result) {
  if (result.code != wire::ErrorCode::none) {
    world_.trace.event(name_, "partition {}: records {}.. refused: {}", part.partition,
                       part.batch.numbers.front(), wire::to_string(result.code));
    forget_leaders();
    next_send_ = loop_->now() + kErrorPause;
    return;
  }
  acknowledged_ += part.batch.numbers.size();
  tell_acknowledged(part.partition, result.base_offset, part.batch.numbers);
}

}  // namespace esc::escsim
