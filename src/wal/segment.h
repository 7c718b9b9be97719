// What the log knows about one segment file, and the bounded queue that holds such records.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "esc/base/assert.h"
#include "esc/base/ids.h"
#include "esc/io/disk.h"
#include "esc/logfmt/frame.h"

namespace esc::wal {

struct Segment {
  std::uint64_t number = 0;      // in the file's name
  std::uint64_t generation = 0;  // in its header and in every frame of its present life
  std::uint64_t bytes = 0;       // size of the file
  std::uint64_t used_bytes = logfmt::kSegmentHeaderBytes;
  io::FileHandle file{};
  Lsn last_lsn{};             // of its last frame
  Index last_index_max{};     // highest index of any entry in it that is not superseded
  std::uint32_t readers = 0;  // reads in flight: it must not be recycled
  [[nodiscard]] std::uint64_t room() const { return bytes - used_bytes; }
};

// First in, first out, never more than its capacity, no allocation after construction.
class SegmentQueue {
 public:
  explicit SegmentQueue(std::size_t capacity) : slots_(capacity) {}
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  Segment& front() { return at(0); }
  Segment& back() { return at(size_ - 1); }
  Segment* find(std::uint64_t generation) {
    for (std::size_t i = 0; i < size_; ++i)
      if (at(i).generation == generation) return &at(i);
    return nullptr;
  }
  [[nodiscard]] const Segment& front() const { return const_cast<SegmentQueue*>(this)->at(0); }
  [[nodiscard]] const Segment& back() const { return const_cast<SegmentQueue*>(this)->at(size_ - 1); }
  void push_back(const Segment& segment) {
    ESC_ASSERT(size_ < slots_.size());
    ++size_;
    at(size_ - 1) = segment;
  }
  Segment pop_front() {
    Segment segment = front();
    first_ = (first_ + 1) % slots_.size();
    --size_;
    return segment;
  }
  Segment pop_back() {
    Segment segment = back();
    --size_;
    return segment;
  }
  template <class F>
  void for_each(F&& f) {
    for (std::size_t i = 0; i < size_; ++i) f(at(i));
  }

 private:
  Segment& at(std::size_t i) {
    ESC_ASSERT(i < size_);
    return slots_[(first_ + i) % slots_.size()];
  }
  std::vector<Segment> slots_;
  std::size_t first_ = 0;
  std::size_t size_ = 0;
};

}  // namespace esc::wal
