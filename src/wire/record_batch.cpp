#include "esc/wire/record_batch.h"

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::wire {

std::expected<BatchView, Errc> BatchView::parse(ByteView bytes) {
  // The magic byte comes first: older formats share the layout up to it, and their messages may be shorter
  // than our header.
  if (bytes.size() > 16 && load_be<std::int8_t>(bytes.data() + 16) != kBatchMagic) {
    return std::unexpected(Errc::unsupported);
  }
  if (bytes.size() >= kBatchLengthEnd) {
    const auto length = load_be<std::int32_t>(bytes.data() + 8);
    if (length < static_cast<std::int32_t>(kBatchHeaderBytes - kBatchLengthEnd)) {
      return std::unexpected(Errc::corruption);
    }
    const std::size_t size = kBatchLengthEnd + static_cast<std::size_t>(length);
    if (bytes.size() >= size) return BatchView(bytes.first(size));
  }
  return std::unexpected(Errc::torn);
}

std::int32_t BatchView::last_sequence() const {
  if (!has_producer_id()) return -1;
  const std::int64_t sum = std::int64_t{base_sequence()} + last_offset_delta();
  constexpr std::int64_t kSequences = std::int64_t{1} << 31;
  return static_cast<std::int32_t>(sum >= kSequences ? sum - kSequences : sum);
}

bool BatchView::crc_valid() const {
  return crc32c(bytes_.subspan(kBatchCrcFrom)) == crc();
}

std::optional<BatchView> BatchIterator::next() {
  if (rest_.empty() || end_reason_ != Errc::ok) return std::nullopt;
  const auto batch = BatchView::parse(rest_);
  if (!batch.has_value()) {
    end_reason_ = batch.error();
    return std::nullopt;
  }
  rest_ = rest_.subspan(batch->size());
  return *batch;
}

std::size_t varint_bytes(std::int64_t value) {
  auto zigzag = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  std::size_t bytes = 1;
  while ((zigzag >>= 7) != 0) ++bytes;
  return bytes;
}

std::byte* put_varint(std::byte* to, std::int64_t value) {
  auto zigzag = (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
  while (zigzag >= 0x80) {
    *to++ = static_cast<std::byte>(zigzag | 0x80);
    zigzag >>= 7;
  }
  *to++ = static_cast<std::byte>(zigzag);
  return to;
}

std::optional<std::int64_t> take_varlong(ByteView& bytes) {
  std::uint64_t zigzag = 0;
  const std::size_t limit = bytes.size() < 10 ? bytes.size() : 10;
  for (std::size_t i = 0; i < limit; ++i) {
    const auto byte = static_cast<std::uint8_t>(bytes[i]);
    if (i == 9 && byte > 1) return std::nullopt;  // beyond 64 bits
    zigzag |= static_cast<std::uint64_t>(byte & 0x7f) << (7 * i);
    if ((byte & 0x80) == 0) {
      bytes = bytes.subspan(i + 1);
      return static_cast<std::int64_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
    }
  }
  return std::nullopt;
}

namespace {

[[gnu::noinline]] std::optional<std::int32_t> take_long_varint(ByteView& bytes) {
  ByteView rest = bytes;
  const auto value = take_varlong(rest);
  if (!value.has_value() || *value < std::numeric_limits<std::int32_t>::min() ||
      *value > std::numeric_limits<std::int32_t>::max()) {
    return std::nullopt;
  }
  bytes = rest;
  return static_cast<std::int32_t>(*value);
}

// Nearly all of them have one or two bytes: every record is walked, its headers too where ids are looked for.
inline std::optional<std::int32_t> take_short_varint(ByteView& bytes) {
  const auto decode = [](std::uint32_t zigzag) {
    return static_cast<std::int32_t>((zigzag >> 1) ^ (~(zigzag & 1) + 1));
  };
  if (bytes.size() < 2) return take_long_varint(bytes);
  const auto first = static_cast<std::uint32_t>(bytes[0]);
  if (first < 0x80) {
    bytes = bytes.subspan(1);
    return decode(first);
  }
  const auto second = static_cast<std::uint32_t>(bytes[1]);
  if (second >= 0x80) return take_long_varint(bytes);
  bytes = bytes.subspan(2);
  return decode((first & 0x7f) | second << 7);
}

// A varint length and that many bytes; -1 is null. False when malformed.
bool take_nullable_bytes(ByteView& from, NullableBytes& out) {
  const auto length = take_short_varint(from);
  if (!length.has_value() || *length < -1) return false;
  if (*length == -1) {
    out.reset();
    return true;
  }
  const auto bytes = static_cast<std::size_t>(*length);
  if (bytes > from.size()) return false;
  out = from.first(bytes);
  from = from.subspan(bytes);
  return true;
}

bool take_record(ByteView& rest, Record& record) {
  const auto length = take_short_varint(rest);
  if (!length.has_value() || *length < 1 || static_cast<std::size_t>(*length) > rest.size()) return false;
  const auto bytes = static_cast<std::size_t>(*length);
  ByteView body = rest.subspan(1, bytes - 1);  // the attributes byte has no meaning yet
  rest = rest.subspan(bytes);

  const bool near = !body.empty() && static_cast<std::uint8_t>(body[0]) < 0x80;
  const std::optional<std::int64_t> timestamp_delta =
      near ? std::optional<std::int64_t>(take_short_varint(body)) : take_varlong(body);
  if (!timestamp_delta.has_value()) return false;
  const auto offset_delta = take_short_varint(body);
  if (!offset_delta.has_value()) return false;
  if (!take_nullable_bytes(body, record.key) || !take_nullable_bytes(body, record.value)) return false;
  const auto header_count = take_short_varint(body);
  // A header takes at least two bytes; without headers nothing may follow.
  if (!header_count.has_value() || *header_count < 0) return false;
  if (static_cast<std::size_t>(*header_count) > body.size() / 2) return false;
  if (*header_count == 0 && !body.empty()) return false;
  record.timestamp_delta = *timestamp_delta;
  record.offset_delta = *offset_delta;
  record.header_count = *header_count;
  record.headers = body;
  return true;
}

}  // namespace

std::optional<std::int32_t> take_varint(ByteView& bytes) {
  return take_short_varint(bytes);
}

std::optional<Record> RecordIterator::next() {
  if (failed_) return std::nullopt;
  if (left_ <= 0) {
    failed_ = left_ < 0 || !rest_.empty();
    return std::nullopt;
  }
  Record record;
  if (!take_record(rest_, record)) {
    failed_ = true;
    return std::nullopt;
  }
  --left_;
  return record;
}

std::optional<Header> HeaderIterator::next() {
  if (failed_) return std::nullopt;
  if (left_ <= 0) {
    failed_ = !rest_.empty();
    return std::nullopt;
  }
  NullableBytes key;
  Header header;
  if (!take_nullable_bytes(rest_, key) || !key.has_value() || !take_nullable_bytes(rest_, header.value)) {
    failed_ = true;
    return std::nullopt;
  }
  header.key = as_text(*key);
  --left_;
  return header;
}

void stamp_base_offset(ByteSpan batch, std::int64_t base_offset) {
  ESC_ASSERT(batch.size() >= kBatchHeaderBytes);
  store_be(batch.data(), base_offset);
}

void stamp_leader_epoch(ByteSpan batch, std::int32_t leader_epoch) {
  ESC_ASSERT(batch.size() >= kBatchHeaderBytes);
  store_be(batch.data() + 12, leader_epoch);
}

void stamp_log_append_time(ByteSpan batch, WallMs now_ms) {
  ESC_ASSERT(batch.size() >= kBatchHeaderBytes);
  const auto attributes = load_be<std::int16_t>(batch.data() + 21);
  store_be(batch.data() + 21, static_cast<std::int16_t>(attributes | kAttributeLogAppendTime));
  store_be(batch.data() + 35, now_ms);
  stamp_crc(batch);
}

void stamp_crc(ByteSpan batch) {
  ESC_ASSERT(batch.size() >= kBatchHeaderBytes);
  store_be(batch.data() + 17, crc32c(batch.subspan(kBatchCrcFrom)));
}

}  // namespace esc::wire
