// Record batch v2 (magic 2), read and stamped in place.
// Source: https://kafka.apache.org/documentation/#recordbatch, KIP-98, and the broker's LogValidator.
//
//   0 baseOffset i64 | 8 batchLength i32, counts what follows it | 12 partitionLeaderEpoch i32 | 16 magic i8
//   17 crc u32, CRC-32C of 21..end | 21 attributes i16 | 23 lastOffsetDelta i32 | 27 baseTimestamp i64
//   35 maxTimestamp i64 | 43 producerId i64 | 51 producerEpoch i16 | 53 baseSequence i32 | 57 recordCount i32
//   61 records (compressed as one blob unless the codec is none)
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <limits>
#include <optional>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/wire/error_code.h"
#include "esc/wire/types.h"

namespace esc::wire {

inline constexpr std::size_t kBatchHeaderBytes = 61;
inline constexpr std::size_t kBatchLengthEnd = 12;  // baseOffset and batchLength: not counted by batchLength
inline constexpr std::size_t kBatchCrcFrom = 21;
inline constexpr std::int8_t kBatchMagic = 2;
inline constexpr std::int64_t kNoTimestamp = -1;
inline constexpr std::int64_t kNoProducerId = -1;

enum class Codec : std::uint8_t { none = 0, gzip = 1, snappy = 2, lz4 = 3, zstd = 4 };
inline constexpr std::uint8_t kCodecMax = 4;

inline constexpr std::int16_t kAttributeCodecMask = 0x07;
inline constexpr std::int16_t kAttributeLogAppendTime = 0x08;
inline constexpr std::int16_t kAttributeTransactional = 0x10;
inline constexpr std::int16_t kAttributeControl = 0x20;

// A view of one whole batch. Construct with parse(), which checks only what makes the accessors safe; the
// content is not validated.
class BatchView {
 public:
  BatchView() = default;

  // The first batch of `bytes`; more bytes may follow. torn: fewer bytes than the header or the announced
  // length (normal at the end of a fetch response). corruption: batchLength below a header. unsupported:
  // magic.
  [[nodiscard]] static std::expected<BatchView, Errc> parse(ByteView bytes);

  [[nodiscard]] ByteView bytes() const { return bytes_; }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }
  [[nodiscard]] std::int64_t base_offset() const { return load_be<std::int64_t>(at(0)); }
  [[nodiscard]] std::int32_t batch_length() const { return load_be<std::int32_t>(at(8)); }
  [[nodiscard]] std::int32_t leader_epoch() const { return load_be<std::int32_t>(at(12)); }
  [[nodiscard]] std::int8_t magic() const { return load_be<std::int8_t>(at(16)); }
  [[nodiscard]] std::uint32_t crc() const { return load_be<std::uint32_t>(at(17)); }
  [[nodiscard]] std::int16_t attributes() const { return load_be<std::int16_t>(at(21)); }
  [[nodiscard]] std::int32_t last_offset_delta() const { return load_be<std::int32_t>(at(23)); }
  [[nodiscard]] std::int64_t base_timestamp() const { return load_be<std::int64_t>(at(27)); }
  [[nodiscard]] std::int64_t max_timestamp() const { return load_be<std::int64_t>(at(35)); }
  [[nodiscard]] std::int64_t producer_id() const { return load_be<std::int64_t>(at(43)); }
  [[nodiscard]] std::int16_t producer_epoch() const { return load_be<std::int16_t>(at(51)); }
  [[nodiscard]] std::int32_t base_sequence() const { return load_be<std::int32_t>(at(53)); }
  [[nodiscard]] std::int32_t record_count() const { return load_be<std::int32_t>(at(57)); }
  [[nodiscard]] ByteView payload() const { return bytes_.subspan(kBatchHeaderBytes); }

  // Values 5-7 are no codec; validate_produce_batch refuses them.
  [[nodiscard]] Codec codec() const { return static_cast<Codec>(attributes() & kAttributeCodecMask); }
  [[nodiscard]] bool log_append_time() const { return (attributes() & kAttributeLogAppendTime) != 0; }
  [[nodiscard]] bool transactional() const { return (attributes() & kAttributeTransactional) != 0; }
  [[nodiscard]] bool control() const { return (attributes() & kAttributeControl) != 0; }
  [[nodiscard]] bool has_producer_id() const { return producer_id() > kNoProducerId; }
  [[nodiscard]] std::int64_t last_offset() const { return base_offset() + last_offset_delta(); }
  [[nodiscard]] std::int64_t next_offset() const { return last_offset() + 1; }
  // Sequences wrap from 2147483647 to 0.
  [[nodiscard]] std::int32_t last_sequence() const;
  [[nodiscard]] bool crc_valid() const;

 private:
  explicit BatchView(ByteView bytes) : bytes_(bytes) {}
  [[nodiscard]] const std::byte* at(std::size_t position) const { return bytes_.data() + position; }
  ByteView bytes_;
};

// Walks the batches of a run of bytes, such as a fetch response. Ends at the first incomplete batch (torn:
// the server may cut the last one) or at damage.
class BatchIterator {
 public:
  explicit BatchIterator(ByteView bytes) : rest_(bytes) {}
  [[nodiscard]] std::optional<BatchView> next();
  // ok after a clean end; torn or corruption otherwise.
  [[nodiscard]] Errc end_reason() const { return end_reason_; }
  [[nodiscard]] ByteView rest() const { return rest_; }

 private:
  ByteView rest_;
  Errc end_reason_ = Errc::ok;
};

struct Header {
  String key{};
  NullableBytes value{};
};

struct Record {
  std::int64_t timestamp_delta = 0;
  std::int32_t offset_delta = 0;
  NullableBytes key{};
  NullableBytes value{};
  std::int32_t header_count = 0;
  ByteView headers{};  // encoded; see HeaderIterator
};

// Walks the uncompressed records of a batch: payload() when the codec is none, else the decompressed bytes.
// Bounded and safe on any bytes.
class RecordIterator {
 public:
  RecordIterator(ByteView records, std::int32_t record_count) : rest_(records), left_(record_count) {}
  // nullopt at the end and at damage; failed() tells which.
  [[nodiscard]] std::optional<Record> next();
  // True when a record is malformed, or when bytes remain after the last record.
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  ByteView rest_;
  std::int32_t left_;
  bool failed_ = false;
};

class HeaderIterator {
 public:
  explicit HeaderIterator(const Record& record) : rest_(record.headers), left_(record.header_count) {}
  [[nodiscard]] std::optional<Header> next();
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  ByteView rest_;
  std::int32_t left_;
  bool failed_ = false;
};

struct ProduceBatchLimits {
  std::int16_t produce_version = 9;
  std::size_t batch_bytes_max = 1048588;                                // max.message.bytes
  std::size_t set_bytes_max = std::numeric_limits<std::size_t>::max();  // segment size
  // Accepted client timestamps: [now - before, now + after] (message.timestamp.{before,after}.max.ms). Not
  // checked when the topic stamps LogAppendTime.
  WallMs now_ms = 0;
  std::int64_t timestamp_before_max_ms = std::numeric_limits<std::int64_t>::max();
  std::int64_t timestamp_after_max_ms = std::numeric_limits<std::int64_t>::max();
  bool log_append_time = false;  // message.timestamp.type
  bool compacted = false;        // every record needs a key
  bool transactions_supported = false;
  bool verify_crc = true;      // false when the caller fuses the CRC with its copy
  bool verify_records = true;  // check_records() when they are not compressed; else the caller may
};

struct BatchVerdict {
  ErrorCode code = ErrorCode::none;
  const char* reason = "";         // static text, for the error message of the response
  std::int32_t record_index = -1;  // when one record is to blame
  [[nodiscard]] bool ok() const { return code == ErrorCode::none; }
};

// Everything a leader checks about the records of one partition of a produce request before appending them.
// On success `records` is exactly one batch, readable with BatchView::parse.
[[nodiscard]] BatchVerdict validate_produce_batch(NullableBytes records, const ProduceBatchLimits& limits);

// Stamping in place. `batch` is one whole, valid batch. Base offset and leader epoch lie outside the CRC;
// LogAppendTime lies inside, so the CRC is computed anew.
void stamp_base_offset(ByteSpan batch, std::int64_t base_offset);
void stamp_leader_epoch(ByteSpan batch, std::int32_t leader_epoch);
void stamp_log_append_time(ByteSpan batch, WallMs now_ms);
void stamp_crc(ByteSpan batch);

// Kafka's signed VARINT and VARLONG (zigzag), as records use them. Writers need up to 10 bytes at `to`.
[[nodiscard]] std::size_t varint_bytes(std::int64_t value);
std::byte* put_varint(std::byte* to, std::int64_t value);
// Consumes from `bytes`; nullopt when it ends early or is longer than the type allows.
[[nodiscard]] std::optional<std::int32_t> take_varint(ByteView& bytes);
[[nodiscard]] std::optional<std::int64_t> take_varlong(ByteView& bytes);

struct BatchOptions {
  std::int64_t base_offset = 0;
  std::int32_t leader_epoch = -1;
  std::int64_t producer_id = kNoProducerId;
  std::int16_t producer_epoch = -1;
  std::int32_t base_sequence = -1;
  bool transactional = false;
};

// Builds an uncompressed batch in a caller-owned buffer, for clients, tools and tests. compression.h turns
// the result into a compressed one. No allocation.
class BatchBuilder {
 public:
  explicit BatchBuilder(ByteSpan buffer, const BatchOptions& options = {});
  // False, and nothing changes, when the record does not fit.
  [[nodiscard]] bool append(std::int64_t timestamp_ms, NullableBytes key, NullableBytes value,
                            std::span<const Header> headers = {});
  // Writes the header and the CRC. Empty when there is no record. The builder may be appended to and finished
  // again.
  [[nodiscard]] ByteView finish();
  void reset(const BatchOptions& options);
  [[nodiscard]] std::int32_t record_count() const { return record_count_; }
  [[nodiscard]] std::size_t size() const { return used_; }

 private:
  ByteSpan buffer_;
  BatchOptions options_;
  std::size_t used_ = kBatchHeaderBytes;
  std::int32_t record_count_ = 0;
  std::int64_t base_timestamp_ = kNoTimestamp;
  std::int64_t max_timestamp_ = kNoTimestamp;
};

}  // namespace esc::wire
