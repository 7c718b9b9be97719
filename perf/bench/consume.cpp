#include "consume.h"

#include <algorithm>

#include "esc/base/assert.h"
#include "esc/wire/compression.h"

namespace esc::bench {

namespace {
constexpr std::size_t kScratchBytesMax = 256 * kMiB;
constexpr std::size_t kExamplesMax = 10;
}  // namespace

bool RecordReader::open(wire::BatchView batch) {
  count_ = batch.record_count();
  if (batch.codec() == wire::Codec::none) {
    bytes_ = batch.payload();
    return true;
  }
  if (scratch_.empty()) scratch_.resize(4 * kMiB);
  while (true) {
    const auto records = wire::batch_records(batch, scratch_);
    if (records) {
      bytes_ = *records;
      return true;
    }
    if (records.error() != Errc::too_large || scratch_.size() >= kScratchBytesMax) return false;
    scratch_.resize(scratch_.size() * 4);
  }
}

MeasuringSink::MeasuringSink(std::uint64_t run_id, bool check, std::vector<std::int64_t> from)
    : run_id_(run_id),
      check_(check),
      expected_(std::move(from)),
      stats_(std::make_unique<ConsumeStats>(Window{})) {}

void MeasuringSink::begin(const Window& window) {
  window_ = window;
  *stats_ = ConsumeStats(window);
}

void MeasuringSink::on_batch(std::uint32_t partition, wire::BatchView batch, Nanos received) {
  ConsumeStats& stats = *stats_;
  const auto count = static_cast<std::uint64_t>(batch.record_count());
  if (batch.base_offset() > expected_[partition]) ++stats.offset_errors;
  expected_[partition] = batch.next_offset();
  stats.events_ever += count;
  if (stats.first_receive == 0) stats.first_receive = received;
  stats.last_receive = received;
  if (window_.measures(received)) {
    stats.events += count;
    stats.bytes += batch.size();
  }
  if (check_ && !batch.crc_valid()) stats.bad_events += count;
  if (run_id_ != 0 || check_) read_events(batch, received);
}

void MeasuringSink::read_events(wire::BatchView batch, Nanos received) {
  if (!reader_.open(batch)) {
    stats_->bad_events += static_cast<std::uint64_t>(batch.record_count());
    return;
  }
  std::uint64_t ours = 0;
  auto records = reader_.records();
  while (const auto record = records.next()) {
    const auto event = record->value ? read_event(*record->value) : std::nullopt;
    if (!event || (check_ && !checker_.valid(*record->value))) {
      ++stats_->bad_events;
    } else if (event->run_id == run_id_) {
      ++ours;
      stats_->latency.record(event->intended, received - event->intended);
    }
  }
  run_events_.store(run_events_.load(std::memory_order_relaxed) + ours, std::memory_order_relaxed);
}

VerifyingSink::VerifyingSink(std::vector<AckedRange> acked, std::vector<std::int64_t> from)
    : acked_(std::move(acked)), partitions_(from.size()) {
  for (std::size_t p = 0; p < partitions_.size(); ++p) {
    const auto below = [](const AckedRange& range, std::size_t value) { return range.partition < value; };
    partitions_[p].next_offset = from[p];
    const auto first = std::lower_bound(acked_.begin(), acked_.end(), p, below);
    const auto last = std::lower_bound(first, acked_.end(), p + 1, below);
    partitions_[p].range = static_cast<std::size_t>(first - acked_.begin());
    partitions_[p].range_end = static_cast<std::size_t>(last - acked_.begin());
  }
  for (const AckedRange& range : acked_) {
    report_.acked_events += range.count;
    if (range.partition >= partitions_.size()) lose(range, range.base_offset, range.end_offset());
  }
}

void VerifyingSink::note(std::string text) {
  if (report_.examples.size() < kExamplesMax) report_.examples.push_back(std::move(text));
}

void VerifyingSink::lose(const AckedRange& range, std::int64_t from, std::int64_t to) {
  report_.lost += static_cast<std::uint64_t>(to - from);
  note("acknowledged but missing: partition " + std::to_string(range.partition) + ", offsets " +
       std::to_string(from) + " to " + std::to_string(to - 1));
}

void VerifyingSink::on_batch(std::uint32_t partition, wire::BatchView batch, Nanos) {
  Partition& state = partitions_[partition];
  report_.bytes += batch.size();
  if (batch.base_offset() > state.next_offset) {
    ++report_.offset_gaps;
    note("partition " + std::to_string(partition) + ": offset " + std::to_string(state.next_offset) +
         " expected, batch begins at " + std::to_string(batch.base_offset()));
  }
  const std::int64_t skip_below = state.next_offset;
  state.next_offset = batch.next_offset();
  if (!batch.crc_valid() || !reader_.open(batch)) {
    report_.damaged += static_cast<std::uint64_t>(batch.record_count());
    note("partition " + std::to_string(partition) + ": damaged batch at offset " +
         std::to_string(batch.base_offset()));
    return;
  }
  auto records = reader_.records();
  while (const auto record = records.next()) {
    const std::int64_t offset = batch.base_offset() + record->offset_delta;
    if (offset < skip_below) continue;
    check_event(partition, offset, record->value.value_or(ByteView()));
  }
  if (records.failed()) {
    ++report_.damaged;
    note("partition " + std::to_string(partition) + ": malformed records at offset " +
         std::to_string(batch.base_offset()));
  }
}

void VerifyingSink::check_event(std::uint32_t partition, std::int64_t offset, ByteView value) {
  ++report_.events;
  Partition& state = partitions_[partition];
  if (!checker_.valid(value)) {
    ++report_.damaged;
    note("partition " + std::to_string(partition) + ": damaged event at offset " + std::to_string(offset));
    return;
  }
  const Event event = *read_event(value);
  if (event.partition != partition) {
    ++report_.misplaced;
    note("partition " + std::to_string(partition) + ": offset " + std::to_string(offset) +
         " holds an event of partition " + std::to_string(event.partition));
  }
  check_acked(state, partition, offset, event);
  check_order(state, partition, offset, event);
}

// Ranges are sorted by offset and events come in offset order, so one step forward through both suffices. A
// range that was passed without all its events is noticed in finish(), by the sums.
void VerifyingSink::check_acked(Partition& state, std::uint32_t partition, std::int64_t offset,
                                const Event& event) {
  while (state.range < state.range_end && acked_[state.range].end_offset() <= offset) ++state.range;
  if (state.range == state.range_end || offset < acked_[state.range].base_offset) {
    ++report_.unacknowledged;
    return;
  }
  AckedRange& range = acked_[state.range];
  const std::uint64_t sequence =
      range.first_sequence + static_cast<std::uint64_t>(offset - range.base_offset);
  if (event.run_id == range.run_id && event.producer == range.producer && event.sequence == sequence) {
    ++report_.acked_found;
    return;
  }
  ++report_.wrong;
  note("partition " + std::to_string(partition) + ": offset " + std::to_string(offset) + " holds sequence " +
       std::to_string(event.sequence) + " of producer " + std::to_string(event.producer) +
       ", acknowledged was " + std::to_string(sequence) + " of producer " + std::to_string(range.producer));
}

void VerifyingSink::check_order(Partition& state, std::uint32_t partition, std::int64_t offset,
                                const Event& event) {
  const auto [found, fresh] = state.streams.try_emplace({event.run_id, event.producer});
  Stream& stream = found->second;
  if (fresh) stream.next = event.sequence;  // reading may begin anywhere
  if (event.sequence >= stream.next) {
    if (event.sequence > stream.next) stream.gaps.emplace_back(stream.next, event.sequence);
    stream.next = event.sequence + 1;
    return;
  }
  const bool skipped = std::any_of(stream.gaps.begin(), stream.gaps.end(), [&](const auto& gap) {
    return event.sequence >= gap.first && event.sequence < gap.second;
  });
  if (!skipped) {
    ++report_.duplicates;
    return;
  }
  ++report_.reordered;
  note("partition " + std::to_string(partition) + ": sequence " + std::to_string(event.sequence) +
       " of producer " + std::to_string(event.producer) + " came late, at offset " + std::to_string(offset));
}

void VerifyingSink::finish() {
  for (std::size_t p = 0; p < partitions_.size(); ++p) {
    const Partition& state = partitions_[p];
    for (std::size_t i = state.range; i < state.range_end; ++i) {
      const std::int64_t from = std::max(acked_[i].base_offset, state.next_offset);
      if (from < acked_[i].end_offset()) lose(acked_[i], from, acked_[i].end_offset());
    }
  }
  // Whatever is missing in the middle: inside offset gaps, damaged batches, or ranges that overlap.
  const std::uint64_t explained = report_.acked_found + report_.wrong + report_.lost;
  if (explained >= report_.acked_events) return;
  report_.lost = report_.acked_events - report_.acked_found - report_.wrong;
  note("acknowledged but missing in the middle of the log: " +
       std::to_string(report_.acked_events - explained));
}

}  // namespace esc::bench
