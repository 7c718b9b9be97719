#include <fmt/format.h>

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
  if (leader_link(partition) != nullptr) send_batch(partition);
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

void Producer::send_batch(std::int32_t partition) {
  Batch batch = make_batch(next_number_, {});
  ++in_flight_;
  send(partition, batch.bytes, [this, partition, numbers = std::move(batch.numbers)](const ByteView* body) {
    on_answer(partition, numbers, body);
  });
}

// Anything but a plain yes leaves it open what became of the records.
void Producer::on_answer(std::int32_t partition, const std::vector<std::uint64_t>& numbers,
                         const ByteView* body) {
  --in_flight_;
  const auto result = body == nullptr ? std::nullopt : outcome(*body);
  if (!result) return;
  if (result->code != wire::ErrorCode::none) {
    world_.trace.event(name_, "partition {}: records {}.. refused: {}", partition, numbers.front(),
                       wire::to_string(result->code));
    forget_leaders();
    next_send_ = loop_->now() + kErrorPause;
    return;
  }
  acknowledged_ += numbers.size();
  tell_acknowledged(partition, result->base_offset, numbers);
}

}  // namespace esc::escsim
