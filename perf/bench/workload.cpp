#include "workload.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "clocks.h"
#include "esc/base/assert.h"
#include "esc/base/crc32c.h"
#include "esc/base/prng.h"
#include "esc/wire/compression.h"

namespace esc::bench {

std::vector<std::byte> make_filler(std::uint32_t event_bytes) {
  ESC_ASSERT(event_bytes >= kEventBytesMin);
  // Hexadecimal digits: compressible to about half, as ordinary text payloads are.
  static constexpr char kDigits[] = "0123456789abcdef";
  std::vector<std::byte> filler(event_bytes - kEventHeaderBytes);
  Prng prng(event_bytes);
  for (std::byte& b : filler) b = static_cast<std::byte>(kDigits[prng.below(16)]);
  return filler;
}

void write_event(std::byte* value, const Event& event, std::uint32_t filler_crc) {
  store_le(value, event.run_id);
  store_le(value + 8, event.producer);
  store_le(value + 12, event.partition);
  store_le(value + 16, event.sequence);
  store_le(value + 24, event.intended);
  store_le(value + 32, crc32c({value, 32}, filler_crc));
}

std::optional<Event> read_event(ByteView value) {
  if (value.size() < kEventBytesMin) return std::nullopt;
  const std::byte* at = value.data();
  return Event{.run_id = load_le<std::uint64_t>(at),
               .producer = load_le<std::uint32_t>(at + 8),
               .partition = load_le<std::uint32_t>(at + 12),
               .sequence = load_le<std::uint64_t>(at + 16),
               .intended = load_le<Nanos>(at + 24)};
}

bool EventChecker::valid(ByteView value) {
  if (value.size() < kEventBytesMin) return false;
  if (filler_.size() != value.size() - kEventHeaderBytes) {
    filler_ = make_filler(static_cast<std::uint32_t>(value.size()));
    filler_crc_ = crc32c(filler_);
  }
  if (std::memcmp(value.data() + kEventHeaderBytes, filler_.data(), filler_.size()) != 0) return false;
  return crc32c(value.first(32), filler_crc_) == load_le<std::uint32_t>(value.data() + 32);
}

BatchTemplate::BatchTemplate(const Shape& shape) : event_bytes_(shape.event_bytes) {
  const std::uint32_t event_bytes = shape.event_bytes;
  const std::vector<std::byte> filler = make_filler(event_bytes);
  filler_crc_ = crc32c(filler);
  std::vector<std::byte> value(event_bytes);
  std::copy(filler.begin(), filler.end(), value.begin() + kEventHeaderBytes);
  const std::vector<std::byte> key(kKeyBytes, std::byte{'0'});
  if (shape.keyed) key_distance_ = wire::varint_bytes(event_bytes) + kKeyBytes;

  const std::vector<std::byte> id(kEventIdBytes);
  const std::array<wire::Header, 1> headers = {wire::Header{"event-id", wire::NullableBytes(ByteView(id))}};
  const auto used = std::span(headers).first(shape.event_ids ? 1 : 0);
  // The count of headers, the lengths of name and value, and both.
  if (shape.event_ids) tail_bytes_ = 1 + 1 + headers[0].key.size() + 1 + kEventIdBytes;
  // A record adds at most its length, attributes, deltas, key and value lengths and header count.
  bytes_.resize(wire::kBatchHeaderBytes +
                std::size_t{shape.events_max} * (event_bytes + kKeyBytes + 32 + tail_bytes_));
  wire::BatchBuilder builder(bytes_);
  for (std::uint32_t i = 0; i < shape.events_max; ++i) {
    const bool fits =
        builder.append(0, shape.keyed ? wire::NullableBytes(key) : std::nullopt, ByteView(value), used);
    ESC_ASSERT(fits);
    value_at_.push_back(builder.size() - tail_bytes_ - event_bytes);
  }
  bytes_.resize(builder.finish().size());
  ESC_ASSERT(bytes_.size() == size(shape.events_max));
}

void BatchTemplate::finish(std::byte* batch, std::uint32_t count, WallMs timestamp) const {
  const std::size_t bytes = size(count);
  store_be(batch + 8, static_cast<std::int32_t>(bytes - wire::kBatchLengthEnd));
  store_be(batch + 23, static_cast<std::int32_t>(count - 1));
  store_be(batch + 27, std::int64_t{timestamp});
  store_be(batch + 35, std::int64_t{timestamp});
  store_be(batch + 57, static_cast<std::int32_t>(count));
  store_be(batch + 17, crc32c({batch + wire::kBatchCrcFrom, bytes - wire::kBatchCrcFrom}));
}

BatchFactory::BatchFactory(const Settings& settings)
    : settings_(settings),
      template_({.event_bytes = settings.event_bytes,
                 .keyed = settings.keyed,
                 .event_ids = settings.event_ids,
                 .events_max = settings.events_max}) {}

Batch* BatchFactory::take(std::uint32_t partition, std::uint64_t first_sequence) {
  if (free_.empty()) {
    auto fresh = std::make_unique<Batch>();
    fresh->bytes.resize(Batch::kPrefixBytes + template_.bytes().size());
    std::memcpy(fresh->batch(), template_.bytes().data(), template_.bytes().size());
    fresh->intended.reserve(settings_.events_max);
    free_.push_back(fresh.get());
    all_.push_back(std::move(fresh));
  }
  Batch* batch = free_.back();
  free_.pop_back();
  batch->partition = partition;
  batch->first_sequence = first_sequence;
  batch->count = 0;
  batch->intended.clear();
  batch->wire = {};
  return batch;
}

void BatchFactory::give_back(Batch* batch) {
  free_.push_back(batch);
}

void BatchFactory::append(Batch& batch, std::uint32_t producer, Nanos intended, std::uint64_t key) {
  ESC_ASSERT(!full(batch));
  if (settings_.keyed) {
    static constexpr char kDigits[] = "0123456789abcdef";
    std::byte* at = batch.batch() + template_.key_at(batch.count);
    for (std::uint32_t i = 0; i < kKeyBytes; ++i)
      at[i] = static_cast<std::byte>(kDigits[(key >> (4 * i)) & 15]);
  }
  write_event(batch.batch() + template_.value_at(batch.count),
              {.run_id = settings_.run_id,
               .producer = producer,
               .partition = batch.partition,
               .sequence = batch.first_sequence + batch.count,
               .intended = intended},
              template_.filler_crc());
  if (settings_.event_ids) {
    std::memcpy(batch.batch() + template_.id_at(batch.count), batch.batch() + template_.value_at(batch.count),
                kEventIdBytes);
  }
  batch.intended.push_back(intended);
  ++batch.count;
}

void BatchFactory::finish(Batch& batch) {
  template_.finish(batch.batch(), batch.count, wall_ms());
  std::byte* prefix = batch.bytes.data();
  std::size_t bytes = template_.size(batch.count);
  if (settings_.codec != wire::Codec::none) {
    const auto view = wire::BatchView::parse({batch.batch(), bytes});
    ESC_ASSERT(view.has_value());
    batch.compressed.resize(Batch::kPrefixBytes + wire::kBatchHeaderBytes +
                            wire::compressed_bytes_max(settings_.codec, bytes));
    const auto compressed =
        wire::compress_batch(settings_.codec, *view, ByteSpan(batch.compressed).subspan(Batch::kPrefixBytes));
    ESC_ASSERT(compressed.has_value());
    bytes = compressed->size();
    prefix = batch.compressed.data();
  }
  store_be(prefix, static_cast<std::int32_t>(batch.partition));
  store_be(prefix + 4, static_cast<std::int32_t>(bytes));
  batch.wire = {prefix, Batch::kPrefixBytes + bytes};
}

}  // namespace esc::bench
