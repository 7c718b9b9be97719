#include "esc/raft/log_sizes.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::raft {

LogSizes::LogSizes(Index last, std::uint64_t entry_bytes_estimate)
    : entry_bytes_estimate_(std::max<std::uint64_t>(entry_bytes_estimate, 1)) {
  reset(last);
}

void LogSizes::reset(Index last) {
  oldest_ = tail_ = committed_slot_ = 0;
  total_ = committed_total_ = 0;
  push({last, 0});
}

void LogSizes::push(Proposal proposal) {
  ring_[tail_ % kCapacity] = proposal;
  ++tail_;
  if (tail_ - oldest_ > kCapacity) oldest_ = tail_ - kCapacity;
  if (committed_slot_ < oldest_) {  // a follower far ahead of its commit index: the figure becomes a bound
    committed_slot_ = oldest_;
    committed_total_ = slot(oldest_).total;
  }
}

void LogSizes::append(Index last, std::uint64_t bytes) {
  ESC_ASSERT(last > slot(tail_ - 1).last);
  total_ += bytes;
  push({last, total_});
}

void LogSizes::truncate(Index from) {
  while (tail_ > oldest_ && slot(tail_ - 1).last >= from) --tail_;
  if (tail_ == oldest_) return reset(from.prev());
  total_ = slot(tail_ - 1).total;
  committed_slot_ = std::min(committed_slot_, tail_ - 1);
  committed_total_ = std::min(committed_total_, total_);
  const std::uint64_t rest = from.prev() - slot(tail_ - 1).last;  // the kept part of a cut proposal
  if (rest > 0) append(from.prev(), rest * entry_bytes_estimate_);
}

void LogSizes::commit(Index index) {
  while (committed_slot_ + 1 < tail_ && slot(committed_slot_ + 1).last <= index) ++committed_slot_;
  committed_total_ = slot(committed_slot_).total;
}

LogSizes::Range LogSizes::take(Index prev, Index last, std::uint64_t bytes_max,
                               std::uint32_t entries_max) const {
  ESC_ASSERT(last > prev);
  if (prev < slot(oldest_).last) {  // forgotten: estimate, and stop where the known part begins
    const std::uint64_t wanted = std::min(last, slot(oldest_).last) - prev;
    const std::uint64_t fit = std::max<std::uint64_t>(bytes_max / entry_bytes_estimate_, 1);
    const std::uint64_t count = std::min({wanted, fit, std::max<std::uint64_t>(entries_max, 1)});
    return {prev + count, count * entry_bytes_estimate_};
  }
  // The first proposal that ends after prev; the newest ones are asked for most, so search from there.
  std::uint64_t first = tail_ - 1;
  if (first > oldest_ && slot(first - 1).last > prev) {
    std::uint64_t low = oldest_;  // slot(low).last <= prev < slot(first).last
    while (first - low > 1) {
      const std::uint64_t middle = low + (first - low) / 2;
      (slot(middle).last > prev ? first : low) = middle;
    }
  }
  ESC_ASSERT(slot(first).last > prev);
  const Proposal& before = slot(first - 1);
  const std::uint64_t entries = slot(first).last - before.last;
  const std::uint64_t base =
      before.total + (slot(first).total - before.total) * (prev - before.last) / entries;
  if (slot(first).last > last) {
    return {last, (slot(first).total - before.total) * (last - prev) / entries};
  }
  std::uint64_t end = first;
  while (end + 1 < tail_ && slot(end + 1).last <= last && slot(end + 1).total - base <= bytes_max &&
         slot(end + 1).last - prev <= entries_max) {
    ++end;
  }
  return {slot(end).last, slot(end).total - base};
}

}  // namespace esc::raft
