// The events of a run: every value names who sent it, where and as which, and carries a checksum, so that
// a reader can prove that it got exactly what was sent.
//
// Value, little-endian:
//    0 u64 run id        random per run
//    8 u32 producer      connection number within the run
//   12 u32 partition
//   16 u64 sequence      dense from 0 per (run, producer, partition)
//   24 i64 intended      CLOCK_MONOTONIC nanoseconds at which the event was due
//   32 u32 checksum      CRC-32C of 0..31, continuing from the CRC of the filler
//   36 filler            the same for all events of a size
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/units.h"
#include "esc/wire/record_batch.h"

namespace esc::bench {

inline constexpr std::uint32_t kEventBytesMin = 40;
inline constexpr std::uint32_t kEventHeaderBytes = 36;
inline constexpr std::uint32_t kKeyBytes = 16;
inline constexpr std::uint32_t kEventIdBytes = 24;  // the first bytes of the value

struct Event {
  std::uint64_t run_id = 0;
  std::uint32_t producer = 0;
  std::uint32_t partition = 0;
  std::uint64_t sequence = 0;
  Nanos intended = 0;
};

// The filler of values of this size.
[[nodiscard]] std::vector<std::byte> make_filler(std::uint32_t event_bytes);

// Overwrites the header of a value that already holds the filler.
void write_event(std::byte* value, const Event& event, std::uint32_t filler_crc);

// Without checking anything but the size.
[[nodiscard]] std::optional<Event> read_event(ByteView value);

// Checks values of any size; remembers the filler of the last size seen.
class EventChecker {
 public:
  [[nodiscard]] bool valid(ByteView value);

 private:
  std::vector<std::byte> filler_;
  std::uint32_t filler_crc_ = 0;
};

// A full record batch of the largest count, from which batches of any smaller count are cut: records have
// fixed positions, so filling in an event patches a few bytes in place.
class BatchTemplate {
 public:
  struct Shape {
    std::uint32_t event_bytes = 512;
    bool keyed = false;
    bool event_ids = false;
    std::uint32_t events_max = 64;
  };
  explicit BatchTemplate(const Shape& shape);

  [[nodiscard]] std::uint32_t events_max() const { return static_cast<std::uint32_t>(value_at_.size()); }
  [[nodiscard]] ByteView bytes() const { return bytes_; }
  [[nodiscard]] std::uint32_t filler_crc() const { return filler_crc_; }
  [[nodiscard]] std::size_t value_at(std::uint32_t index) const { return value_at_[index]; }
  [[nodiscard]] std::size_t key_at(std::uint32_t index) const { return value_at_[index] - key_distance_; }
  // Only with event ids.
  [[nodiscard]] std::size_t id_at(std::uint32_t index) const {
    return value_at_[index] + event_bytes_ + tail_bytes_ - kEventIdBytes;
  }
  // Bytes of a batch of `count` records.
  [[nodiscard]] std::size_t size(std::uint32_t count) const {
    return value_at_[count - 1] + event_bytes_ + tail_bytes_;
  }
  // Makes the first `count` records of `batch` (a patched copy of bytes()) a valid batch.
  void finish(std::byte* batch, std::uint32_t count, WallMs timestamp) const;

 private:
  std::uint32_t event_bytes_;
  std::size_t key_distance_ = 0;
  std::size_t tail_bytes_ = 1;  // of a record behind its value: the headers
  std::uint32_t filler_crc_ = 0;
  std::vector<std::byte> bytes_;
  std::vector<std::size_t> value_at_;
};

// One batch of one partition on its way: filled, sent, perhaps sent again, acknowledged, reused.
struct Batch {
  static constexpr std::size_t kPrefixBytes = 8;  // partition index and records length of a produce request

  std::vector<std::byte> bytes;  // prefix and record batch
  std::vector<std::byte> compressed;
  ByteView wire;                // what is sent: prefix and finished batch
  std::vector<Nanos> intended;  // per event
  std::uint32_t partition = 0;
  std::uint32_t count = 0;
  std::uint64_t first_sequence = 0;

  [[nodiscard]] std::byte* batch() { return bytes.data() + kPrefixBytes; }
};

// Fills and finishes batches of one producer run; owns the reusable buffers.
class BatchFactory {
 public:
  struct Settings {
    std::uint64_t run_id = 0;
    std::uint32_t event_bytes = 512;
    bool keyed = false;
    bool event_ids = false;
    std::uint32_t events_max = 64;
    wire::Codec codec = wire::Codec::none;
  };
  explicit BatchFactory(const Settings& settings);

  [[nodiscard]] Batch* take(std::uint32_t partition, std::uint64_t first_sequence);
  void give_back(Batch* batch);
  // `key` is ignored unless keyed.
  void append(Batch& batch, std::uint32_t producer, Nanos intended, std::uint64_t key);
  // Header, CRC, compression, prefix.
  void finish(Batch& batch);

  [[nodiscard]] bool full(const Batch& batch) const { return batch.count == template_.events_max(); }
  [[nodiscard]] std::size_t batches_out() const { return all_.size() - free_.size(); }
  [[nodiscard]] std::size_t batch_bytes_max() const { return template_.bytes().size(); }

 private:
  Settings settings_;
  BatchTemplate template_;
  std::vector<std::unique_ptr<Batch>> all_;
  std::vector<Batch*> free_;
};

}  // namespace esc::bench
