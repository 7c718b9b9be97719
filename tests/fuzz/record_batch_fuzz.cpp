// Any bytes as the records of a produce request and of a fetch response: validation, iteration and bounded
// decompression must end cleanly. The CRC check is off in one of the passes, so that the fuzzer gets past it.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "esc/wire/compression.h"
#include "esc/wire/record_checks.h"

namespace esc::wire {
namespace {

std::vector<std::byte> scratch(1 << 16);

void require(bool condition) {
  if (!condition) std::abort();
}

std::int32_t walk(ByteView records, std::int32_t count, bool& failed) {
  RecordIterator iterator(records, count);
  std::int32_t seen = 0;
  while (const auto record = iterator.next()) {
    ++seen;
    HeaderIterator headers(*record);
    while (headers.next().has_value()) {
    }
  }
  failed = iterator.failed();
  return seen;
}

void validate(ByteView bytes) {
  ProduceBatchLimits limits{.now_ms = 1'700'000'000'000};
  (void)validate_produce_batch(bytes, limits);
  limits.verify_crc = false;
  limits.compacted = (bytes.size() & 1) != 0;
  if (!validate_produce_batch(bytes, limits).ok()) return;
  const auto batch = BatchView::parse(bytes);
  require(batch.has_value() && batch->size() == bytes.size());
  const auto records = batch_records(*batch, scratch);
  if (!records.has_value() || !check_records(*batch, *records, limits).ok()) return;
  // What passes the whole check must be one batch whose records all read.
  bool failed = false;
  require(walk(*records, batch->record_count(), failed) == batch->record_count() && !failed);
}

void iterate(ByteView bytes) {
  BatchIterator batches(bytes);
  while (const auto batch = batches.next()) {
    (void)batch->crc_valid();
    (void)batch->last_sequence();
    const auto records = batch_records(*batch, scratch);
    bool failed = false;
    if (records.has_value()) (void)walk(*records, batch->record_count(), failed);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  validate(bytes);
  iterate(bytes);
  return 0;
}

}  // namespace esc::wire
