// The log as the core sees it: which term each index has, stored as runs, and nothing else.
// A log of a billion entries written by three leaders is three runs.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "esc/base/ids.h"
#include "esc/raft/config.h"

namespace esc::raft {

class TermRuns {
 public:
  TermRuns(Index snapshot_index, Term snapshot_term, std::span<const TermRun> runs, Index last_index);

  [[nodiscard]] Index snapshot_index() const { return snapshot_index_; }
  [[nodiscard]] Term snapshot_term() const { return snapshot_term_; }
  [[nodiscard]] Index last_index() const { return last_index_; }
  [[nodiscard]] Term last_term() const { return runs_.empty() ? snapshot_term_ : runs_.back().term; }
  [[nodiscard]] std::span<const TermRun> runs() const { return runs_; }

  // The term at `index`; 0 below the snapshot or above the end.
  [[nodiscard]] Term term_at(Index index) const;
  [[nodiscard]] bool matches(Index index, Term term) const {
    return index <= last_index_ && index >= snapshot_index_ && term_at(index) == term;
  }
  // The last index of the run that contains `index` (in the log).
  [[nodiscard]] Index run_end(Index index) const;
  // The largest index at or below `index` whose term is at most `term`; snapshot_index - 1 at the least,
  // and `index` itself where it is below the snapshot (its term is unknown).
  // Both sides of a conflict use it, so one round trip skips whole terms (Raft section 5.3).
  [[nodiscard]] Index last_at_or_below(Index index, Term term) const;

  // Appends entries up to `last`, all of `term` (never below the last term).
  void append(Index last, Term term);
  // Discards everything at and above `from`.
  void truncate(Index from);
  // Forgets everything at and below `index`, which is in the log.
  void compact(Index index);
  // An empty log after a snapshot.
  void reset(Index snapshot_index, Term snapshot_term);

 private:
  [[nodiscard]] std::size_t run_of(Index index) const;

  Index snapshot_index_;
  Term snapshot_term_;
  Index last_index_;
  std::vector<TermRun> runs_;  // grows by one per leader change, shrinks by compaction
};

}  // namespace esc::raft
