#include "esc/wire/record_batch.h"

#include <gtest/gtest.h>

#include "batches.h"
#include "esc/base/crc32c.h"
#include "esc/base/prng.h"
#include "printer.h"

namespace esc::wire::test {
namespace {

TEST(RecordBatch, golden_header_reads_field_by_field) {
  const auto bytes = golden_batches().at("none");
  const auto batch = BatchView::parse(bytes);
  ASSERT_TRUE(batch.has_value());
  EXPECT_EQ(batch->size(), bytes.size());
  EXPECT_EQ(batch->base_offset(), 0);
  EXPECT_EQ(batch->magic(), 2);
  EXPECT_TRUE(batch->crc_valid());
  EXPECT_EQ(batch->codec(), Codec::none);
  EXPECT_EQ(batch->last_offset_delta(), 39);
  EXPECT_EQ(batch->base_timestamp(), kTestTime);
  EXPECT_EQ(batch->max_timestamp(), kTestTime + 39);
  EXPECT_EQ(batch->producer_id(), kNoProducerId);
  EXPECT_EQ(batch->producer_epoch(), -1);
  EXPECT_EQ(batch->base_sequence(), -1);
  EXPECT_EQ(batch->last_sequence(), -1);
  EXPECT_EQ(batch->record_count(), 40);
  EXPECT_EQ(batch->next_offset(), 40);
}

TEST(RecordBatch, golden_records_read_one_by_one) {
  const auto bytes = golden_batches().at("none");
  const auto batch = BatchView::parse(bytes).value();
  RecordIterator records(batch.payload(), batch.record_count());
  for (int i = 0; i < 40; ++i) {
    const auto record = records.next();
    ASSERT_TRUE(record.has_value()) << i;
    EXPECT_EQ(record->offset_delta, i);
    EXPECT_EQ(record->timestamp_delta, i);
    EXPECT_EQ(record->key.has_value(), i % 5 != 0);
    EXPECT_EQ(record->value.has_value(), i != 7);
    HeaderIterator headers(*record);
    if (i % 3 == 0) {
      const auto first = headers.next();
      const auto second = headers.next();
      ASSERT_TRUE(first.has_value() && second.has_value());
      EXPECT_EQ(first->key, "h");
      EXPECT_EQ(as_text(*first->value), "x");
      EXPECT_EQ(second->key, "n");
      EXPECT_FALSE(second->value.has_value());
    }
    EXPECT_FALSE(headers.next().has_value());
    EXPECT_FALSE(headers.failed());
  }
  EXPECT_FALSE(records.next().has_value());
  EXPECT_FALSE(records.failed());
}

TEST(RecordBatch, the_builder_makes_the_golden_bytes) {
  const auto golden = golden_batches().at("none");
  std::vector<std::byte> buffer(1 << 16);
  // kafka-python leaves the leader epoch at 0.
  BatchBuilder builder(buffer, {.leader_epoch = BatchView::parse(golden)->leader_epoch()});
  for (int i = 0; i < 40; ++i) {
    const std::string key = "key-" + std::to_string(i);
    std::string value;
    for (int n = 0; n < i; ++n) value += "value-" + std::to_string(i);
    const Header headers[] = {{"h", as_bytes("x")}, {"n", std::nullopt}};
    ASSERT_TRUE(builder.append(kTestTime + i, i % 5 == 0 ? NullableBytes{} : as_bytes(key),
                               i == 7 ? NullableBytes{} : as_bytes(value),
                               i % 3 == 0 ? std::span<const Header>(headers) : std::span<const Header>{}));
  }
  EXPECT_EQ(print_hex(builder.finish()), print_hex(golden));
}

TEST(RecordBatch, parse_tells_torn_from_damaged_from_foreign) {
  auto bytes = make_batch();
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_EQ(BatchView::parse(ByteView(bytes).first(size)).error(), Errc::torn) << size;
  }
  auto old = bytes;
  old[16] = std::byte{1};
  EXPECT_EQ(BatchView::parse(old).error(), Errc::unsupported);
  for (const std::int32_t length : {-1, 0, 48, std::numeric_limits<std::int32_t>::min()}) {
    store_be<std::int32_t>(bytes.data() + 8, length);
    EXPECT_EQ(BatchView::parse(bytes).error(), Errc::corruption) << length;
  }
  store_be<std::int32_t>(bytes.data() + 8, std::numeric_limits<std::int32_t>::max());
  EXPECT_EQ(BatchView::parse(bytes).error(), Errc::torn);
}

TEST(RecordBatch, the_iterator_stops_at_a_cut_batch) {
  auto bytes = make_batch(2);
  const auto second = make_batch(5);
  bytes.insert(bytes.end(), second.begin(), second.end());
  BatchIterator whole(bytes);
  EXPECT_EQ(whole.next()->record_count(), 2);
  EXPECT_EQ(whole.next()->record_count(), 5);
  EXPECT_FALSE(whole.next().has_value());
  EXPECT_EQ(whole.end_reason(), Errc::ok);
  BatchIterator cut(ByteView(bytes).first(bytes.size() - 1));
  EXPECT_TRUE(cut.next().has_value());
  EXPECT_FALSE(cut.next().has_value());
  EXPECT_EQ(cut.end_reason(), Errc::torn);
}

TEST(RecordBatch, stamping_offset_and_epoch_keeps_the_crc) {
  auto bytes = make_batch();
  stamp_base_offset(bytes, 123456789012);
  stamp_leader_epoch(bytes, 77);
  const auto batch = BatchView::parse(bytes).value();
  EXPECT_EQ(batch.base_offset(), 123456789012);
  EXPECT_EQ(batch.last_offset(), 123456789014);
  EXPECT_EQ(batch.leader_epoch(), 77);
  EXPECT_TRUE(batch.crc_valid());
}

TEST(RecordBatch, stamping_log_append_time_renews_the_crc) {
  auto bytes = make_batch();
  const std::uint32_t before = BatchView::parse(bytes)->crc();
  stamp_log_append_time(bytes, kTestTime + 5000);
  const auto batch = BatchView::parse(bytes).value();
  EXPECT_TRUE(batch.log_append_time());
  EXPECT_EQ(batch.max_timestamp(), kTestTime + 5000);
  EXPECT_NE(batch.crc(), before);
  EXPECT_TRUE(batch.crc_valid());
}

TEST(RecordBatch, sequences_wrap_to_zero) {
  const auto bytes = make_batch(3, {.producer_id = 1, .producer_epoch = 0, .base_sequence = 2147483646});
  EXPECT_EQ(BatchView::parse(bytes)->last_sequence(), 0);
  const auto plain = make_batch(3, {.producer_id = 1, .producer_epoch = 0, .base_sequence = 10});
  EXPECT_EQ(BatchView::parse(plain)->last_sequence(), 12);
}

TEST(RecordBatch, a_builder_refuses_what_does_not_fit_and_stays_usable) {
  std::vector<std::byte> buffer(100);
  BatchBuilder builder(buffer);
  EXPECT_TRUE(builder.finish().empty());
  ASSERT_TRUE(builder.append(kTestTime, std::nullopt, as_bytes("0123456789")));
  EXPECT_FALSE(builder.append(kTestTime, std::nullopt, as_bytes("01234567890123456789")));
  EXPECT_TRUE(BatchView::parse(builder.finish())->crc_valid());
  EXPECT_EQ(builder.record_count(), 1);
  ASSERT_TRUE(builder.append(kTestTime - 9, std::nullopt, as_bytes("x")));
  const auto batch = BatchView::parse(builder.finish()).value();
  EXPECT_EQ(batch.record_count(), 2);
  EXPECT_EQ(batch.max_timestamp(), kTestTime);  // timestamps may run backwards
  RecordIterator records(batch.payload(), 2);
  (void)records.next();
  EXPECT_EQ(records.next()->timestamp_delta, -9);
  builder.reset({});
  EXPECT_TRUE(builder.finish().empty());
}

TEST(RecordIterator, every_truncation_fails_without_reading_past_the_end) {
  const auto bytes = golden_batches().at("none");
  const auto batch = BatchView::parse(bytes).value();
  for (std::size_t size = 0; size < batch.payload().size(); ++size) {
    const ByteView part = batch.payload().first(size);
    const std::vector<std::byte> cut(part.begin(), part.end());
    RecordIterator records(cut, batch.record_count());
    while (records.next().has_value()) {
    }
    EXPECT_TRUE(records.failed()) << size;
  }
}

TEST(RecordIterator, random_damage_is_survived) {
  const auto bytes = golden_batches().at("none");
  const auto payload = BatchView::parse(bytes)->payload();
  Prng prng(7);
  for (int round = 0; round < 3000; ++round) {
    std::vector<std::byte> damaged(payload.begin(), payload.begin() + 600);
    for (std::uint64_t n = prng.below(4) + 1; n > 0; --n)
      damaged[prng.below(600)] = static_cast<std::byte>(prng.next());
    RecordIterator records(damaged, static_cast<std::int32_t>(prng.next()));
    while (const auto record = records.next()) {
      HeaderIterator headers(*record);
      while (headers.next().has_value()) {
      }
    }
  }
}

TEST(Varint, survives_the_round_trip_at_every_width) {
  Prng prng(11);
  for (int round = 0; round < 5000; ++round) {
    const auto value = static_cast<std::int64_t>(prng.next()) >> prng.below(64);
    std::byte buffer[10];
    const auto size = static_cast<std::size_t>(put_varint(buffer, value) - buffer);
    EXPECT_EQ(size, varint_bytes(value));
    ByteView bytes(buffer, size);
    EXPECT_EQ(take_varlong(bytes), value);
    EXPECT_TRUE(bytes.empty());
  }
}

TEST(Varint, matches_the_zigzag_of_the_protocol_and_its_bounds) {
  const auto as_varint = [](const std::string& hex) {
    const auto bytes = parse_hex(hex);
    ByteView view(bytes);
    return take_varint(view);
  };
  EXPECT_EQ(as_varint("00"), 0);
  EXPECT_EQ(as_varint("01"), -1);
  EXPECT_EQ(as_varint("02"), 1);
  EXPECT_EQ(as_varint("feffffff0f"), 2147483647);
  EXPECT_EQ(as_varint("ffffffff0f"), -2147483647 - 1);
  EXPECT_EQ(as_varint("ffffffff1f"), std::nullopt);
  EXPECT_EQ(as_varint("80"), std::nullopt);
  EXPECT_EQ(as_varint(""), std::nullopt);
  const auto too_long = parse_hex("ffffffffffffffffff02");
  ByteView view(too_long);
  EXPECT_EQ(take_varlong(view), std::nullopt);
}

}  // namespace
}  // namespace esc::wire::test
