// The checks of a partition leader on produced records, in the order in which the Kafka broker makes them
// (ProduceRequest.validateRecords, UnifiedLog.analyzeAndValidateRecords, LogValidator).
#include "esc/wire/record_checks.h"
#include "esc/wire/rewrite.h"

namespace esc::wire {

namespace {

BatchVerdict refuse(ErrorCode code, const char* reason, std::int32_t record_index = -1) {
  return {code, reason, record_index};
}

// Exactly one whole batch of format v2 in a codec this version may use.
BatchVerdict check_frame(ByteView records, const ProduceBatchLimits& limits, BatchView& batch) {
  if (records.empty()) return refuse(ErrorCode::invalid_record, "no record batch");
  const auto parsed = BatchView::parse(records);
  if (!parsed.has_value()) {
    if (parsed.error() == Errc::unsupported)
      return refuse(ErrorCode::invalid_record, "record format is not v2");
    if (parsed.error() == Errc::corruption || records.size() < kBatchHeaderBytes) {
      return refuse(ErrorCode::corrupt_message, "record batch is shorter than its header");
    }
    return refuse(ErrorCode::invalid_record, "record batch is incomplete");
  }
  batch = *parsed;
  const auto codec = static_cast<std::uint8_t>(batch.codec());
  if (codec > kCodecMax) return refuse(ErrorCode::unsupported_compression_type, "unknown compression codec");
  if (batch.codec() == Codec::zstd && limits.produce_version < 7) {
    return refuse(ErrorCode::unsupported_compression_type, "zstd needs Produce v7");
  }
  if (batch.size() != records.size()) return refuse(ErrorCode::invalid_record, "more than one record batch");
  return {};
}

BatchVerdict check_header(BatchView batch, const ProduceBatchLimits& limits) {
  if (batch.base_offset() != 0) return refuse(ErrorCode::invalid_record, "base offset is not 0");
  const std::int32_t count = batch.record_count();
  if (count <= 0) return refuse(ErrorCode::invalid_record, "record count is not positive");
  if (count - 1 != batch.last_offset_delta()) {
    return refuse(ErrorCode::invalid_record, "record count and last offset delta disagree");
  }
  if (batch.control()) return refuse(ErrorCode::invalid_record, "clients may not write control batches");
  if (delete_horizon(batch).has_value())
    return refuse(ErrorCode::invalid_record, "clients may not set a delete horizon");
  if (batch.has_producer_id() && batch.base_sequence() < 0) {
    return refuse(ErrorCode::invalid_record, "producer id without a sequence");
  }
  if (batch.has_producer_id() && batch.producer_epoch() < 0) {
    return refuse(ErrorCode::invalid_record, "producer id without an epoch");
  }
  if (batch.transactional() && !limits.transactions_supported) {
    return refuse(ErrorCode::invalid_txn_state, "transactions are not supported");
  }
  if (batch.log_append_time())
    return refuse(ErrorCode::invalid_timestamp, "clients may not set LogAppendTime");
  return {};
}

}  // namespace

bool timestamp_accepted(std::int64_t timestamp, const ProduceBatchLimits& limits) {
  if (limits.log_append_time || timestamp == kNoTimestamp) return true;
  if (timestamp < 0) return false;
  // Both are milliseconds since the epoch and not negative here, so the differences cannot overflow.
  const std::int64_t now = limits.now_ms < 0 ? 0 : limits.now_ms;
  return now - timestamp <= limits.timestamp_before_max_ms &&
         timestamp - now <= limits.timestamp_after_max_ms;
}

bool headers_well_formed(const Record& record) {
  if (record.header_count == 0) return true;
  HeaderIterator headers(record);
  while (headers.next().has_value()) {
  }
  return !headers.failed();
}

BatchVerdict check_records(BatchView batch, ByteView records, const ProduceBatchLimits& limits) {
  return check_records(batch, records, limits,
                       [](std::int32_t, const Record& record) { return headers_well_formed(record); });
}

BatchVerdict validate_produce_batch(NullableBytes records, const ProduceBatchLimits& limits) {
  BatchView batch;
  if (const auto verdict = check_frame(records.value_or(ByteView{}), limits, batch); !verdict.ok())
    return verdict;
  if (batch.size() > limits.batch_bytes_max)
    return refuse(ErrorCode::message_too_large, "batch exceeds max.message.bytes");
  if (batch.size() > limits.set_bytes_max) {
    return refuse(ErrorCode::record_list_too_large, "batch exceeds the segment size");
  }
  if (limits.verify_crc && !batch.crc_valid())
    return refuse(ErrorCode::corrupt_message, "CRC does not match");
  if (const auto verdict = check_header(batch, limits); !verdict.ok()) return verdict;
  if (!timestamp_accepted(batch.max_timestamp(), limits)) {
    return refuse(ErrorCode::invalid_timestamp, "largest timestamp is out of range");
  }
  if (!limits.verify_records || batch.codec() != Codec::none) return {};
  return check_records(batch, batch.payload(), limits);
}

}  // namespace esc::wire
