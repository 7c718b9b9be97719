// The table of refusals, one test per row.
#include <gtest/gtest.h>

#include "batches.h"
#include "esc/wire/compression.h"
#include "esc/wire/record_checks.h"

namespace esc::wire::test {
namespace {

const ProduceBatchLimits kLimits{.now_ms = kTestTime};

ErrorCode validate(const std::vector<std::byte>& batch, const ProduceBatchLimits& limits = kLimits) {
  return validate_produce_batch(ByteView(batch), limits).code;
}

template <class T>
std::vector<std::byte> with(std::vector<std::byte> batch, std::size_t position, T value) {
  store_be<T>(batch.data() + position, value);
  stamp_crc(batch);
  return batch;
}

std::vector<std::byte> compressed(Codec codec, const std::vector<std::byte>& batch) {
  std::vector<std::byte> out(1 << 17);
  const auto made = compress_batch(codec, BatchView::parse(batch).value(), out);
  return {made->begin(), made->end()};
}

// As a leader does where the topic wants it.
BatchVerdict look_into(const std::vector<std::byte>& batch, const ProduceBatchLimits& limits = kLimits) {
  PlainRecords plain;
  const BatchView view = *BatchView::parse(batch);
  return check_records(view, plain.of(view).value(), limits);
}

TEST(ProduceValidation, a_good_batch_passes_in_every_codec) {
  for (const auto& [name, batch] : golden_batches()) {
    EXPECT_EQ(validate(batch), ErrorCode::none) << name;
    EXPECT_TRUE(look_into(batch).ok()) << name;
  }
}

TEST(ProduceValidation, a_bad_crc_is_corrupt) {
  auto batch = make_batch();
  batch.back() ^= std::byte{1};
  EXPECT_EQ(validate(batch), ErrorCode::corrupt_message);
}

TEST(ProduceValidation, a_caller_that_checks_the_crc_itself_may_say_so) {
  auto batch = make_batch();
  batch.back() ^= std::byte{1};
  batch[17] ^= std::byte{1};
  ProduceBatchLimits limits = kLimits;
  limits.verify_crc = false;
  limits.verify_records = false;
  EXPECT_EQ(validate(batch, limits), ErrorCode::none);
}

TEST(ProduceValidation, fewer_than_61_bytes_are_corrupt) {
  const auto batch = make_batch();
  for (std::size_t size = 1; size < kBatchHeaderBytes; ++size) {
    EXPECT_EQ(validate({batch.begin(), batch.begin() + static_cast<long>(size)}), ErrorCode::corrupt_message)
        << size;
  }
  auto small = batch;
  store_be<std::int32_t>(small.data() + 8, 48);
  EXPECT_EQ(validate(small), ErrorCode::corrupt_message);
}

TEST(ProduceValidation, an_old_magic_is_invalid) {
  EXPECT_EQ(validate(with<std::int8_t>(make_batch(), 16, 1)), ErrorCode::invalid_record);
  EXPECT_EQ(validate(with<std::int8_t>(make_batch(), 16, 0)), ErrorCode::invalid_record);
}

TEST(ProduceValidation, no_batch_is_invalid) {
  EXPECT_EQ(validate({}), ErrorCode::invalid_record);
  EXPECT_EQ(validate_produce_batch(std::nullopt, kLimits).code, ErrorCode::invalid_record);
  auto incomplete = make_batch();
  incomplete.pop_back();
  EXPECT_EQ(validate(incomplete), ErrorCode::invalid_record);
}

TEST(ProduceValidation, several_batches_are_invalid) {
  auto batch = make_batch();
  const auto second = make_batch();
  batch.insert(batch.end(), second.begin(), second.end());
  EXPECT_EQ(validate(batch), ErrorCode::invalid_record);
}

TEST(ProduceValidation, a_client_base_offset_is_invalid) {
  EXPECT_EQ(validate(with<std::int64_t>(make_batch(), 0, 5)), ErrorCode::invalid_record);
}

TEST(ProduceValidation, a_record_count_that_is_not_positive_is_invalid) {
  auto none = with<std::int32_t>(make_batch(), 57, 0);
  none = with<std::int32_t>(none, 23, -1);
  EXPECT_EQ(validate(none), ErrorCode::invalid_record);
  EXPECT_EQ(validate(with<std::int32_t>(make_batch(), 57, -3)), ErrorCode::invalid_record);
  auto lowest = with<std::int32_t>(make_batch(), 57, std::numeric_limits<std::int32_t>::min());
  lowest = with<std::int32_t>(lowest, 23, std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(validate(lowest), ErrorCode::invalid_record);
}

TEST(ProduceValidation, a_count_unlike_the_last_offset_delta_is_invalid) {
  EXPECT_EQ(validate(with<std::int32_t>(make_batch(), 57, 4)), ErrorCode::invalid_record);
  EXPECT_EQ(validate(with<std::int32_t>(make_batch(), 23, 3)), ErrorCode::invalid_record);
}

TEST(ProduceValidation, a_client_control_batch_is_invalid) {
  EXPECT_EQ(validate(with<std::int16_t>(make_batch(), 21, kAttributeControl)), ErrorCode::invalid_record);
}

TEST(ProduceValidation, a_producer_id_needs_a_sequence) {
  EXPECT_EQ(validate(make_batch(3, {.producer_id = 9, .producer_epoch = 0})), ErrorCode::invalid_record);
  EXPECT_EQ(validate(make_batch(3, {.producer_id = 9, .producer_epoch = 0, .base_sequence = 0})),
            ErrorCode::none);
}

TEST(ProduceValidation, a_null_key_on_a_compacted_topic_is_invalid_and_named) {
  std::vector<std::byte> buffer(1000);
  BatchBuilder builder(buffer);
  ASSERT_TRUE(builder.append(kTestTime, as_bytes("k"), as_bytes("v")));
  ASSERT_TRUE(builder.append(kTestTime, std::nullopt, as_bytes("v")));
  const ByteView made = builder.finish();
  const std::vector<std::byte> batch(made.begin(), made.end());
  EXPECT_EQ(validate(batch), ErrorCode::none);
  ProduceBatchLimits limits = kLimits;
  limits.compacted = true;
  EXPECT_EQ(validate_produce_batch(ByteView(batch), limits).code, ErrorCode::invalid_record);
  EXPECT_EQ(validate_produce_batch(ByteView(batch), limits).record_index, 1);
  for (const Codec codec : {Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd}) {
    EXPECT_EQ(look_into(compressed(codec, batch), limits).code, ErrorCode::invalid_record);
  }
}

TEST(ProduceValidation, zstd_needs_produce_v7) {
  const auto batch = golden_batches().at("zstd");
  ProduceBatchLimits limits = kLimits;
  limits.produce_version = 6;
  EXPECT_EQ(validate(batch, limits), ErrorCode::unsupported_compression_type);
  limits.produce_version = 7;
  EXPECT_EQ(validate(batch, limits), ErrorCode::none);
}

TEST(ProduceValidation, an_unknown_codec_is_unsupported) {
  for (std::int16_t codec = 5; codec < 8; ++codec) {
    EXPECT_EQ(validate(with<std::int16_t>(make_batch(), 21, codec)), ErrorCode::unsupported_compression_type);
  }
}

TEST(ProduceValidation, a_client_log_append_time_is_an_invalid_timestamp) {
  EXPECT_EQ(validate(with<std::int16_t>(make_batch(), 21, kAttributeLogAppendTime)),
            ErrorCode::invalid_timestamp);
}

TEST(ProduceValidation, timestamps_out_of_range_are_invalid) {
  ProduceBatchLimits limits{
      .now_ms = kTestTime, .timestamp_before_max_ms = 1000, .timestamp_after_max_ms = 1000};
  EXPECT_EQ(validate(make_batch(), limits), ErrorCode::none);
  limits.now_ms = kTestTime - 1000;
  EXPECT_EQ(validate(make_batch(1), limits), ErrorCode::none);
  EXPECT_EQ(validate(make_batch(2), limits), ErrorCode::invalid_timestamp);
  limits.now_ms = kTestTime + 1001;
  EXPECT_EQ(validate_produce_batch(ByteView(make_batch(3)), limits).code, ErrorCode::invalid_timestamp);
  EXPECT_EQ(validate_produce_batch(ByteView(make_batch(3)), limits).record_index, 0);
  limits.log_append_time = true;
  EXPECT_EQ(validate(make_batch(3), limits), ErrorCode::none);
}

TEST(ProduceValidation, absurd_timestamps_are_invalid_and_overflow_nothing) {
  EXPECT_EQ(validate(with<std::int64_t>(make_batch(), 35, std::numeric_limits<std::int64_t>::min())),
            ErrorCode::invalid_timestamp);
  EXPECT_EQ(validate(with<std::int64_t>(make_batch(), 27, std::numeric_limits<std::int64_t>::max())),
            ErrorCode::invalid_timestamp);
  ProduceBatchLimits limits = kLimits;
  limits.now_ms = std::numeric_limits<std::int64_t>::min();
  EXPECT_EQ(validate(make_batch(), limits), ErrorCode::none);
}

TEST(ProduceValidation, records_without_timestamp_pass) {
  std::vector<std::byte> buffer(200);
  BatchBuilder builder(buffer);
  ASSERT_TRUE(builder.append(kNoTimestamp, std::nullopt, as_bytes("v")));
  const ByteView made = builder.finish();
  EXPECT_EQ(validate({made.begin(), made.end()}, {.now_ms = kTestTime, .timestamp_before_max_ms = 0}),
            ErrorCode::none);
}

TEST(ProduceValidation, a_batch_over_the_limit_is_too_large) {
  const auto batch = make_batch();
  ProduceBatchLimits limits = kLimits;
  limits.batch_bytes_max = batch.size();
  EXPECT_EQ(validate(batch, limits), ErrorCode::none);
  limits.batch_bytes_max = batch.size() - 1;
  EXPECT_EQ(validate(batch, limits), ErrorCode::message_too_large);
}

TEST(ProduceValidation, a_set_over_the_segment_size_is_refused) {
  const auto batch = make_batch();
  ProduceBatchLimits limits = kLimits;
  limits.set_bytes_max = batch.size() - 1;
  EXPECT_EQ(validate(batch, limits), ErrorCode::record_list_too_large);
}

TEST(ProduceValidation, transactions_are_refused_until_supported) {
  const BatchOptions options{
      .producer_id = 1, .producer_epoch = 0, .base_sequence = 0, .transactional = true};
  EXPECT_EQ(validate(make_batch(1, options)), ErrorCode::invalid_txn_state);
  ProduceBatchLimits limits = kLimits;
  limits.transactions_supported = true;
  EXPECT_EQ(validate(make_batch(1, options), limits), ErrorCode::none);
}

TEST(ProduceValidation, records_unlike_their_header_are_invalid) {
  // Byte 61 is the length of the first record, 64 its offset delta (length, attributes, timestamp, offset).
  EXPECT_EQ(validate(with<std::int8_t>(make_batch(), 61, 2)), ErrorCode::invalid_record);
  EXPECT_EQ(validate(with<std::int8_t>(make_batch(), 64, 4)), ErrorCode::invalid_record);
  auto fewer = with<std::int32_t>(make_batch(), 57, 2);
  fewer = with<std::int32_t>(fewer, 23, 1);
  EXPECT_EQ(validate(fewer), ErrorCode::invalid_record);
}

TEST(ProduceValidation, damaged_compressed_records_are_corrupt_when_looked_at) {
  auto batch = compressed(Codec::gzip, make_batch());
  batch[kBatchHeaderBytes] ^= std::byte{0xff};
  stamp_crc(batch);
  EXPECT_EQ(validate(batch), ErrorCode::none);
  EXPECT_EQ(PlainRecords().of(*BatchView::parse(batch)).error(), Errc::corruption);
}

}  // namespace
}  // namespace esc::wire::test
