#include "producer_state.h"

namespace esc::replica {

ProducerVerdict judge(const ProducerState* known, const ProducerBatch& next) {
  if (known == nullptr) return {};
  if (next.epoch < known->epoch) return {Errc::stale_epoch, nullptr};
  if (next.epoch > known->epoch) {
    return {next.batch.first_sequence == 0 ? Errc::ok : Errc::out_of_order, nullptr};
  }
  for (const SequencedBatch& before : known->batches) {
    if (before.first_sequence == next.batch.first_sequence &&
        before.last_sequence == next.batch.last_sequence)
      return {Errc::already_exists, &before};
  }
  const std::int32_t expected = last_sequence(known->batches.back().last_sequence, 2);
  return {next.batch.first_sequence == expected ? Errc::ok : Errc::out_of_order, nullptr};
}

void advance(ProducerState& state, const ProducerBatch& next) {
  if (next.epoch != state.epoch) {
    state.epoch = next.epoch;
    state.batches.clear();
  }
  if (state.batches.full()) state.batches.erase_at(0);
  state.batches.push_back(next.batch);
}

}  // namespace esc::replica
