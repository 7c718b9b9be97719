// Any bytes as the records of a batch: finding ids must end cleanly, and a batch that passes validation must
// pass it again after some of its records were taken out.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <vector>

#include "esc/wire/compression.h"
#include "esc/wire/event_id.h"

namespace esc::wire {
namespace {

std::vector<std::byte> scratch(1 << 16);
std::vector<std::byte> plain(1 << 16);
std::vector<std::byte> out(1 << 18);
std::vector<std::byte> again(1 << 16);

void require(bool condition) {
  if (!condition) std::abort();
}

void rewrite(ByteView bytes) {
  ProduceBatchLimits limits{.now_ms = 1'700'000'000'000, .verify_crc = false};
  if (!validate_produce_batch(bytes, limits).ok()) return;
  const BatchView batch = *BatchView::parse(bytes);
  const auto records = batch_records(batch, scratch);
  if (!records.has_value() || !check_records(batch, *records, limits).ok()) return;
  const auto count = static_cast<std::size_t>(batch.record_count());
  const auto drop = std::make_unique<bool[]>(count);
  std::size_t kept = 0;
  const BatchVerdict verdict = check_event_ids(batch, *records, limits, {.header = "event-id"},
                                               [&](std::int32_t number, const NullableBytes& id) {
                                                 const bool dropped = id.has_value() || number % 3 == 1;
                                                 drop[static_cast<std::size_t>(number)] = dropped;
                                                 kept += dropped ? 0 : 1;
                                               });
  require(verdict.ok());
  const auto result = remove_records(batch, *records, {drop.get(), count}, {.plain = plain, .out = out});
  require(result.has_value() == (kept > 0));
  if (!result) return;
  limits.verify_crc = true;
  limits.batch_bytes_max = out.size();
  require(validate_produce_batch(*result, limits).ok());
  const BatchView rest = *BatchView::parse(*result);
  require(rest.record_count() == static_cast<std::int32_t>(kept));
  const auto rest_records = batch_records(rest, again);
  require(rest_records.has_value() && check_records(rest, *rest_records, limits).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  RecordIterator records(bytes, static_cast<std::int32_t>(size & 0xff));
  while (const auto record = records.next()) {
    NullableBytes id;
    static_cast<void>(read_event_id(*record, {.key = (size & 1) != 0, .header = "event-id"}, id));
  }
  rewrite(bytes);
  return 0;
}

}  // namespace esc::wire
