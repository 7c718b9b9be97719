// What a partition remembers of one idempotent producer, and how a new batch of it is judged.
//
// A producer has an id and an epoch; each of its batches for a partition carries the sequence numbers of its
// records, which follow each other without a gap and wrap from 2147483647 to 0. The newest five batches are
// remembered, because a client may have five requests in flight and repeats them after a lost answer.
// Source: KIP-98, KIP-360, Kafka's ProducerStateManager and ProducerAppendInfo.
//
// Pure. Threading: the group's core. No allocation.
#pragma once

#include <cstdint>

#include "esc/base/fixed_vector.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"

namespace esc::replica {

inline constexpr std::size_t kProducerBatchesMax = 5;
inline constexpr std::int32_t kSequenceMask = 0x7fffffff;

// A place in a producer's sequence, and in the log.
struct SequencedBatch {
  std::int32_t first_sequence = 0;
  std::int32_t last_sequence = 0;
  Offset base_offset;
  Offset last_offset;
  WallMs time = 0;  // of the log entry
  Index index;      // of the log entry
  bool operator==(const SequencedBatch&) const = default;
};

struct ProducerKey {
  PartitionId partition;
  std::int64_t producer = -1;
  bool operator==(const ProducerKey&) const = default;
};

// One idempotent batch as it is appended or committed.
struct ProducerBatch {
  ProducerKey key;
  std::int16_t epoch = -1;
  SequencedBatch batch;
};

struct ProducerState {
  std::int16_t epoch = -1;
  FixedVector<SequencedBatch, kProducerBatchesMax> batches;  // oldest first, never empty in a map
};

// The last sequence of a batch of `count` records.
[[nodiscard]] constexpr std::int32_t last_sequence(std::int32_t first, std::int64_t count) {
  return static_cast<std::int32_t>((std::int64_t{first} + count - 1) & kSequenceMask);
}

// ok: it follows, or nothing is known of the producer. already_exists: `original` is the same batch.
// stale_epoch: the producer has been replaced. out_of_order: a gap, or a new epoch that does not start at 0.
struct ProducerVerdict {
  Errc code = Errc::ok;
  const SequencedBatch* original = nullptr;
};
[[nodiscard]] ProducerVerdict judge(const ProducerState* known, const ProducerBatch& next);

// Remembers a batch that the log has; whether it follows is not asked here.
void advance(ProducerState& state, const ProducerBatch& next);

}  // namespace esc::replica
