// Ids of records that a leader has appended and that are not committed yet, by id. What is committed moves
// into the Window on every replica; what a leader had appended when it lost its leadership is forgotten.
//
// Threading: one core. Memory: 24 bytes per cell, at most half of the cells taken; grows to what was ever
// under way at once.
#pragma once

#include <optional>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/prefetch.h"
#include "esc/dedup/id.h"

namespace esc::dedup {

class Pending {
 public:
  [[nodiscard]] bool empty() const { return used_ == 0; }
  [[nodiscard]] std::size_t size() const { return used_; }
  void prefetch(Id id) const {
    if (!cells_.empty()) esc::prefetch(&cells_[home(id.low)]);
  }
  [[nodiscard]] std::optional<Offset> find(Id id) const;
  // The offset of the record that holds the id already, or nothing: then it is the new one's.
  std::optional<Offset> insert(Id id, Offset offset) { return insert(id.high, id.low, offset); }
  void erase(Id id);
  void clear();

 private:
  struct Cell {
    Id id;  // none(): free
    Offset offset;
  };

  std::optional<Offset> insert(std::uint64_t high, std::uint64_t low, Offset offset);
  [[nodiscard]] std::size_t home(std::uint64_t low) const { return low & (cells_.size() - 1); }
  void grow();

  std::vector<Cell> cells_;
  std::size_t used_ = 0;
};

}  // namespace esc::dedup
