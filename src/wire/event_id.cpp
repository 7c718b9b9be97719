#include "esc/wire/event_id.h"

#include <algorithm>
#include <cstring>

#include "repack.h"

namespace esc::wire {
namespace {

// One record as it lies in the batch, cut around its offset delta.
struct RawRecord {
  ByteView before;  // attributes and timestamp delta
  ByteView after;   // key, value, headers
  std::int64_t timestamp_delta = 0;
};

bool take_raw(ByteView& rest, RawRecord& record) {
  const auto length = take_varint(rest);
  if (!length || *length < 1 || static_cast<std::size_t>(*length) > rest.size()) return false;
  const ByteView body = rest.first(static_cast<std::size_t>(*length));
  rest = rest.subspan(body.size());
  ByteView cut = body.subspan(1);
  const auto timestamp_delta = take_varlong(cut);
  if (!timestamp_delta) return false;
  record.timestamp_delta = *timestamp_delta;
  record.before = body.first(body.size() - cut.size());
  if (!take_varint(cut)) return false;
  record.after = cut;
  return true;
}

std::byte* put_bytes(std::byte* to, ByteView bytes) {
  if (!bytes.empty()) std::memcpy(to, bytes.data(), bytes.size());
  return to + bytes.size();
}

struct Kept {
  std::size_t bytes = 0;
  std::int32_t records = 0;
  std::int64_t max_timestamp_delta = 0;
};

// Copies what stays to `to`, with new offset deltas.
std::expected<Kept, Errc> copy_kept(ByteView records, std::span<const bool> drop, ByteSpan to) {
  Kept kept;
  for (const bool dropped : drop) {
    RawRecord record;
    if (!take_raw(records, record)) return std::unexpected(Errc::corruption);
    if (dropped) continue;
    const std::size_t body = record.before.size() + varint_bytes(kept.records) + record.after.size();
    if (to.size() - kept.bytes < body + varint_bytes(static_cast<std::int64_t>(body)))
      return std::unexpected(Errc::too_large);
    std::byte* at = put_varint(to.data() + kept.bytes, static_cast<std::int64_t>(body));
    at = put_bytes(at, record.before);
    at = put_varint(at, kept.records);
    at = put_bytes(at, record.after);
    kept.bytes = static_cast<std::size_t>(at - to.data());
    kept.max_timestamp_delta = kept.records == 0 ? record.timestamp_delta
                                                 : std::max(kept.max_timestamp_delta, record.timestamp_delta);
    ++kept.records;
  }
  if (!records.empty() || kept.records == 0) return std::unexpected(Errc::corruption);
  return kept;
}

}  // namespace

bool read_event_id(const Record& record, const EventIdRule& rule, NullableBytes& id) {
  id = rule.key ? record.key : std::nullopt;
  if (record.header_count > 0) {
    bool found = rule.key;
    HeaderIterator headers(record);
    while (const auto header = headers.next()) {
      if (found || header->key != rule.header) continue;
      found = true;
      id = header->value;
    }
    if (headers.failed()) return false;
  }
  if (id.has_value() && id->empty()) id.reset();
  return true;
}

std::expected<ByteView, Errc> remove_records(BatchView batch, ByteView records, std::span<const bool> drop,
                                             const RewriteBuffers& buffers) {
  if (buffers.out.size() < kBatchHeaderBytes) return std::unexpected(Errc::too_large);
  const Repack repack(batch, buffers);
  const auto kept = copy_kept(records, drop, repack.records());
  if (!kept) return std::unexpected(kept.error());
  const auto packed = repack.finish(kept->bytes);
  if (!packed) return std::unexpected(packed.error());
  const ByteSpan result = *packed;
  store_be(result.data() + 23, kept->records - 1);
  store_be(result.data() + 35, batch.base_timestamp() + kept->max_timestamp_delta);
  store_be(result.data() + 57, kept->records);
  stamp_crc(result);
  return result;
}

}  // namespace esc::wire
