#include "esc/wire/event_id.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/wire/compression.h"

namespace esc::wire {
namespace {

constexpr Codec kCodecs[] = {Codec::none, Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd};
constexpr std::int64_t kTime = 1'700'000'000'000;

struct Event {
  std::string key;
  std::string value;
  std::string id;  // empty: no header
  std::int64_t time = kTime;
};

std::vector<std::byte> batch_of(const std::vector<Event>& events, Codec codec, BatchOptions options = {}) {
  std::vector<std::byte> buffer(1 << 20);
  BatchBuilder builder(buffer, options);
  for (const Event& event : events) {
    const Header headers[] = {{"trace", as_bytes("t")}, {"event-id", as_bytes(event.id)}};
    EXPECT_TRUE(builder.append(event.time, as_bytes(event.key), as_bytes(event.value),
                               std::span(headers).first(event.id.empty() ? 1 : 2)));
  }
  const ByteView plain = builder.finish();
  if (codec == Codec::none) return {plain.begin(), plain.end()};
  std::vector<std::byte> out(compressed_bytes_max(codec, plain.size()) + kBatchHeaderBytes);
  const auto packed = compress_batch(codec, *BatchView::parse(plain), out);
  EXPECT_TRUE(packed.has_value());
  return {packed->begin(), packed->end()};
}

std::vector<std::string> ids_of(ByteView bytes, const EventIdRule& rule) {
  std::vector<std::byte> scratch(1 << 20);
  const BatchView batch = *BatchView::parse(bytes);
  std::vector<std::string> ids;
  const BatchVerdict verdict = check_event_ids(batch, *batch_records(batch, scratch), {}, rule,
                                               [&](std::int32_t number, const NullableBytes& id) {
                                                 EXPECT_EQ(static_cast<std::size_t>(number), ids.size());
                                                 ids.emplace_back(id ? as_text(*id) : "-");
                                               });
  EXPECT_TRUE(verdict.ok()) << verdict.reason;
  return ids;
}

struct Rewritten {
  std::vector<std::byte> bytes;
  Errc error = Errc::ok;
};

Rewritten remove(ByteView bytes, std::span<const bool> drop) {
  const BatchView batch = *BatchView::parse(bytes);
  std::vector<std::byte> scratch(1 << 20);
  const ByteView records = *batch_records(batch, scratch);
  std::vector<std::byte> plain(records.size());
  std::vector<std::byte> out(compressed_bytes_max(batch.codec(), records.size()) + kBatchHeaderBytes);
  const auto result = remove_records(batch, records, drop, {.plain = plain, .out = out});
  if (!result) return {{}, result.error()};
  return {{result->begin(), result->end()}, Errc::ok};
}

TEST(EventId, is_found_in_header_or_key_in_every_codec) {
  const std::vector<Event> events = {{"k1", "v1", "a"}, {"", "v2", ""}, {"k3", "v3", "ccc"}};
  for (const Codec codec : kCodecs) {
    const auto bytes = batch_of(events, codec);
    EXPECT_EQ(ids_of(bytes, {.header = "event-id"}), (std::vector<std::string>{"a", "-", "ccc"}));
    EXPECT_EQ(ids_of(bytes, {.header = "trace"}), (std::vector<std::string>{"t", "t", "t"}));
    EXPECT_EQ(ids_of(bytes, {.header = "absent"}), (std::vector<std::string>{"-", "-", "-"}));
    EXPECT_EQ(ids_of(bytes, {.key = true}), (std::vector<std::string>{"k1", "-", "k3"}));
  }
}

TEST(EventId, null_and_empty_values_are_no_ids_and_the_first_header_counts) {
  std::vector<std::byte> buffer(4096);
  BatchBuilder builder(buffer);
  const Header null[] = {{"event-id", std::nullopt}};
  const Header empty[] = {{"event-id", ByteView{}}};
  const Header twice[] = {{"event-id", as_bytes("x")}, {"event-id", as_bytes("y")}};
  ASSERT_TRUE(builder.append(1, std::nullopt, std::nullopt, null));
  ASSERT_TRUE(builder.append(1, std::nullopt, std::nullopt, empty));
  ASSERT_TRUE(builder.append(1, std::nullopt, std::nullopt, twice));
  EXPECT_EQ(ids_of(builder.finish(), {.header = "event-id"}), (std::vector<std::string>{"-", "-", "x"}));
  EXPECT_EQ(ids_of(builder.finish(), {.key = true}), (std::vector<std::string>{"-", "-", "-"}));
}

TEST(RemoveRecords, keeps_the_rest_in_every_codec_as_a_batch_of_its_own) {
  Prng prng(1);
  for (const Codec codec : kCodecs) {
    for (int round = 0; round < 20; ++round) {
      std::vector<Event> events;
      for (std::uint64_t i = 0, n = 2 + prng.below(300); i < n; ++i) {
        events.push_back({"k" + std::to_string(i), std::string(prng.below(200), 'v'), std::to_string(i),
                          kTime + prng.between(-50, 50)});
      }
      const BatchOptions options{.producer_id = 7, .producer_epoch = 1, .base_sequence = 100};
      const auto bytes = batch_of(events, codec, options);
      const auto drop = std::make_unique<bool[]>(events.size());
      std::vector<Event> kept;
      for (std::size_t i = 0; i < events.size(); ++i) {
        drop[i] = i + 1 < events.size() || !kept.empty() ? prng.chance(1, 2) : false;
        if (!drop[i]) kept.push_back(events[i]);
      }
      const Rewritten result = remove(bytes, {drop.get(), events.size()});
      ASSERT_EQ(result.error, Errc::ok);
      std::vector<std::byte> scratch(1 << 20);
      const auto verdict = validate_produce_batch(result.bytes, {.now_ms = kTime});
      ASSERT_TRUE(verdict.ok()) << verdict.reason;
      const BatchView batch = *BatchView::parse(result.bytes);
      EXPECT_EQ(batch.codec(), codec);
      EXPECT_EQ(batch.producer_id(), 7);
      EXPECT_EQ(batch.producer_epoch(), 1);
      EXPECT_EQ(batch.base_sequence(), 100);
      RecordIterator records(*batch_records(batch, scratch), batch.record_count());
      std::int64_t newest = 0;
      for (std::size_t i = 0; i < kept.size(); ++i) {
        const auto record = records.next();
        ASSERT_TRUE(record.has_value());
        EXPECT_EQ(record->offset_delta, static_cast<std::int32_t>(i));
        EXPECT_EQ(as_text(*record->key), kept[i].key);
        EXPECT_EQ(as_text(*record->value), kept[i].value);
        EXPECT_EQ(batch.base_timestamp() + record->timestamp_delta, kept[i].time);
        NullableBytes id;
        EXPECT_TRUE(read_event_id(*record, {.header = "event-id"}, id));
        EXPECT_EQ(as_text(*id), kept[i].id);
        newest = std::max(newest, kept[i].time);
      }
      EXPECT_FALSE(records.next().has_value());
      EXPECT_EQ(batch.max_timestamp(), newest);
    }
  }
}

TEST(RemoveRecords, refuses_to_leave_nothing_and_wrong_counts) {
  const auto bytes = batch_of({{"k", "v", "a"}, {"k", "v", "b"}}, Codec::none);
  const bool all[] = {true, true};
  const bool few[] = {false};
  const bool many[] = {false, true, false};
  EXPECT_EQ(remove(bytes, all).error, Errc::corruption);
  EXPECT_EQ(remove(bytes, few).error, Errc::corruption);
  EXPECT_EQ(remove(bytes, many).error, Errc::corruption);
}

TEST(RemoveRecords, a_buffer_that_is_too_small_is_not_overrun) {
  const auto bytes = batch_of({{"k", "vvvvvvvv", "a"}, {"k", "vvvvvvvv", "b"}}, Codec::none);
  const BatchView batch = *BatchView::parse(bytes);
  const bool drop[] = {true, false};
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    std::vector<std::byte> out(size);
    const auto result = remove_records(batch, batch.payload(), drop, {.plain = {}, .out = out});
    if (!result) {
      EXPECT_EQ(result.error(), Errc::too_large);
    }
  }
}

}  // namespace
}  // namespace esc::wire
