// Compression of record batches: gzip, snappy, lz4 and zstd. Cold: the broker passes compressed batches
// through untouched; clients, tools and the check of compacted topics use this. The codec libraries allocate.
#pragma once

#include <cstddef>
#include <expected>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/wire/record_batch.h"

namespace esc::wire {

// Both write at most out.size() bytes and return the part of `out` they filled. too_large: it did not fit
// (this bounds decompression bombs). corruption: not the codec's format. Codec::none copies.
//
// Snappy is written with the block framing of Java clients (xerial) and read with or without it; lz4 is the
// frame format with independent blocks, as Java requires.
[[nodiscard]] std::expected<ByteView, Errc> compress(Codec codec, ByteView from, ByteSpan out);
[[nodiscard]] std::expected<ByteView, Errc> decompress(Codec codec, ByteView from, ByteSpan out);

// Room that compress() is sure to be content with.
[[nodiscard]] std::size_t compressed_bytes_max(Codec codec, std::size_t bytes);

// Rewrites a whole uncompressed batch as a compressed one: header, new length, new CRC.
[[nodiscard]] std::expected<ByteView, Errc> compress_batch(Codec codec, BatchView batch, ByteSpan out);
// The records of a batch, ready for a RecordIterator: the payload itself when it is not compressed, else
// decompressed into `scratch`.
[[nodiscard]] std::expected<ByteView, Errc> batch_records(BatchView batch, ByteSpan scratch);

// The records of one batch after another, for those who look into many. Memory: what the largest compressed
// batch so far needed, at most kBytesMax.
class PlainRecords {
 public:
  static constexpr std::size_t kBytesMax = 16 * kMiB;

  // Valid until the next call, and as long as the batch. too_large: more than kBytesMax. corruption.
  [[nodiscard]] std::expected<ByteView, Errc> of(BatchView batch);

 private:
  std::vector<std::byte> buffer_;
};

}  // namespace esc::wire
