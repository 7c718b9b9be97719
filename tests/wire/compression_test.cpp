#include "esc/wire/compression.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

#include "batches.h"
#include "esc/base/prng.h"
#include "printer.h"

namespace esc::wire::test {
namespace {

constexpr std::array kCodecs = {Codec::none, Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd};
constexpr std::array kRealCodecs = {Codec::gzip, Codec::snappy, Codec::lz4, Codec::zstd};

std::vector<std::byte> compressed(Codec codec, ByteView from) {
  std::vector<std::byte> out(compressed_bytes_max(codec, from.size()));
  const auto made = compress(codec, from, out);
  EXPECT_TRUE(made.has_value());
  return {made->begin(), made->end()};
}

TEST(Compression, every_codec_returns_what_it_was_given) {
  Prng prng(5);
  for (const Codec codec : kCodecs) {
    for (const std::size_t size : {1U, 100U, 32768U, 32769U, 200000U}) {
      std::vector<std::byte> data(size);
      for (std::byte& byte : data) byte = static_cast<std::byte>(prng.below(20));
      const auto packed = compressed(codec, data);
      std::vector<std::byte> out(size);
      const auto back = decompress(codec, packed, out);
      ASSERT_TRUE(back.has_value()) << static_cast<int>(codec) << " " << size;
      EXPECT_TRUE(std::ranges::equal(*back, data));
    }
  }
}

TEST(Compression, reads_the_batches_of_another_implementation) {
  const auto batches = golden_batches();
  const auto plain = BatchView::parse(batches.at("none"))->payload();
  std::vector<std::byte> scratch(plain.size());
  for (const auto& [name, bytes] : batches) {
    const auto batch = BatchView::parse(bytes).value();
    EXPECT_TRUE(batch.crc_valid()) << name;
    const auto records = batch_records(batch, scratch);
    ASSERT_TRUE(records.has_value()) << name;
    EXPECT_EQ(print_hex(*records), print_hex(plain)) << name;
  }
}

TEST(Compression, a_compressed_batch_keeps_its_header_and_records) {
  const auto bytes = golden_batches().at("none");
  const auto batch = BatchView::parse(bytes).value();
  for (const Codec codec : kRealCodecs) {
    std::vector<std::byte> out(1 << 17);
    const auto made = compress_batch(codec, batch, out);
    ASSERT_TRUE(made.has_value());
    const auto packed = BatchView::parse(*made).value();
    EXPECT_EQ(packed.size(), made->size());
    EXPECT_LT(packed.size(), batch.size());
    EXPECT_EQ(packed.codec(), codec);
    EXPECT_TRUE(packed.crc_valid());
    EXPECT_EQ(packed.record_count(), batch.record_count());
    EXPECT_EQ(packed.max_timestamp(), batch.max_timestamp());
    std::vector<std::byte> scratch(batch.size());
    EXPECT_EQ(print_hex(*batch_records(packed, scratch)), print_hex(batch.payload()));
    EXPECT_EQ(compress_batch(codec, packed, out).error(), Errc::invalid_argument);
  }
}

TEST(Compression, a_bomb_is_stopped_at_the_bound) {
  const std::vector<std::byte> zeros(8 << 20);
  for (const Codec codec : kRealCodecs) {
    const auto packed = compressed(codec, zeros);
    std::vector<std::byte> out(1 << 16);
    EXPECT_EQ(decompress(codec, packed, out).error(), Errc::too_large) << static_cast<int>(codec);
    std::vector<std::byte> one_short(zeros.size() - 1);
    EXPECT_EQ(decompress(codec, packed, one_short).error(), Errc::too_large) << static_cast<int>(codec);
  }
}

TEST(Compression, every_truncation_is_an_error) {
  const std::string text = "the quick brown fox jumps over the lazy dog, the quick brown fox jumps again";
  for (const Codec codec : kRealCodecs) {
    const auto packed = compressed(codec, as_bytes(text));
    std::vector<std::byte> out(1 << 12);
    // Java's snappy framing has no end mark: its bare header is an empty stream.
    const std::size_t shortest_stream = codec == Codec::snappy ? 16 : packed.size();
    for (std::size_t size = 0; size < packed.size(); ++size) {
      if (size == shortest_stream) continue;
      const std::vector<std::byte> cut(packed.begin(), packed.begin() + static_cast<long>(size));
      EXPECT_FALSE(decompress(codec, cut, out).has_value()) << static_cast<int>(codec) << " " << size;
    }
  }
}

TEST(Compression, random_damage_is_survived) {
  const std::string text = "the quick brown fox jumps over the lazy dog, the quick brown fox jumps again";
  Prng prng(3);
  for (const Codec codec : kRealCodecs) {
    const auto packed = compressed(codec, as_bytes(text));
    std::vector<std::byte> out(1 << 12);
    for (int round = 0; round < 500; ++round) {
      auto damaged = packed;
      damaged[prng.below(damaged.size())] = static_cast<std::byte>(prng.next());
      (void)decompress(codec, damaged, out);
    }
  }
}

TEST(Compression, raw_snappy_is_read_as_well) {
  // "hello hello hello hello" as one raw block: length 23, literal "hello ", copy of 17 bytes at distance 6.
  const auto packed = parse_hex(
      "17"
      "1468656c6c6f20"
      "4206"
      "00");
  std::vector<std::byte> out(100);
  const auto back = decompress(Codec::snappy, packed, out);
  ASSERT_TRUE(back.has_value());
  EXPECT_EQ(as_text(*back), "hello hello hello hello");
}

std::vector<std::byte> batch_of(Codec codec, std::size_t value_bytes) {
  std::vector<std::byte> plain(value_bytes + 1000);
  BatchBuilder builder(plain);
  EXPECT_TRUE(builder.append(kTestTime, std::nullopt, std::vector<std::byte>(value_bytes, std::byte{7})));
  const BatchView batch = *BatchView::parse(builder.finish());
  if (codec == Codec::none) return {batch.bytes().begin(), batch.bytes().end()};
  std::vector<std::byte> out(kBatchHeaderBytes + compressed_bytes_max(codec, batch.payload().size()));
  const auto packed = compress_batch(codec, batch, out);
  return {packed->begin(), packed->end()};
}

TEST(Compression, plain_records_grow_to_what_a_batch_needs_and_no_further_than_their_limit) {
  for (const Codec codec : kCodecs) {
    PlainRecords plain;
    for (const std::size_t bytes :
         {std::size_t{100}, 3 * kMiB, std::size_t{1000}, PlainRecords::kBytesMax - 100}) {
      const auto made = batch_of(codec, bytes);
      const BatchView batch = *BatchView::parse(made);
      const auto records = plain.of(batch);
      ASSERT_TRUE(records.has_value()) << bytes;
      const auto record = RecordIterator(*records, 1).next();
      ASSERT_TRUE(record.has_value() && record->value.has_value());
      EXPECT_EQ(record->value->size(), bytes);
    }
    if (codec == Codec::none) continue;
    const auto made = batch_of(codec, PlainRecords::kBytesMax + 1);
    EXPECT_EQ(plain.of(*BatchView::parse(made)).error(), Errc::too_large) << static_cast<int>(codec);
  }
}

TEST(Compression, an_output_too_small_is_too_large) {
  const std::vector<std::byte> data(1000, std::byte{1});
  for (const Codec codec : kCodecs) {
    std::vector<std::byte> out(8);
    EXPECT_EQ(compress(codec, data, out).error(), Errc::too_large) << static_cast<int>(codec);
  }
}

}  // namespace
}  // namespace esc::wire::test
