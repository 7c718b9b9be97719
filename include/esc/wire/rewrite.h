// Taking records out of a stored batch whose offsets have meaning already (log compaction). Everything that
// stays keeps its offset and its timestamp.
//
// Pure. Records are given uncompressed: batch_records() of compression.h makes them so.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <span>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/wire/event_id.h"
#include "esc/wire/record_batch.h"

namespace esc::wire {

// KIP-534: the base timestamp of the batch is the time from which its tombstones may be removed.
inline constexpr std::int16_t kAttributeDeleteHorizon = 0x40;

[[nodiscard]] inline std::optional<WallMs> delete_horizon(BatchView batch) {
  if ((batch.attributes() & kAttributeDeleteHorizon) == 0) return std::nullopt;
  return batch.base_timestamp();
}

struct BatchRewrite {
  // What the result covers; all records that are kept lie within.
  std::int64_t base_offset = 0;
  std::int64_t last_offset = 0;
  std::optional<WallMs> delete_horizon;
};

// The batch with the records whose `keep` is not 0; at least one must be. Codec, producer, sequence and
// leader epoch stay. Errors: corruption; too_large when a buffer is smaller than rewrite_plain_bytes() says
// (`plain`, only used when the batch is compressed), or than kBatchHeaderBytes and compressed_bytes_max() of
// that (`out`).
[[nodiscard]] std::expected<ByteView, Errc> rewrite_batch(BatchView batch, ByteView records,
                                                          std::span<const std::uint8_t> keep,
                                                          const BatchRewrite& rewrite,
                                                          const RewriteBuffers& buffers);
[[nodiscard]] std::size_t rewrite_plain_bytes(std::size_t record_bytes, std::size_t record_count);

// The batch goes on, without records, to `last_offset`, which is not before its own end.
void stretch_batch(ByteSpan batch, std::int64_t last_offset);

}  // namespace esc::wire
