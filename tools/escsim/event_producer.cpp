#include "client.h"

namespace esc::escsim {
namespace {

constexpr Nanos kErrorPause = 20 * kMillisecond;
constexpr std::size_t kRecent = 40;

}  // namespace

EventProducer::EventProducer(World& world, std::uint32_t host_number, std::string name, Prng prng,
                             std::uint64_t first_number, std::shared_ptr<EventPool> pool)
    : Sender(world, host_number, std::move(name), prng), next_number_(first_number), pool_(std::move(pool)) {}

Nanos EventProducer::work(Nanos now) {
  if (stopping()) return INT64_MAX;
  if (now < next_send_) return next_send_;
  if (in_flight_ >= world_.scenario.in_flight) return INT64_MAX;
  const auto partition =
      static_cast<std::int32_t>(prng_.below(static_cast<std::uint64_t>(world_.scenario.partitions)));
  next_send_ = now + prng_.between(0, world_.scenario.think_max);
  if (leader_link(partition) != nullptr) send_batch(partition);
  return next_send_;
}

Sender::Batch EventProducer::make_events(std::int32_t partition) {
  std::deque<std::uint64_t>& recent = pool_->recent[static_cast<std::size_t>(partition)];
  const auto count = prng_.between(1, world_.scenario.batch_records_max);
  Batch batch;
  wire::BatchBuilder builder(scratch_, {});
  for (std::int64_t i = 0; i < count; ++i) {
    const bool again = !recent.empty() && prng_.chance(1, 2);
    const std::uint64_t number = again ? recent[prng_.below(recent.size())] : next_number_++;
    value_.assign(static_cast<std::size_t>(prng_.between(16, world_.scenario.record_bytes_max)),
                  static_cast<std::byte>(number));
    store_le(value_.data(), number);
    const wire::Header id[] = {{"event-id", wire::NullableBytes(ByteView(value_).first(sizeof number))}};
    if (!builder.append(loop_->wall_ms(), std::nullopt, ByteView(value_), id)) break;
    batch.numbers.push_back(number);
    if (again) continue;
    world_.model.sent(number);
    recent.push_back(number);
    if (recent.size() > kRecent) recent.pop_front();
  }
  const ByteView built = builder.finish();
  batch.bytes.assign(built.begin(), built.end());
  return batch;
}

void EventProducer::send_batch(std::int32_t partition) {
  Batch batch = make_events(partition);
  ++in_flight_;
  send(partition, batch.bytes, [this, partition, numbers = std::move(batch.numbers)](const ByteView* body) {
    on_answer(partition, numbers, body);
  });
}

void EventProducer::on_answer(std::int32_t partition, const std::vector<std::uint64_t>& numbers,
                              const ByteView* body) {
  --in_flight_;
  const auto result = body == nullptr ? std::nullopt : outcome(*body);
  if (!result) return;
  if (result->code != wire::ErrorCode::none) {
    world_.trace.event(name_, "partition {}: events {}.. refused: {}", partition, numbers.front(),
                       wire::to_string(result->code));
    forget_leaders();
    next_send_ = loop_->now() + kErrorPause;
    return;
  }
  acknowledged_ += numbers.size();
  world_.trace.fold(numbers.front(), static_cast<std::uint64_t>(result->base_offset));
  world_.trace.note(name_, "partition {}: {} events from {} on acknowledged at offset {}", partition,
                    numbers.size(), numbers.front(), result->base_offset);
  for (const std::uint64_t number : numbers) world_.model.acknowledged_event(partition, number);
}

}  // namespace esc::escsim
