#include <algorithm>
#include <cstring>

#include "esc/base/assert.h"
#include "esc/wire/record_batch.h"

namespace esc::wire {

namespace {

std::size_t nullable_bytes_size(const NullableBytes& bytes) {
  if (!bytes.has_value()) return 1;
  return varint_bytes(static_cast<std::int64_t>(bytes->size())) + bytes->size();
}

std::byte* put_nullable_bytes(std::byte* to, const NullableBytes& bytes) {
  if (!bytes.has_value()) return put_varint(to, -1);
  to = put_varint(to, static_cast<std::int64_t>(bytes->size()));
  if (bytes->empty()) return to;
  std::memcpy(to, bytes->data(), bytes->size());
  return to + bytes->size();
}

}  // namespace

BatchBuilder::BatchBuilder(ByteSpan buffer, const BatchOptions& options)
    : buffer_(buffer), options_(options) {
  ESC_ASSERT(buffer.size() >= kBatchHeaderBytes);
}

void BatchBuilder::reset(const BatchOptions& options) {
  options_ = options;
  used_ = kBatchHeaderBytes;
  record_count_ = 0;
  base_timestamp_ = kNoTimestamp;
  max_timestamp_ = kNoTimestamp;
}

bool BatchBuilder::append(std::int64_t timestamp_ms, NullableBytes key, NullableBytes value,
                          std::span<const Header> headers) {
  constexpr auto kPartBytesMax = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  if (key.has_value() && key->size() > kPartBytesMax) return false;
  if (value.has_value() && value->size() > kPartBytesMax) return false;
  const std::int64_t base = record_count_ == 0 ? timestamp_ms : base_timestamp_;
  const std::int64_t timestamp_delta = timestamp_ms - base;
  std::size_t body = 1 + varint_bytes(timestamp_delta) + varint_bytes(record_count_) +
                     nullable_bytes_size(key) + nullable_bytes_size(value) +
                     varint_bytes(static_cast<std::int64_t>(headers.size()));
  for (const Header& header : headers) {
    body += nullable_bytes_size(as_bytes(header.key)) + nullable_bytes_size(header.value);
  }
  if (body > kPartBytesMax || record_count_ == std::numeric_limits<std::int32_t>::max()) return false;
  if (varint_bytes(static_cast<std::int64_t>(body)) + body > buffer_.size() - used_) return false;

  std::byte* to = put_varint(buffer_.data() + used_, static_cast<std::int64_t>(body));
  *to++ = std::byte{0};  // attributes
  to = put_varint(to, timestamp_delta);
  to = put_varint(to, record_count_);
  to = put_nullable_bytes(to, key);
  to = put_nullable_bytes(to, value);
  to = put_varint(to, static_cast<std::int64_t>(headers.size()));
  for (const Header& header : headers) {
    to = put_nullable_bytes(to, as_bytes(header.key));
    to = put_nullable_bytes(to, header.value);
  }
  used_ = static_cast<std::size_t>(to - buffer_.data());
  max_timestamp_ = record_count_ == 0 ? timestamp_ms : std::max(max_timestamp_, timestamp_ms);
  base_timestamp_ = base;
  ++record_count_;
  return true;
}

ByteView BatchBuilder::finish() {
  if (record_count_ == 0) return {};
  std::byte* at = buffer_.data();
  store_be<std::int64_t>(at, options_.base_offset);
  store_be<std::int32_t>(at + 8, static_cast<std::int32_t>(used_ - kBatchLengthEnd));
  store_be<std::int32_t>(at + 12, options_.leader_epoch);
  store_be<std::int8_t>(at + 16, kBatchMagic);
  store_be<std::int16_t>(at + 21, options_.transactional ? kAttributeTransactional : std::int16_t{0});
  store_be<std::int32_t>(at + 23, record_count_ - 1);
  store_be<std::int64_t>(at + 27, base_timestamp_);
  store_be<std::int64_t>(at + 35, max_timestamp_);
  store_be<std::int64_t>(at + 43, options_.producer_id);
  store_be<std::int16_t>(at + 51, options_.producer_epoch);
  store_be<std::int32_t>(at + 53, options_.base_sequence);
  store_be<std::int32_t>(at + 57, record_count_);
  const ByteSpan batch = buffer_.first(used_);
  stamp_crc(batch);
  return batch;
}

}  // namespace esc::wire
