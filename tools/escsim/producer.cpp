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
    : Client(world, host_number, std::move(name), prng), next_number_(first_number) {}

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

void Producer::send_batch(std::int32_t partition) {
  const auto count = prng_.between(1, world_.scenario.batch_records_max);
  std::vector<std::byte> memory(16 * 1024);
  wire::BatchBuilder builder(memory);
  std::vector<std::uint64_t> numbers;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::uint64_t number = next_number_++;
    std::vector<std::byte> value(
        static_cast<std::size_t>(prng_.between(16, world_.scenario.record_bytes_max)),
        static_cast<std::byte>(number));
    store_le(value.data(), number);
    if (!builder.append(loop_->wall_ms(), std::nullopt, ByteView(value))) break;
    numbers.push_back(number);
    world_.model.sent(number);
  }
  const wire::ProduceRequest::Partition partitions[] = {{.index = partition, .records = builder.finish()}};
  const wire::ProduceRequest::Topic topics[] = {{.name = kTopic, .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = kAllReplicas;
  request.timeout_ms = 1000;
  request.topic_data = topics;
  ++in_flight_;
  leader_link(partition)->call(request, kVersion, kCallTimeout,
                               [this, partition, numbers = std::move(numbers)](const ByteView* body) {
                                 on_answer(partition, numbers, body);
                               });
}

// Anything but a plain yes leaves it open what became of the records.
void Producer::on_answer(std::int32_t partition, const std::vector<std::uint64_t>& numbers,
                         const ByteView* body) {
  --in_flight_;
  if (body == nullptr) return;
  const Decoded<wire::ProduceResponse> answer(*body, kVersion);
  if (!answer || answer->responses.size() != 1 || answer->responses[0].partition_responses.size() != 1)
    return world_.model.fail(name_ + ": malformed Produce answer");
  const auto& result = answer->responses[0].partition_responses[0];
  if (result.error_code != wire::ErrorCode::none) {
    world_.trace.event(name_, "partition {}: records {}.. refused: {}", partition, numbers.front(),
                       wire::to_string(result.error_code));
    forget_leaders();
    next_send_ = loop_->now() + kErrorPause;
    return;
  }
  acknowledged_ += numbers.size();
  world_.trace.fold(numbers.front(), static_cast<std::uint64_t>(result.base_offset));
  world_.trace.note(name_, "partition {}: records {}..{} acknowledged at offset {}", partition,
                    numbers.front(), numbers.back(), result.base_offset);
  for (std::size_t i = 0; i < numbers.size(); ++i)
    world_.model.acknowledged(partition, result.base_offset + static_cast<std::int64_t>(i), numbers[i]);
}

}  // namespace esc::escsim
