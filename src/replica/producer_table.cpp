#include "producer_table.h"

#include <algorithm>
#include <cstring>

#include "esc/base/byte_codec.h"
#include "esc/logfmt/entry.h"
#include "esc/wire/record_batch.h"

namespace esc::replica {
namespace {

// Bounds the work of one entry after a long silence.
constexpr int kExpiredPerBatch = 4;
constexpr std::size_t kBatchBytes = 4 + 4 + 8 + 8 + 8 + 8;
constexpr std::size_t kProducerBytesMin = 8 + 2 + 1 + kBatchBytes;

void encode(const SequencedBatch& batch, ByteWriter& writer) {
  writer.number(batch.first_sequence);
  writer.number(batch.last_sequence);
  writer.number(batch.base_offset.value());
  writer.number(batch.last_offset.value());
  writer.number(batch.time);
  writer.number(batch.index.value());
}

std::optional<SequencedBatch> decode_batch(ByteReader& reader) {
  SequencedBatch batch;
  batch.first_sequence = reader.number<std::int32_t>();
  batch.last_sequence = reader.number<std::int32_t>();
  batch.base_offset = Offset(reader.number<std::int64_t>());
  batch.last_offset = Offset(reader.number<std::int64_t>());
  batch.time = reader.number<WallMs>();
  batch.index = Index(reader.number<std::uint64_t>());
  const bool valid = batch.first_sequence >= 0 && batch.last_sequence >= 0 &&
                     batch.base_offset >= Offset(0) && batch.time >= 0 && batch.index > Index(0);
  if (reader.failed() || !valid) return std::nullopt;
  return batch;
}

bool decode_state(ByteReader& reader, ProducerState& state) {
  state.epoch = reader.number<std::int16_t>();
  const auto batches = reader.number<std::uint8_t>();
  if (reader.failed() || state.epoch < 0 || batches == 0 || batches > kProducerBatchesMax) return false;
  for (std::uint8_t i = 0; i < batches; ++i) {
    const auto batch = decode_batch(reader);
    if (!batch) return false;
    if (!state.batches.empty() && batch->index <= state.batches.back().index) return false;
    state.batches.push_back(*batch);
  }
  return true;
}

}  // namespace

void ProducerTable::apply(ProducerBatch batch) {
  // Leaders' clocks may differ; the log's time never goes back.
  time_ = std::max(time_, batch.batch.time);
  batch.batch.time = time_;
  expire();
  ProducerState* state = map_.find(batch.key);
  if (state == nullptr) {
    if (map_.full()) {
      map_.erase(map_.oldest());
      ++evicted_;
    }
    state = &map_.insert(batch.key);
  } else {
    map_.touch(batch.key);
  }
  advance(*state, batch);
}

void ProducerTable::expire() {
  for (int i = 0; i < kExpiredPerBatch && map_.size() > 0; ++i) {
    const ProducerKey oldest = map_.oldest();
    if (time_ - map_.find(oldest)->batches.back().time <= kProducerExpiryMs) return;
    map_.erase(oldest);
  }
}

// The time is that of the newest, so that a loaded table goes on as this one does.
void ProducerTable::forget(PartitionId partition) {
  map_.erase_partition(partition);
  time_ = map_.size() == 0 ? 0 : map_.find(map_.newest())->batches.back().time;
}

void ProducerTable::clear() {
  map_.clear();
  time_ = 0;
}

void ProducerTable::save(PartitionId partition, std::vector<std::byte>& out) const {
  const std::size_t start = out.size();
  ByteWriter writer(out);
  writer.number(std::uint32_t{0});
  std::uint32_t count = 0;
  map_.for_each(partition, [&](const ProducerKey& key, const ProducerState& state) {
    ++count;
    writer.number(key.producer);
    writer.number(state.epoch);
    writer.number(static_cast<std::uint8_t>(state.batches.size()));
    for (const SequencedBatch& batch : state.batches) encode(batch, writer);
  });
  store_le(out.data() + start, count);
}

bool ProducerTable::load(PartitionId partition, ByteView bytes) {
  ByteReader reader(bytes);
  const std::uint32_t count = reader.count(kProducerBytesMin);
  for (std::uint32_t i = 0; i < count; ++i) {
    const ProducerKey key{partition, reader.number<std::int64_t>()};
    ProducerState state;
    if (!decode_state(reader, state)) return false;
    if (key.producer < 0 || map_.full() || map_.find(key) != nullptr) return false;
    map_.insert(key) = state;
    time_ = std::max(time_, state.batches.back().time);
  }
  return reader.at_end();
}

void ProducerTable::finish_load() {
  map_.sort_by_index();
}

std::optional<ProducerBatch> producer_batch(PartitionId partition, ByteView bytes) {
  const auto batch = wire::BatchView::parse(bytes);
  if (!batch || !batch->has_producer_id()) return std::nullopt;
  ProducerBatch sequenced;
  sequenced.key = {partition, batch->producer_id()};
  sequenced.epoch = batch->producer_epoch();
  sequenced.batch.first_sequence = batch->base_sequence();
  sequenced.batch.last_sequence = last_sequence(batch->base_sequence(), batch->record_count());
  sequenced.batch.base_offset = Offset(batch->base_offset());
  sequenced.batch.last_offset = Offset(batch->last_offset());
  return sequenced;
}

// A batch that was written without its duplicates still counts with all the records that its producer sent.
void place(ProducerBatch& batch, const EntryRecord& record) {
  logfmt::EntryHeader header;
  std::memcpy(&header, record.body - logfmt::kEntryHeaderBytes, sizeof header);
  const auto stored = wire::BatchView::parse(ByteView(record.body, record.body_bytes));
  batch.batch.last_sequence =
      last_sequence(batch.batch.first_sequence, std::int64_t{stored->record_count()} + header.dropped);
  batch.batch.base_offset = Offset(stored->base_offset());
  batch.batch.last_offset = Offset(stored->last_offset());
  batch.batch.time = header.timestamp_ms;
  batch.batch.index = record.index;
}

void ProducerOverlay::add(const ProducerTable& committed, const ProducerBatch& batch) {
  ProducerState* state = map_.find(batch.key);
  if (state == nullptr) {
    const ProducerState* known = committed.find(batch.key);
    const ProducerState before = known != nullptr ? *known : ProducerState{};
    state = &map_.insert(batch.key);
    *state = before;
  }
  advance(*state, batch);
}

void ProducerOverlay::committed(const ProducerKey& key, Index index) {
  const ProducerState* state = map_.find(key);
  if (state != nullptr && state->batches.back().index <= index) map_.erase(key);
}

}  // namespace esc::replica
