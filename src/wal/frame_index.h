// Where the entries of the log lie: one record per frame, in order of LSN and of index at once, because a
// frame that supersedes others takes their records away.
//
// Memory: 40 bytes per frame that is on disk and not superseded. A frame takes at least one block, so the
// bound is 40 bytes per 4 KiB of log: 10 MiB for 1 GiB. The room is reserved at construction, in chunks that
// are reused before new ones are touched: resident is what the largest number of frames at one time took.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "esc/base/assert.h"
#include "esc/base/ids.h"

namespace esc::wal {

struct FrameRecord {
  Index first_index;  // the last one is the next record's first_index - 1
  Lsn lsn;
  Term term;
  std::uint64_t generation;  // of the segment
  std::uint32_t block;       // in the segment
  std::uint32_t payload_bytes;
};
static_assert(sizeof(FrameRecord) == 40);

// A double-ended queue whose positions stay valid: the oldest record is at begin(), which only grows.
class FrameIndex {
 public:
  explicit FrameIndex(std::size_t capacity)
      : chunk_count_((capacity + kChunk - 1) / kChunk + 1),
        records_(std::make_unique_for_overwrite<Slot[]>(chunk_count_ * kChunk)),
        chunk_of_(chunk_count_) {
    free_.reserve(chunk_count_);
    for (std::size_t chunk = chunk_count_; chunk > 0; --chunk) free_.push_back(chunk - 1);
  }

  [[nodiscard]] bool empty() const { return begin_ == end_; }
  [[nodiscard]] std::uint64_t begin() const { return begin_; }
  [[nodiscard]] std::uint64_t end() const { return end_; }
  [[nodiscard]] const FrameRecord& at(std::uint64_t position) const {
    ESC_ASSERT(position >= begin_);
    ESC_ASSERT(position < end_);
    return slot(position).record;
  }
  [[nodiscard]] const FrameRecord& front() const { return at(begin_); }
  [[nodiscard]] const FrameRecord& back() const { return at(end_ - 1); }

  void push_back(const FrameRecord& record) {
    if (end_ % kChunk == 0 || empty()) {
      ESC_ASSERT_MSG(!free_.empty(), "more frames than blocks on disk");
      chunk_of_[end_ / kChunk % chunk_count_] = free_.back();
      free_.pop_back();
    }
    slot(end_).record = record;
    ++end_;
  }
  // A frame with `first_index` or less is kept, perhaps for a part of its entries.
  void drop_from(Index first_index) {
    while (!empty() && back().first_index >= first_index) {
      --end_;
      if (end_ % kChunk == 0 || empty()) give_back(end_);
    }
  }
  // Frames of segments that left the log.
  void drop_through_generation(std::uint64_t generation) {
    while (!empty() && front().generation <= generation) {
      ++begin_;
      if (begin_ % kChunk == 0 || empty()) give_back(begin_ - 1);
    }
  }
  void clear() { drop_from(Index{0}); }

  // Position of the record whose frame holds `index`, if the log goes that far. Requires an index not below
  // the first one.
  [[nodiscard]] std::uint64_t find(Index index) const {
    ESC_ASSERT(!empty());
    ESC_ASSERT(front().first_index <= index);
    std::uint64_t low = begin_;
    std::uint64_t high = end_;
    while (high - low > 1) {
      const std::uint64_t middle = low + (high - low) / 2;
      (at(middle).first_index <= index ? low : high) = middle;
    }
    return low;
  }

 private:
  union Slot {  // not initialised: pages are touched when used
    Slot() {}
    FrameRecord record;
  };
  static constexpr std::size_t kChunk = 1024;

  [[nodiscard]] Slot& slot(std::uint64_t position) const {
    return records_[chunk_of_[position / kChunk % chunk_count_] * kChunk + position % kChunk];
  }
  void give_back(std::uint64_t position) { free_.push_back(chunk_of_[position / kChunk % chunk_count_]); }

  std::size_t chunk_count_;
  std::unique_ptr<Slot[]> records_;
  std::vector<std::size_t> chunk_of_;
  std::vector<std::size_t> free_;
  std::uint64_t begin_ = 0;
  std::uint64_t end_ = 0;
};

}  // namespace esc::wal
