#include <fmt/format.h>

#include <algorithm>

#include "client.h"
#include "esc/wire/api/init_producer_id.h"

namespace esc::escsim {
namespace {

constexpr std::int16_t kInitVersion = 1;
constexpr std::size_t kInFlightMax = 5;  // what the server recognises
constexpr Nanos kErrorPause = 20 * kMillisecond;

}  // namespace

IdempotentProducer::IdempotentProducer(World& world, std::uint32_t host_number, std::string name, Prng prng,
                                       std::uint64_t first_number)
    : Sender(world, host_number, std::move(name), prng),
      next_number_(first_number),
      lanes_(static_cast<std::size_t>(world.scenario.partitions)) {}

void IdempotentProducer::ask_id() {
  if (asking_id_ || loop_->now() < ask_id_at_) return;
  asking_id_ = true;
  any_link()->call(wire::InitProducerIdRequest{}, kInitVersion, kCallTimeout, [this](const ByteView* body) {
    asking_id_ = false;
    ask_id_at_ = loop_->now() + kErrorPause;
    if (body == nullptr) return;
    const Decoded<wire::InitProducerIdResponse> answer(*body, kInitVersion);
    if (!answer) return world_.model.fail(name_ + ": malformed InitProducerId answer");
    world_.trace.event(name_, "producer id {}: {}", answer->producer_id, wire::to_string(answer->error_code));
    if (answer->error_code != wire::ErrorCode::none) return;
    id_ = answer->producer_id;
    world_.model.producer_id(id_, name_);
  });
}

Nanos IdempotentProducer::work(Nanos now) {
  if (id_ < 0) {
    if (!stopping()) ask_id();
    return stopping() ? INT64_MAX : now + kErrorPause;
  }
  for (std::int32_t partition = 0; partition < world_.scenario.partitions; ++partition) send_lane(partition);
  if (!stopping() && now >= next_send_) {
    const auto partition =
        static_cast<std::int32_t>(prng_.below(static_cast<std::uint64_t>(world_.scenario.partitions)));
    next_send_ = now + prng_.between(0, world_.scenario.think_max);
    begin_batch(partition);
    send_lane(partition);
  }
  const Nanos soon = now + kErrorPause;  // what waits for a leader
  return stopping() ? soon : std::min(soon, std::max(next_send_, now + kMillisecond));
}

void IdempotentProducer::begin_batch(std::int32_t partition) {
  Lane& lane = lanes_[static_cast<std::size_t>(partition)];
  if (lane.pending.size() >= std::min<std::size_t>(kInFlightMax, world_.scenario.in_flight)) return;
  Batch batch = make_batch(next_number_,
                           {.producer_id = id_, .producer_epoch = 0, .base_sequence = lane.next_sequence});
  lane.next_sequence += static_cast<std::int32_t>(batch.numbers.size());
  lane.pending.push_back({.batch = std::move(batch)});
  ++unresolved_;
}

// In order: what is in flight behind a batch that failed will fail, too, or is repeated as well.
void IdempotentProducer::send_lane(std::int32_t partition) {
  Lane& lane = lanes_[static_cast<std::size_t>(partition)];
  if (loop_->now() < lane.not_before) return;
  for (std::size_t i = 0; i < lane.pending.size(); ++i) {
    Pending& pending = lane.pending[i];
    if (pending.in_flight || pending.batch.numbers.empty()) continue;
    // A server that does not know the producer yet takes any sequence: the first batch goes alone.
    if (lane.first == 0 && i > 0) return;
    if (leader_link(partition) == nullptr) return;
    pending.in_flight = true;
    pending.sent_as_oldest = i == 0;
    const std::uint64_t ticket = lane.first + i;
    send(partition, pending.batch.bytes,
         [this, partition, ticket](const ByteView* body) { on_answer(partition, ticket, body); });
  }
}

void IdempotentProducer::on_answer(std::int32_t partition, std::uint64_t ticket, const ByteView* body) {
  Lane& lane = lanes_[static_cast<std::size_t>(partition)];
  const std::size_t at = ticket - lane.first;
  Pending& pending = lane.pending[at];
  pending.in_flight = false;
  const auto result = body == nullptr ? std::nullopt : outcome(*body);
  if (!result) return;
  if (result->code == wire::ErrorCode::none) {
    acknowledged_ += pending.batch.numbers.size();
    --unresolved_;
    tell_acknowledged(partition, result->base_offset, pending.batch.numbers);
    pending.batch.numbers.clear();  // acknowledged
    while (!lane.pending.empty() && lane.pending.front().batch.numbers.empty()) {
      lane.pending.pop_front();
      ++lane.first;
    }
    return;
  }
  world_.trace.event(name_, "partition {}: records {}.. refused: {}", partition,
                     pending.batch.numbers.front(), wire::to_string(result->code));
  // Everything before the oldest is acknowledged, so it follows, or it is one of the last five.
  const bool sequence_error = result->code == wire::ErrorCode::out_of_order_sequence_number ||
                              result->code == wire::ErrorCode::invalid_producer_epoch;
  if (sequence_error && pending.sent_as_oldest) {
    return world_.model.fail(fmt::format("{}: partition {}: records {}..: the server lost its place: {}",
                                         name_, partition, pending.batch.numbers.front(),
                                         wire::to_string(result->code)));
  }
  if (!sequence_error) forget_leaders();
  lane.not_before = loop_->now() + kErrorPause;
}

}  // namespace esc::escsim
