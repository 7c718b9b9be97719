// Keyed records for the tests of compaction: batches made of them in any codec, and read back.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "esc/wire/compression.h"
#include "fixture.h"

namespace esc::store::testing {

struct KeyedRecord {
  std::optional<std::string> key;
  std::optional<std::string> value;  // nothing: a tombstone
  WallMs timestamp = 0;
  Offset offset;
  bool operator==(const KeyedRecord&) const = default;
};

inline wire::NullableBytes nullable(const std::optional<std::string>& text) {
  if (!text.has_value()) return {};
  return as_bytes(*text);
}

// Gives the records their offsets.
inline TestBatch make_keyed_batch(Offset base, std::vector<KeyedRecord>& records, wire::Codec codec,
                                  std::int64_t producer = 7) {
  std::size_t bytes = wire::kBatchHeaderBytes + 64;
  for (const auto& record : records)
    bytes += 64 + (record.key ? record.key->size() : 0) + (record.value ? record.value->size() : 0);
  TestBatch batch;
  batch.bytes.resize(bytes);
  wire::BatchOptions options;
  options.base_offset = base.value();
  options.leader_epoch = 3;
  options.producer_id = producer;
  options.producer_epoch = 1;
  options.base_sequence = 40;
  wire::BatchBuilder builder(batch.bytes, options);
  Offset next = base;
  for (auto& record : records) {
    record.offset = next;
    next = next.next();
    EXPECT_TRUE(builder.append(record.timestamp, nullable(record.key), nullable(record.value)));
  }
  batch.bytes.resize(builder.finish().size());
  if (codec != wire::Codec::none) {
    std::vector<std::byte> packed(wire::kBatchHeaderBytes +
                                  wire::compressed_bytes_max(codec, batch.bytes.size()));
    const auto view = wire::BatchView::parse(batch.bytes);
    const auto result = wire::compress_batch(codec, *view, packed);
    EXPECT_TRUE(result.has_value());
    packed.resize(result->size());
    batch.bytes = std::move(packed);
  }
  batch.base_offset = base;
  batch.last_offset = Offset(next.value() - 1);
  return batch;
}

// The records of a run of batches; checks that offsets ascend and lie within their batch.
inline std::vector<KeyedRecord> records_of(ByteView batches) {
  std::vector<KeyedRecord> all;
  wire::BatchIterator iterator(batches);
  static std::vector<std::byte> plain(4 * kMiB);
  while (const auto batch = iterator.next()) {
    EXPECT_TRUE(batch->crc_valid());
    EXPECT_GT(batch->record_count(), 0) << "clients may not expect a batch without records";
    const auto records = wire::batch_records(*batch, plain);
    EXPECT_TRUE(records.has_value());
    if (!records) return all;
    wire::RecordIterator walk(*records, batch->record_count());
    WallMs newest = -1;
    while (const auto record = walk.next()) {
      KeyedRecord read;
      if (record->key) read.key = std::string(as_text(*record->key));
      if (record->value) read.value = std::string(as_text(*record->value));
      read.timestamp = batch->base_timestamp() + record->timestamp_delta;
      read.offset = Offset(batch->base_offset()) + record->offset_delta;
      newest = std::max(newest, read.timestamp);
      EXPECT_GE(record->offset_delta, 0);
      EXPECT_LE(record->offset_delta, batch->last_offset_delta());
      if (!all.empty()) {
        EXPECT_GT(read.offset, all.back().offset);
      }
      all.push_back(std::move(read));
    }
    EXPECT_FALSE(walk.failed());
    EXPECT_EQ(newest, batch->max_timestamp());
  }
  EXPECT_EQ(iterator.end_reason(), Errc::ok);
  return all;
}

}  // namespace esc::store::testing
