#include "esc/wire/compression.h"

#include <lz4frame.h>
#include <snappy-c.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "esc/base/assert.h"

namespace esc::wire {

namespace {

using Outcome = std::expected<ByteView, Errc>;

// Java's SnappyOutputStream ("xerial"): this header, then blocks of int32 length and raw snappy.
constexpr std::array<unsigned char, 8> kXerialMagic = {0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0};
constexpr std::size_t kXerialHeaderBytes = 16;  // magic, int32 version, int32 lowest compatible version
constexpr std::size_t kXerialBlockBytes = 32 * 1024;
constexpr int kGzipWindowBits = 15 + 16;  // 16: gzip header and trailer instead of zlib's
constexpr int kZstdLevel = 3;

const char* chars(const std::byte* bytes) {
  return reinterpret_cast<const char*>(bytes);
}
char* chars(std::byte* bytes) {
  return reinterpret_cast<char*>(bytes);
}

// zlib counts in 32 bits. Record batches are below 2^31 bytes, so larger spans are never needed.
uInt zlib_size(std::size_t size) {
  return static_cast<uInt>(std::min<std::size_t>(size, std::numeric_limits<uInt>::max()));
}

Outcome gzip_compress(ByteView from, ByteSpan out) {
  z_stream stream{};
  if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, kGzipWindowBits, 8, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    return std::unexpected(Errc::no_space);
  }
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
  stream.avail_in = zlib_size(from.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = zlib_size(out.size());
  const int code = deflate(&stream, Z_FINISH);
  const std::size_t produced = stream.total_out;
  deflateEnd(&stream);
  if (code != Z_STREAM_END) return std::unexpected(Errc::too_large);
  return out.first(produced);
}

Outcome gzip_decompress(ByteView from, ByteSpan out) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindowBits) != Z_OK) return std::unexpected(Errc::no_space);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(from.data()));
  stream.avail_in = zlib_size(from.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = zlib_size(out.size());
  int code = Z_OK;
  while (true) {
    code = inflate(&stream, Z_NO_FLUSH);
    if (code == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      if (inflateReset(&stream) != Z_OK) break;  // gzip members may follow one another
      continue;
    }
    if (code != Z_OK) break;
  }
  const bool full = stream.avail_out == 0;
  const std::size_t produced = out.size() - stream.avail_out;
  inflateEnd(&stream);
  if (code == Z_STREAM_END) return out.first(produced);
  return std::unexpected(code == Z_BUF_ERROR && full ? Errc::too_large : Errc::corruption);
}

Outcome snappy_compress_blocks(ByteView from, ByteSpan out) {
  if (out.size() < kXerialHeaderBytes) return std::unexpected(Errc::too_large);
  std::memcpy(out.data(), kXerialMagic.data(), kXerialMagic.size());
  store_be<std::int32_t>(out.data() + 8, 1);
  store_be<std::int32_t>(out.data() + 12, 1);
  std::size_t used = kXerialHeaderBytes;
  while (!from.empty()) {
    const ByteView block = from.first(std::min(from.size(), kXerialBlockBytes));
    if (out.size() - used < 4) return std::unexpected(Errc::too_large);
    std::size_t bytes = out.size() - used - 4;
    if (bytes < snappy_max_compressed_length(block.size())) return std::unexpected(Errc::too_large);
    if (snappy_compress(chars(block.data()), block.size(), chars(out.data() + used + 4), &bytes) !=
        SNAPPY_OK) {
      return std::unexpected(Errc::too_large);
    }
    store_be<std::int32_t>(out.data() + used, static_cast<std::int32_t>(bytes));
    used += 4 + bytes;
    from = from.subspan(block.size());
  }
  return out.first(used);
}

// One raw snappy block; returns the bytes written.
std::expected<std::size_t, Errc> snappy_block(ByteView from, ByteSpan out) {
  std::size_t bytes = 0;
  if (snappy_uncompressed_length(chars(from.data()), from.size(), &bytes) != SNAPPY_OK) {
    return std::unexpected(Errc::corruption);
  }
  if (bytes > out.size()) return std::unexpected(Errc::too_large);
  if (snappy_uncompress(chars(from.data()), from.size(), chars(out.data()), &bytes) != SNAPPY_OK) {
    return std::unexpected(Errc::corruption);
  }
  return bytes;
}

Outcome snappy_decompress(ByteView from, ByteSpan out) {
  const bool framed = from.size() >= kXerialHeaderBytes &&
                      std::memcmp(from.data(), kXerialMagic.data(), kXerialMagic.size()) == 0;
  if (!framed) {
    const auto bytes = snappy_block(from, out);
    if (!bytes.has_value()) return std::unexpected(bytes.error());
    return out.first(*bytes);
  }
  from = from.subspan(kXerialHeaderBytes);
  std::size_t used = 0;
  while (!from.empty()) {
    if (from.size() < 4) return std::unexpected(Errc::corruption);
    const auto length = load_be<std::int32_t>(from.data());
    from = from.subspan(4);
    if (length <= 0 || static_cast<std::size_t>(length) > from.size())
      return std::unexpected(Errc::corruption);
    const auto bytes = snappy_block(from.first(static_cast<std::size_t>(length)), out.subspan(used));
    if (!bytes.has_value()) return std::unexpected(bytes.error());
    used += *bytes;
    from = from.subspan(static_cast<std::size_t>(length));
  }
  return out.first(used);
}

LZ4F_preferences_t lz4_preferences() {
  LZ4F_preferences_t preferences{};
  preferences.frameInfo.blockSizeID = LZ4F_max64KB;
  preferences.frameInfo.blockMode = LZ4F_blockIndependent;  // Java's reader accepts nothing else
  return preferences;
}

Outcome lz4_compress(ByteView from, ByteSpan out) {
  const LZ4F_preferences_t preferences = lz4_preferences();
  const std::size_t bytes =
      LZ4F_compressFrame(out.data(), out.size(), from.data(), from.size(), &preferences);
  if (LZ4F_isError(bytes) != 0) return std::unexpected(Errc::too_large);
  return out.first(bytes);
}

Outcome lz4_decompress(ByteView from, ByteSpan out) {
  LZ4F_dctx* context = nullptr;
  if (LZ4F_isError(LZ4F_createDecompressionContext(&context, LZ4F_VERSION)) != 0) {
    return std::unexpected(Errc::no_space);
  }
  std::size_t used = 0;
  Errc error = Errc::ok;
  while (!from.empty()) {
    std::size_t produced = out.size() - used;
    std::size_t consumed = from.size();
    const std::size_t hint =
        LZ4F_decompress(context, out.data() + used, &produced, from.data(), &consumed, nullptr);
    if (LZ4F_isError(hint) != 0) {
      error = Errc::corruption;
      break;
    }
    used += produced;
    from = from.subspan(consumed);
    if (hint == 0) continue;  // a frame ended; another may follow
    const bool stuck = produced == 0 && consumed == 0;
    if (stuck || from.empty()) {
      error = used == out.size() ? Errc::too_large : Errc::corruption;
      break;
    }
  }
  LZ4F_freeDecompressionContext(context);
  if (error != Errc::ok) return std::unexpected(error);
  return out.first(used);
}

Outcome zstd_compress(ByteView from, ByteSpan out) {
  const std::size_t bytes = ZSTD_compress(out.data(), out.size(), from.data(), from.size(), kZstdLevel);
  if (ZSTD_isError(bytes) != 0) return std::unexpected(Errc::too_large);
  return out.first(bytes);
}

Outcome zstd_decompress(ByteView from, ByteSpan out) {
  // One-shot: the output is the window, so a huge window in a frame header costs no memory.
  const std::size_t bytes = ZSTD_decompress(out.data(), out.size(), from.data(), from.size());
  if (ZSTD_isError(bytes) == 0) return out.first(bytes);
  const bool too_large = ZSTD_getErrorCode(bytes) == ZSTD_error_dstSize_tooSmall;
  return std::unexpected(too_large ? Errc::too_large : Errc::corruption);
}

Outcome copy(ByteView from, ByteSpan out) {
  if (from.size() > out.size()) return std::unexpected(Errc::too_large);
  if (!from.empty()) std::memcpy(out.data(), from.data(), from.size());
  return out.first(from.size());
}

}  // namespace

Outcome compress(Codec codec, ByteView from, ByteSpan out) {
  switch (codec) {
    case Codec::none: return copy(from, out);
    case Codec::gzip: return gzip_compress(from, out);
    case Codec::snappy: return snappy_compress_blocks(from, out);
    case Codec::lz4: return lz4_compress(from, out);
    case Codec::zstd: return zstd_compress(from, out);
  }
  return std::unexpected(Errc::unsupported);
}

Outcome decompress(Codec codec, ByteView from, ByteSpan out) {
  if (codec != Codec::none && from.empty()) return std::unexpected(Errc::corruption);
  switch (codec) {
    case Codec::none: return copy(from, out);
    case Codec::gzip: return gzip_decompress(from, out);
    case Codec::snappy: return snappy_decompress(from, out);
    case Codec::lz4: return lz4_decompress(from, out);
    case Codec::zstd: return zstd_decompress(from, out);
  }
  return std::unexpected(Errc::unsupported);
}

std::size_t compressed_bytes_max(Codec codec, std::size_t bytes) {
  switch (codec) {
    case Codec::none: return bytes;
    case Codec::gzip: return compressBound(bytes) + 18;  // gzip's header and trailer exceed zlib's
    case Codec::snappy: {
      const std::size_t blocks = bytes / kXerialBlockBytes + 1;
      return kXerialHeaderBytes + blocks * (4 + snappy_max_compressed_length(kXerialBlockBytes));
    }
    case Codec::lz4: {
      const LZ4F_preferences_t preferences = lz4_preferences();
      return LZ4F_compressFrameBound(bytes, &preferences);
    }
    case Codec::zstd: return ZSTD_compressBound(bytes);
  }
  return bytes;
}

Outcome compress_batch(Codec codec, BatchView batch, ByteSpan out) {
  if (batch.codec() != Codec::none) return std::unexpected(Errc::invalid_argument);
  if (out.size() < kBatchHeaderBytes) return std::unexpected(Errc::too_large);
  const auto payload = compress(codec, batch.payload(), out.subspan(kBatchHeaderBytes));
  if (!payload.has_value()) return payload;
  const ByteSpan whole = out.first(kBatchHeaderBytes + payload->size());
  std::memcpy(whole.data(), batch.bytes().data(), kBatchHeaderBytes);
  store_be<std::int32_t>(whole.data() + 8, static_cast<std::int32_t>(whole.size() - kBatchLengthEnd));
  const auto attributes = static_cast<std::int16_t>(batch.attributes() | static_cast<std::int16_t>(codec));
  store_be<std::int16_t>(whole.data() + 21, attributes);
  stamp_crc(whole);
  return whole;
}

Outcome batch_records(BatchView batch, ByteSpan scratch) {
  if (batch.codec() == Codec::none) return batch.payload();
  return decompress(batch.codec(), batch.payload(), scratch);
}

Outcome PlainRecords::of(BatchView batch) {
  constexpr std::size_t kBytesFirst = 256 * kKiB;
  if (batch.codec() == Codec::none) return batch.payload();
  if (buffer_.empty()) buffer_.resize(kBytesFirst);
  for (;;) {
    const auto records = decompress(batch.codec(), batch.payload(), buffer_);
    if (records || records.error() != Errc::too_large || buffer_.size() >= kBytesMax) return records;
    buffer_.resize(buffer_.size() * 2);
  }
}

}  // namespace esc::wire
