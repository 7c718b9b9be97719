#include "batch_cleaner.h"

#include <algorithm>

#include "esc/base/assert.h"
#include "esc/wire/rewrite.h"

namespace esc::store {
namespace {

constexpr std::uint64_t kPackingWeight = 8;  // of unpacking, roughly

}  // namespace

std::expected<ByteView, Errc> BatchCleaner::records_of(wire::BatchView batch) {
  const auto records = plain_.of(batch);
  if (records && batch.codec() != wire::Codec::none) effort_ += records->size();
  return records;
}

std::expected<bool, Errc> BatchCleaner::note(wire::BatchView batch) {
  const auto records = records_of(batch);
  if (!records) return std::unexpected(records.error());
  wire::RecordIterator iterator(*records, batch.record_count());
  while (const auto record = iterator.next()) {
    const Offset offset = Offset(batch.base_offset()) + record->offset_delta;
    if (offset < settings_.dirty_from || !record->key.has_value()) continue;
    if (map_.put(id_of(*record->key), offset)) continue;
    // What the map has of this batch already is right all the same: those records are there, and stay.
    map_end_ = Offset(batch.base_offset()) > settings_.dirty_from ? Offset(batch.base_offset()) : offset;
    return false;
  }
  if (iterator.failed()) return std::unexpected(Errc::corruption);
  return true;
}

bool BatchCleaner::stays(wire::BatchView batch, const wire::Record& record, Verdict& verdict) const {
  const Offset offset = Offset(batch.base_offset()) + record.offset_delta;
  // A record without a key has no successor. They are refused, but a topic may have become a compacted one.
  if (offset >= map_end_ || !record.key.has_value()) return true;
  if (map_.find(id_of(*record.key)) > offset) return false;
  if (record.value.has_value()) return true;
  const auto horizon = wire::delete_horizon(batch);
  if (horizon.has_value() && *horizon < settings_.now_ms) return false;
  verdict.tombstones = true;
  return true;
}

std::expected<BatchCleaner::Verdict, Errc> BatchCleaner::judge(wire::BatchView batch, ByteView records) {
  Verdict verdict;
  keep_.clear();
  offsets_.clear();
  wire::RecordIterator iterator(records, batch.record_count());
  while (const auto record = iterator.next()) {
    const bool kept = stays(batch, *record, verdict);
    keep_.push_back(kept ? 1 : 0);
    offsets_.push_back(record->offset_delta);
    verdict.kept += kept ? 1 : 0;
  }
  if (iterator.failed()) return std::unexpected(Errc::corruption);
  return verdict;
}

Errc BatchCleaner::clean(wire::BatchView batch, bool last) {
  const auto count = static_cast<std::uint64_t>(batch.record_count());
  if (taken_) ready_.clear();
  taken_ = false;
  if (Offset(batch.base_offset()) >= map_end_ && any()) {
    records_kept_ += count;
    add(batch.bytes());
  } else {
    const auto records = records_of(batch);
    if (!records) return records.error();
    const auto verdict = judge(batch, *records);
    if (!verdict) return verdict.error();
    records_kept_ += verdict->kept;
    records_removed_ += count - verdict->kept;
    const Offset anchor = any() ? Offset(load_be<std::int64_t>(pending_.data())) : settings_.from;
    const bool too_far = Offset(batch.last_offset()) - anchor > settings_.gap_max;
    Errc code = Errc::ok;
    if (verdict->kept > 0) {
      code = rewrite(batch, *records, *verdict);
    } else if (too_far || (last && !any())) {
      code = leave_mark(batch, *records);
    }
    if (code != Errc::ok) return code;
  }
  if (last) {
    wire::stretch_batch(pending_, batch.last_offset());
    ready_.insert(ready_.end(), pending_.begin(), pending_.end());
  }
  return Errc::ok;
}

// What stays, as one batch, or as two when one would be too large.
Errc BatchCleaner::rewrite(wire::BatchView batch, ByteView records, const Verdict& verdict) {
  auto horizon = wire::delete_horizon(batch);
  // Beyond the map nothing is known yet of what the tombstones have deleted.
  if (verdict.tombstones && !horizon.has_value() && Offset(batch.last_offset()) < map_end_)
    horizon = settings_.now_ms + settings_.delete_retention_ms;
  if (verdict.tombstones && horizon.has_value()) tombstones_until_ = std::max(tombstones_until_, *horizon);
  const bool all = verdict.kept == keep_.size();
  const bool in_place = any() || Offset(batch.base_offset()) == settings_.from;
  if (all && in_place && horizon == wire::delete_horizon(batch)) {
    add(batch.bytes());
    return Errc::ok;
  }
  return rewrite_part(batch, records, 0, keep_.size(), horizon);
}

Errc BatchCleaner::rewrite_part(wire::BatchView batch, ByteView records, std::size_t from, std::size_t to,
                                std::optional<WallMs> horizon) {
  std::vector<std::uint8_t> keep(keep_.size(), 0);
  std::copy(keep_.begin() + static_cast<std::ptrdiff_t>(from),
            keep_.begin() + static_cast<std::ptrdiff_t>(to),
            keep.begin() + static_cast<std::ptrdiff_t>(from));
  const auto first = std::find(keep.begin(), keep.end(), std::uint8_t{1});
  if (first == keep.end()) return Errc::ok;
  const auto first_delta = offsets_[static_cast<std::size_t>(first - keep.begin())];
  wire::BatchRewrite rewrite;
  rewrite.base_offset = !any() ? settings_.from.value() : batch.base_offset() + (from == 0 ? 0 : first_delta);
  rewrite.last_offset = to == keep_.size() ? batch.last_offset() : batch.base_offset() + offsets_[to - 1];
  rewrite.delete_horizon = horizon;
  if (rewrite.last_offset < rewrite.base_offset) return Errc::corruption;
  rewritten_.resize(wire::rewrite_plain_bytes(records.size(), keep.size()));
  packed_.resize(wire::kBatchHeaderBytes + wire::compressed_bytes_max(batch.codec(), rewritten_.size()));
  const auto result =
      wire::rewrite_batch(batch, records, keep, rewrite, {.plain = rewritten_, .out = packed_});
  if (!result) return result.error();
  if (batch.codec() != wire::Codec::none) effort_ += kPackingWeight * records.size();
  const bool too_large = result->size() > batch.size() && result->size() > settings_.batch_bytes_max;
  if (!too_large || to - from < 2) {
    add(*result);
    return Errc::ok;
  }
  const std::size_t middle = from + (to - from) / 2;
  if (const Errc code = rewrite_part(batch, records, from, middle, horizon); code != Errc::ok) return code;
  return rewrite_part(batch, records, middle, to, horizon);
}

// The batch's last record as a tombstone: right whether it was one or has a successor.
Errc BatchCleaner::leave_mark(wire::BatchView batch, ByteView records) {
  wire::RecordIterator iterator(records, batch.record_count());
  std::optional<wire::Record> last;
  while (const auto record = iterator.next()) last = *record;
  if (!last || !last->key.has_value()) return Errc::corruption;
  std::vector<std::byte> mark(wire::kBatchHeaderBytes + last->key->size() + 64);
  wire::BatchOptions options;
  options.base_offset = batch.base_offset() + last->offset_delta;
  options.leader_epoch = batch.leader_epoch();
  wire::BatchBuilder builder(mark, options);
  if (!builder.append(batch.max_timestamp(), last->key, std::nullopt)) return Errc::too_large;
  const wire::BatchView built = *wire::BatchView::parse(builder.finish());
  ++records_kept_;
  --records_removed_;
  keep_.assign(1, 1);
  offsets_.assign(1, 0);
  return rewrite(built, built.payload(), {.kept = 1, .tombstones = false});
}

void BatchCleaner::add(ByteView batch) {
  const auto base = load_be<std::int64_t>(batch.data());
  if (any()) {
    wire::stretch_batch(pending_, base - 1);
    ready_.insert(ready_.end(), pending_.begin(), pending_.end());
  }
  ESC_ASSERT(any() || Offset(base) == settings_.from);
  pending_.assign(batch.begin(), batch.end());
}

ByteSpan BatchCleaner::take() {
  taken_ = true;
  return ready_;
}

}  // namespace esc::store
