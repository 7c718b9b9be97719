// What a compaction does with each record batch: which key is newest where, and what stays of a batch.
//
// Pure computation, bounded by one batch per call. Two passes over the batches of a range, in order:
//   note(batch) for those with offsets from `dirty_from`, until it says that the map is full
//   clean(batch) for all of them; what survives comes out of take()
//
// Offsets stay dense: a batch that survives is stretched up to where the next one begins (last offset delta),
// and the first one begins where the range begins. So whoever walks segments finds them as he always did.
//
// Threading: one owner. Memory: the map, and buffers for one batch uncompressed (wire::PlainRecords).
#pragma once

#include <cstdint>
#include <expected>
#include <limits>
#include <utility>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/wire/compression.h"
#include "esc/wire/record_batch.h"
#include "key_map.h"

namespace esc::store {

struct CleanerSettings {
  Offset from;        // where the range begins
  Offset dirty_from;  // below it no key occurs twice
  WallMs now_ms = 0;
  std::int64_t delete_retention_ms = 0;
  std::uint64_t map_bytes = 0;
  std::uint64_t keys_max = 0;  // an upper bound of how many keys there can be
  dedup::IdKey hash_key;
  // Without a survivor for so many offsets a tombstone is left as a mark: a batch spans at most 2^31 of them.
  std::int64_t gap_max = std::int64_t{1} << 30;
  std::size_t batch_bytes_max = 1'048'588;  // a batch that grows beyond it is cut in two
};

class BatchCleaner {
 public:
  explicit BatchCleaner(const CleanerSettings& settings)
      : settings_(settings), map_(settings.map_bytes, settings.keys_max) {}

  // False: no room for all its keys; clean() may follow. Errors: the records cannot be read.
  [[nodiscard]] std::expected<bool, Errc> note(wire::BatchView batch);
  // Everything from here on stays as it is: the first offset that the map does not speak for.
  [[nodiscard]] Offset map_end() const { return map_end_; }

  // `last`: the range ends with it.
  [[nodiscard]] Errc clean(wire::BatchView batch, bool last);
  // The batches that are ready, one after the other; valid until the next call. The newest survivor comes
  // with the one behind it, or after the last batch.
  [[nodiscard]] ByteSpan take();

  // Bytes that were packed and unpacked since the last call, weighed by what that costs.
  [[nodiscard]] std::uint64_t take_effort() { return std::exchange(effort_, 0); }
  [[nodiscard]] std::uint64_t records_kept() const { return records_kept_; }
  [[nodiscard]] std::uint64_t records_removed() const { return records_removed_; }
  // When the last of the tombstones that stay may go; 0: there are none.
  [[nodiscard]] WallMs tombstones_until() const { return tombstones_until_; }

 private:
  struct Verdict {
    std::size_t kept = 0;
    bool tombstones = false;  // stay, and may go one day
  };
  [[nodiscard]] std::expected<ByteView, Errc> records_of(wire::BatchView batch);
  [[nodiscard]] dedup::Id id_of(ByteView key) const { return dedup::siphash128(settings_.hash_key, key); }
  [[nodiscard]] std::expected<Verdict, Errc> judge(wire::BatchView batch, ByteView records);
  [[nodiscard]] bool stays(wire::BatchView batch, const wire::Record& record, Verdict& verdict) const;
  [[nodiscard]] Errc rewrite(wire::BatchView batch, ByteView records, const Verdict& verdict);
  [[nodiscard]] Errc rewrite_part(wire::BatchView batch, ByteView records, std::size_t from, std::size_t to,
                                  std::optional<WallMs> horizon);
  [[nodiscard]] Errc leave_mark(wire::BatchView batch, ByteView records);
  void add(ByteView batch);
  [[nodiscard]] bool any() const { return !pending_.empty(); }

  const CleanerSettings settings_;
  KeyMap map_;
  Offset map_end_{std::numeric_limits<std::int64_t>::max()};
  wire::PlainRecords plain_;          // records of the batch at hand
  std::vector<std::byte> rewritten_;  // the same, what stays
  std::vector<std::byte> packed_;     // as a batch
  std::vector<std::uint8_t> keep_;
  std::vector<std::int32_t> offsets_;  // deltas of the records at hand
  std::vector<std::byte> pending_;     // the newest survivor; empty: none so far
  std::vector<std::byte> ready_;
  bool taken_ = false;
  std::uint64_t effort_ = 0;
  std::uint64_t records_kept_ = 0;
  std::uint64_t records_removed_ = 0;
  WallMs tombstones_until_ = 0;
};

}  // namespace esc::store
