#include "event_ids.h"

#include "esc/wire/compression.h"
#include "esc/wire/event_id.h"
#include "respond.h"

namespace esc::broker {
namespace {

constexpr std::size_t kPlainBytesFirst = 1 * kMiB;

}  // namespace

bool EventIds::read(Request& request, std::span<ProduceItem> items) {
  std::size_t records = 0;
  for (const ProduceItem& item : items) {
    if (item.dedup != nullptr) records += static_cast<std::size_t>(item.record_count);
  }
  if (records == 0) return true;
  auto room = broker_.allocate<dedup::Id>(request, records);
  if (room.data() == nullptr) return false;
  for (ProduceItem& item : items) {
    if (item.dedup == nullptr) continue;
    const auto count = static_cast<std::size_t>(item.record_count);
    item.judge(read_item(item, room.first(count)));
    room = room.subspan(count);
  }
  return true;
}

wire::BatchVerdict EventIds::read_item(ProduceItem& item, std::span<dedup::Id> ids) {
  const TopicView& view = *item.dedup;
  const wire::BatchView batch = *wire::BatchView::parse(item.batch);
  std::expected<ByteView, Errc> records = batch.payload();
  if (batch.codec() != wire::Codec::none) {
    if (plain_.empty()) plain_.resize(kPlainBytesFirst);
    records = wire::batch_records(batch, plain_);
    while (!records && records.error() == Errc::too_large && plain_.size() < replica::kBatchPlainBytesMax) {
      plain_.resize(plain_.size() * 2);
      records = wire::batch_records(batch, plain_);
    }
    if (!records && records.error() == Errc::too_large)
      return {wire::ErrorCode::message_too_large, "the records of the batch exceed 16 MiB"};
    if (!records) return {wire::ErrorCode::corrupt_message, "compressed records are damaged"};
  }
  const dedup::IdKey key = dedup::make_key(view.topic->id, as_bytes(broker_.options().cluster_id));
  bool any = false;
  const wire::BatchVerdict verdict = wire::check_event_ids(
      batch, *records, produce_limits(broker_, view), event_id_rule(view.settings),
      [&](std::int32_t number, const wire::NullableBytes& bytes) {
        ids[static_cast<std::size_t>(number)] = bytes ? dedup::make_id(key, *bytes) : dedup::Id{};
        any = any || bytes.has_value();
      });
  if (!verdict.ok()) return verdict;
  if (any) {
    item.ids = {
        ids, {view.settings.dedup_window_ms, static_cast<std::uint64_t>(view.settings.dedup_window_bytes)}};
  }
  return {};
}

wire::BatchVerdict EventIds::validate_keyed(const wire::NullableBytes& records,
                                            wire::ProduceBatchLimits limits) {
  limits.compacted = true;
  if (plain_.empty()) plain_.resize(kPlainBytesFirst);
  for (;;) {
    limits.decompression_scratch = plain_;
    const wire::BatchVerdict verdict = wire::validate_produce_batch(records, limits);
    const bool no_room = verdict.code == wire::ErrorCode::message_too_large && records.has_value() &&
                         records->size() <= limits.batch_bytes_max;
    if (!no_room || plain_.size() >= replica::kBatchPlainBytesMax) return verdict;
    plain_.resize(plain_.size() * 2);
  }
}

}  // namespace esc::broker
