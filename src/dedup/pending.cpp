#include "esc/dedup/pending.h"

namespace esc::dedup {
namespace {

constexpr std::size_t kCellsFirst = 256;

}  // namespace

std::optional<Offset> Pending::find(Id id) const {
  if (used_ == 0) return std::nullopt;
  const std::size_t mask = cells_.size() - 1;
  for (std::size_t at = home(id.low); !cells_[at].id.none(); at = (at + 1) & mask) {
    if (cells_[at].id == id) return cells_[at].offset;
  }
  return std::nullopt;
}

// Two numbers, and not inlined: see Generation::append().
[[gnu::noinline]] std::optional<Offset> Pending::insert(std::uint64_t high, std::uint64_t low,
                                                        Offset offset) {
  if ((used_ + 1) * 2 > cells_.size()) grow();
  const std::size_t mask = cells_.size() - 1;
  std::size_t at = home(low);
  for (; !cells_[at].id.none(); at = (at + 1) & mask) {
    if (cells_[at].id.low == low && cells_[at].id.high == high) return cells_[at].offset;
  }
  cells_[at] = {{high, low}, offset};
  ++used_;
  return std::nullopt;
}

// The cells behind a gap move up as far as their homes allow (Knuth, TAOCP 3, 6.4, algorithm R).
void Pending::erase(Id id) {
  if (used_ == 0) return;
  const std::size_t mask = cells_.size() - 1;
  std::size_t gap = home(id.low);
  while (cells_[gap].id != id) {
    if (cells_[gap].id.none()) return;
    gap = (gap + 1) & mask;
  }
  for (std::size_t at = (gap + 1) & mask; !cells_[at].id.none(); at = (at + 1) & mask) {
    const std::size_t distance = (at - home(cells_[at].id.low)) & mask;
    if (distance < ((at - gap) & mask)) continue;
    cells_[gap] = cells_[at];
    gap = at;
  }
  cells_[gap] = {};
  --used_;
}

void Pending::clear() {
  cells_.assign(cells_.size(), {});
  used_ = 0;
}

void Pending::grow() {
  std::vector<Cell> old(cells_.empty() ? kCellsFirst : cells_.size() * 2);
  old.swap(cells_);
  used_ = 0;
  for (const Cell& cell : old) {
    if (!cell.id.none()) static_cast<void>(insert(cell.id, cell.offset));
  }
}

}  // namespace esc::dedup
