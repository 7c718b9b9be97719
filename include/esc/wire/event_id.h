// Event ids in record batches: finding them, and taking records out of a batch whose ids have been seen
// before.
//
// Pure. Records are given uncompressed: PlainRecords of compression.h makes them so.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/wire/record_checks.h"

namespace esc::wire {

// Where a topic's records carry their id.
struct EventIdRule {
  bool key = false;         // the record's key...
  std::string_view header;  // ...or the first header of this name
};

// The id's bytes: nothing without the header or key, and when it is null or empty. Walks all headers. False:
// they are malformed.
[[nodiscard]] bool read_event_id(const Record& record, const EventIdRule& rule, NullableBytes& id);

// check_records(), which calls f(record number, id) for every record.
template <class F>
BatchVerdict check_event_ids(BatchView batch, ByteView records, const ProduceBatchLimits& limits,
                             const EventIdRule& rule, F&& f) {
  return check_records(batch, records, limits, [&](std::int32_t number, const Record& record) {
    NullableBytes id;
    if (!read_event_id(record, rule, id)) return false;
    f(number, id);
    return true;
  });
}

// The batch without the records whose `drop` is true; at least one must remain. Offsets of the rest are dense
// again, count, last offset delta, largest timestamp, length and CRC follow; everything else, the producer's
// sequence too, stays. Compressed with the codec it had: `plain` then takes the uncompressed records and is
// at least as large as `records`. `out` has kBatchHeaderBytes more than compressed_bytes_max() of that.
// Errors: corruption; too_large when a buffer is too small.
struct RewriteBuffers {
  ByteSpan plain;
  ByteSpan out;
};
[[nodiscard]] std::expected<ByteView, Errc> remove_records(BatchView batch, ByteView records,
                                                           std::span<const bool> drop,
                                                           const RewriteBuffers& buffers);

}  // namespace esc::wire
