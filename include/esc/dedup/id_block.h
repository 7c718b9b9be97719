// What a batch entry of the log carries behind its batch on a topic that drops duplicates: the limits that
// were in force at the leader, and the id of each record. So a replica, and a replay, needs neither to
// decompress the batch nor to know the topic's settings, and all of them remember the same.
//
//   body := batch, zero padding to a multiple of 8, Id[records] (none: 16 zero bytes), window_ms i64,
//           bytes_max u64
//
// Little-endian. Pure; views point into the entry.
#pragma once

#include <cstring>
#include <optional>
#include <span>

#include "esc/base/bytes.h"
#include "esc/dedup/window.h"

namespace esc::dedup {

inline constexpr std::size_t kIdBlockAlignment = 8;

[[nodiscard]] constexpr std::size_t id_block_bytes(std::size_t records) {
  return records * sizeof(Id) + 2 * sizeof(std::uint64_t);
}
// Of the whole body of the entry.
[[nodiscard]] constexpr std::size_t body_bytes_with_ids(std::size_t batch_bytes, std::size_t records) {
  return static_cast<std::size_t>(align_up(batch_bytes, kIdBlockAlignment)) + id_block_bytes(records);
}

class IdBlock {
 public:
  // Writes padding and block behind a batch that is in place at the front of `body`.
  static void write(ByteSpan body, std::size_t batch_bytes, std::span<const Id> ids, const Limits& limits);
  // Nothing when the body does not hold the block of that many records behind that batch.
  [[nodiscard]] static std::optional<IdBlock> read(ByteView body, std::size_t batch_bytes,
                                                   std::size_t records);

  [[nodiscard]] std::size_t size() const { return ids_.size() / sizeof(Id); }
  [[nodiscard]] Id id(std::size_t record) const {
    Id id;
    std::memcpy(&id, ids_.data() + record * sizeof(Id), sizeof id);
    return id;
  }
  [[nodiscard]] const Limits& limits() const { return limits_; }

 private:
  ByteView ids_;
  Limits limits_;
};

}  // namespace esc::dedup
