// A batch that is written anew from some of its records. Private to the module.
//
// Pure. The caller writes the records it keeps to records(), then finish() packs them with the batch's codec
// behind a copy of its header; what else changes in the header, and the CRC, is the caller's.
#pragma once

#include <cstring>
#include <expected>

#include "esc/wire/compression.h"
#include "esc/wire/event_id.h"
#include "esc/wire/record_batch.h"

namespace esc::wire {

class Repack {
 public:
  // `buffers.out` holds a batch header at least.
  Repack(BatchView batch, const RewriteBuffers& buffers)
      : batch_(batch), out_(buffers.out), plain_(packs() ? buffers.plain : payload()) {}

  // Room for the records, uncompressed.
  [[nodiscard]] ByteSpan records() const { return plain_; }

  // The whole batch, with the length of `record_bytes` bytes of records. Errors: compress().
  [[nodiscard]] std::expected<ByteSpan, Errc> finish(std::size_t record_bytes) const {
    std::size_t payload_bytes = record_bytes;
    if (packs()) {
      const auto packed = compress(batch_.codec(), plain_.first(record_bytes), payload());
      if (!packed) return std::unexpected(packed.error());
      payload_bytes = packed->size();
    }
    const ByteSpan result = out_.first(kBatchHeaderBytes + payload_bytes);
    std::memcpy(result.data(), batch_.bytes().data(), kBatchHeaderBytes);
    store_be(result.data() + 8, static_cast<std::int32_t>(result.size() - kBatchLengthEnd));
    return result;
  }

 private:
  [[nodiscard]] bool packs() const { return batch_.codec() != Codec::none; }
  [[nodiscard]] ByteSpan payload() const { return out_.subspan(kBatchHeaderBytes); }

  BatchView batch_;
  ByteSpan out_;
  ByteSpan plain_;
};

}  // namespace esc::wire
