#include "esc/raft/term_runs.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::raft {
namespace {

constexpr std::size_t kRunsReserved = 64;

}  // namespace

TermRuns::TermRuns(Index snapshot_index, Term snapshot_term, std::span<const TermRun> runs, Index last_index)
    : snapshot_index_(snapshot_index), snapshot_term_(snapshot_term), last_index_(last_index) {
  runs_.reserve(std::max(kRunsReserved, 2 * runs.size()));
  ESC_ASSERT(runs.empty() == (last_index == snapshot_index));
  ESC_ASSERT(runs.empty() || runs.front().start == snapshot_index.next());
  Term previous = snapshot_term;
  for (const TermRun& run : runs) {
    // Adjacent runs of equal term are one run; terms never fall along the log.
    ESC_ASSERT(run.term >= previous);
    ESC_ASSERT(run.start <= last_index);
    if (runs_.empty() || run.term > runs_.back().term) {
      ESC_ASSERT(runs_.empty() || run.start > runs_.back().start);
      runs_.push_back(run);
    }
    previous = run.term;
  }
}

std::size_t TermRuns::run_of(Index index) const {
  ESC_ASSERT(index > snapshot_index_);
  ESC_ASSERT(index <= last_index_);
  if (index >= runs_.back().start) return runs_.size() - 1;
  const auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                      [](Index i, const TermRun& run) { return i < run.start; });
  return static_cast<std::size_t>(after - runs_.begin()) - 1;
}

Term TermRuns::term_at(Index index) const {
  if (index == snapshot_index_) return snapshot_term_;
  if (index < snapshot_index_ || index > last_index_) return Term(0);
  return runs_[run_of(index)].term;
}

Index TermRuns::run_end(Index index) const {
  const std::size_t run = run_of(index);
  return run + 1 == runs_.size() ? last_index_ : runs_[run + 1].start.prev();
}

Index TermRuns::last_at_or_below(Index index, Term term) const {
  index = std::min(index, last_index_);
  while (index > snapshot_index_) {
    const TermRun& run = runs_[run_of(index)];
    if (run.term <= term) return index;
    index = run.start.prev();
  }
  if (index < snapshot_index_ || snapshot_term_ <= term || index == Index(0)) return index;
  return index.prev();
}

void TermRuns::append(Index last, Term term) {
  ESC_ASSERT(last > last_index_);
  ESC_ASSERT(term >= last_term());
  if (runs_.empty() || runs_.back().term != term) runs_.push_back({last_index_.next(), term});
  last_index_ = last;
}

void TermRuns::truncate(Index from) {
  ESC_ASSERT(from > snapshot_index_);
  if (from > last_index_) return;
  while (!runs_.empty() && runs_.back().start >= from) runs_.pop_back();
  last_index_ = from.prev();
}

void TermRuns::compact(Index index) {
  if (index <= snapshot_index_) return;
  snapshot_term_ = term_at(index);
  ESC_ASSERT(snapshot_term_ != Term(0));
  if (index == last_index_) {
    runs_.clear();
  } else {
    const std::size_t first = run_of(index.next());
    runs_.erase(runs_.begin(), runs_.begin() + static_cast<std::ptrdiff_t>(first));
    runs_.front().start = index.next();
  }
  snapshot_index_ = index;
}

void TermRuns::reset(Index snapshot_index, Term snapshot_term) {
  runs_.clear();
  snapshot_index_ = snapshot_index;
  last_index_ = snapshot_index;
  snapshot_term_ = snapshot_term;
}

}  // namespace esc::raft
