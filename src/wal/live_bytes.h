// How many bytes of entries the checkpoint has not released yet, from a bounded number of marks
// (last index, bytes written up to it). Rounds up: a mark counts until all of it is released.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "esc/base/ids.h"

namespace esc::wal {

class LiveBytes {
 public:
  // `step_bytes`: a mark covers at least this much.
  explicit LiveBytes(std::uint64_t step_bytes) : step_bytes_(step_bytes) {}

  void add(Index last_index, std::uint64_t bytes) {
    written_ += bytes;
    const bool extend = count_ > 0 && (count_ == kMarks || written_ - start_of_last_ < step_bytes_);
    if (!extend) {
      start_of_last_ = written_ - bytes;
      ++count_;
      last() = {.last_index = last_index, .written = written_};
      return;
    }
    last().last_index = std::max(last().last_index, last_index);
    last().written = written_;
  }
  void release_through(Index index) {
    while (count_ > 0 && marks_[first_].last_index <= index) {
      released_ = marks_[first_].written;
      first_ = (first_ + 1) % kMarks;
      --count_;
    }
  }
  // Entries from `first` on are superseded: their bytes leave with what is before them.
  void truncate(Index first) {
    for (std::size_t i = 0; i < count_; ++i) {
      Mark& mark = marks_[(first_ + i) % kMarks];
      mark.last_index = std::min(mark.last_index, first.prev());
    }
  }
  void clear() {
    released_ = written_;
    count_ = 0;
  }
  [[nodiscard]] std::uint64_t bytes() const { return written_ - released_; }

 private:
  struct Mark {
    Index last_index;
    std::uint64_t written = 0;
  };
  static constexpr std::size_t kMarks = 256;
  Mark& last() { return marks_[(first_ + count_ - 1) % kMarks]; }

  std::uint64_t step_bytes_;
  std::uint64_t written_ = 0;
  std::uint64_t released_ = 0;
  std::uint64_t start_of_last_ = 0;
  std::array<Mark, kMarks> marks_{};
  std::size_t first_ = 0;
  std::size_t count_ = 0;
};

}  // namespace esc::wal
