// The checks of single records that a partition leader makes, in one walk with whatever else the caller
// wants of each record. validate_produce_batch() makes them with nothing else.
//
// Pure. Records are given uncompressed: PlainRecords of compression.h makes them so.
#pragma once

#include "esc/wire/record_batch.h"

namespace esc::wire {

// Against the limits' clock; not when the topic stamps LogAppendTime.
[[nodiscard]] bool timestamp_accepted(std::int64_t timestamp, const ProduceBatchLimits& limits);

// Walks all headers. False: they are malformed.
[[nodiscard]] bool headers_well_formed(const Record& record);

// Calls read_headers(record number, record) -> bool for every record that is sound so far; false: its headers
// are malformed.
template <class F>
BatchVerdict check_records(BatchView batch, ByteView records, const ProduceBatchLimits& limits,
                           F&& read_headers) {
  RecordIterator iterator(records, batch.record_count());
  std::int32_t index = 0;
  while (const auto record = iterator.next()) {
    if (record->offset_delta != index)
      return {ErrorCode::invalid_record, "record offsets are not consecutive", index};
    std::int64_t timestamp = 0;
    if (__builtin_add_overflow(batch.base_timestamp(), record->timestamp_delta, &timestamp) ||
        !timestamp_accepted(timestamp, limits))
      return {ErrorCode::invalid_timestamp, "record timestamp is out of range", index};
    if (limits.compacted && !record->key.has_value())
      return {ErrorCode::invalid_record, "compacted topic needs a key in every record", index};
    if (!read_headers(index, *record)) return {ErrorCode::invalid_record, "malformed record headers", index};
    ++index;
  }
  if (iterator.failed()) return {ErrorCode::invalid_record, "malformed record", index};
  return {};
}
// Wants nothing else.
[[nodiscard]] BatchVerdict check_records(BatchView batch, ByteView records, const ProduceBatchLimits& limits);

}  // namespace esc::wire
