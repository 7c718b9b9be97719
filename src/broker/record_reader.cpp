#include "record_reader.h"

#include "esc/wire/event_id.h"
#include "respond.h"

namespace esc::broker {
namespace {

std::size_t ids_of(const ProduceItem& item) {
  const bool dedup = item.unread != nullptr && item.unread->settings.dedup_window_ms > 0;
  return dedup ? static_cast<std::size_t>(item.record_count) : 0;
}

}  // namespace

bool RecordReader::read(Request& request, std::span<ProduceItem> items) {
  std::size_t count = 0;
  for (const ProduceItem& item : items) count += ids_of(item);
  auto room = broker_.allocate<dedup::Id>(request, count);
  if (count != 0 && room.data() == nullptr) return false;
  for (ProduceItem& item : items) {
    if (item.unread == nullptr) continue;
    item.judge(read_item(item, room.first(ids_of(item))));
    room = room.subspan(ids_of(item));
  }
  return true;
}

wire::BatchVerdict RecordReader::read_item(ProduceItem& item, std::span<dedup::Id> ids) {
  const TopicView& view = *item.unread;
  const wire::BatchView batch = *wire::BatchView::parse(item.batch);
  const auto records = plain_.of(batch);
  if (!records && records.error() == Errc::too_large)
    return {wire::ErrorCode::message_too_large, "the records of the batch exceed 16 MiB"};
  if (!records) return {wire::ErrorCode::corrupt_message, "compressed records are damaged"};
  wire::ProduceBatchLimits limits = produce_limits(broker_, view);
  limits.compacted = view.settings.cleanup_compact;
  return ids.empty() ? wire::check_records(batch, *records, limits)
                     : read_ids(item, batch, *records, limits, ids);
}

wire::BatchVerdict RecordReader::read_ids(ProduceItem& item, wire::BatchView batch, ByteView records,
                                          const wire::ProduceBatchLimits& limits, std::span<dedup::Id> ids) {
  const TopicView& view = *item.unread;
  const dedup::IdKey key = dedup::make_key(view.topic->id, as_bytes(broker_.options().cluster_id));
  bool any = false;
  const wire::BatchVerdict verdict = wire::check_event_ids(
      batch, records, limits, event_id_rule(view.settings),
      [&](std::int32_t number, const wire::NullableBytes& bytes) {
        ids[static_cast<std::size_t>(number)] = bytes ? dedup::make_id(key, *bytes) : dedup::Id{};
        any = any || bytes.has_value();
      });
  if (!verdict.ok() || !any) return verdict;
  item.ids = {ids,
              {view.settings.dedup_window_ms, static_cast<std::uint64_t>(view.settings.dedup_window_bytes)}};
  return {};
}

}  // namespace esc::broker
