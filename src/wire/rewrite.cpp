#include "esc/wire/rewrite.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "esc/base/assert.h"
#include "repack.h"

namespace esc::wire {
namespace {

// What a record grows by at most: longer deltas, and a longer length before it.
constexpr std::size_t kGrowthBytesMax = 20;

// One record as it lies in the batch.
struct RawRecord {
  std::byte attributes{};
  std::int64_t timestamp_delta = 0;
  std::int32_t offset_delta = 0;
  ByteView after;  // key, value, headers
};

bool take_raw(ByteView& rest, RawRecord& record) {
  const auto length = take_varint(rest);
  if (!length || *length < 1 || static_cast<std::size_t>(*length) > rest.size()) return false;
  ByteView body = rest.first(static_cast<std::size_t>(*length));
  rest = rest.subspan(body.size());
  record.attributes = body[0];
  body = body.subspan(1);
  const auto timestamp_delta = take_varlong(body);
  if (!timestamp_delta) return false;
  const auto offset_delta = take_varint(body);
  if (!offset_delta) return false;
  record.timestamp_delta = *timestamp_delta;
  record.offset_delta = *offset_delta;
  record.after = body;
  return true;
}

std::byte* put_record(std::byte* to, const RawRecord& record) {
  const std::size_t body =
      1 + varint_bytes(record.timestamp_delta) + varint_bytes(record.offset_delta) + record.after.size();
  to = put_varint(to, static_cast<std::int64_t>(body));
  *to++ = record.attributes;
  to = put_varint(to, record.timestamp_delta);
  to = put_varint(to, record.offset_delta);
  if (!record.after.empty()) std::memcpy(to, record.after.data(), record.after.size());
  return to + record.after.size();
}

// Clients may send any delta: unsigned arithmetic.
std::int64_t sum(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

std::int64_t difference(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) - static_cast<std::uint64_t>(b));
}

struct Kept {
  std::size_t bytes = 0;
  std::int32_t records = 0;
  std::int64_t max_timestamp_delta = std::numeric_limits<std::int64_t>::min();  // from the new base
};

struct Shift {
  std::int64_t timestamp = 0;
  std::int64_t offset = 0;
  std::int64_t offset_delta_max = 0;
};

std::expected<Kept, Errc> copy_kept(ByteView records, std::span<const std::uint8_t> keep, const Shift& shift,
                                    ByteSpan to) {
  Kept kept;
  for (const std::uint8_t stays : keep) {
    RawRecord record;
    if (!take_raw(records, record)) return std::unexpected(Errc::corruption);
    if (stays == 0) continue;
    record.timestamp_delta = sum(record.timestamp_delta, shift.timestamp);
    const std::int64_t offset_delta = record.offset_delta + shift.offset;
    if (offset_delta < 0 || offset_delta > shift.offset_delta_max) return std::unexpected(Errc::corruption);
    record.offset_delta = static_cast<std::int32_t>(offset_delta);
    if (to.size() - kept.bytes < record.after.size() + kGrowthBytesMax + 6)
      return std::unexpected(Errc::too_large);
    kept.bytes = static_cast<std::size_t>(put_record(to.data() + kept.bytes, record) - to.data());
    kept.max_timestamp_delta = std::max(kept.max_timestamp_delta, record.timestamp_delta);
    ++kept.records;
  }
  if (!records.empty() || kept.records == 0) return std::unexpected(Errc::corruption);
  return kept;
}

}  // namespace

std::size_t rewrite_plain_bytes(std::size_t record_bytes, std::size_t record_count) {
  return record_bytes + (record_count + 2) * kGrowthBytesMax;
}

std::expected<ByteView, Errc> rewrite_batch(BatchView batch, ByteView records,
                                            std::span<const std::uint8_t> keep, const BatchRewrite& rewrite,
                                            const RewriteBuffers& buffers) {
  const std::int64_t span = rewrite.last_offset - rewrite.base_offset;
  ESC_ASSERT(span >= 0);
  ESC_ASSERT(span <= std::numeric_limits<std::int32_t>::max());
  if (buffers.out.size() < kBatchHeaderBytes) return std::unexpected(Errc::too_large);
  const std::int64_t base_timestamp = rewrite.delete_horizon.value_or(batch.base_timestamp());
  const Shift shift{difference(batch.base_timestamp(), base_timestamp),
                    batch.base_offset() - rewrite.base_offset, span};
  const Repack repack(batch, buffers);
  const auto kept = copy_kept(records, keep, shift, repack.records());
  if (!kept) return std::unexpected(kept.error());
  const auto packed = repack.finish(kept->bytes);
  if (!packed) return std::unexpected(packed.error());
  const ByteSpan result = *packed;
  store_be(result.data(), rewrite.base_offset);
  if (rewrite.delete_horizon.has_value()) {
    store_be(result.data() + 21, static_cast<std::int16_t>(batch.attributes() | kAttributeDeleteHorizon));
  }
  store_be(result.data() + 23, static_cast<std::int32_t>(span));
  store_be(result.data() + 27, base_timestamp);
  // With LogAppendTime it is the time of every record.
  if (!batch.log_append_time()) store_be(result.data() + 35, sum(base_timestamp, kept->max_timestamp_delta));
  store_be(result.data() + 57, kept->records);
  stamp_crc(result);
  return result;
}

void stretch_batch(ByteSpan batch, std::int64_t last_offset) {
  const auto base = load_be<std::int64_t>(batch.data());
  const std::int64_t delta = last_offset - base;
  const auto before = load_be<std::int32_t>(batch.data() + 23);
  ESC_ASSERT(delta >= before);
  ESC_ASSERT(delta <= std::numeric_limits<std::int32_t>::max());
  if (delta == before) return;
  store_be(batch.data() + 23, static_cast<std::int32_t>(delta));
  stamp_crc(batch);
}

}  // namespace esc::wire
