// Bytes of recent log entries, by proposal: for the limits in bytes and so that messages end where
// proposals (WAL frames) end. A fixed ring; what it has forgotten is estimated.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "esc/base/ids.h"

namespace esc::raft {

class LogSizes {
 public:
  static constexpr std::size_t kCapacity = 4096;

  LogSizes(Index last, std::uint64_t entry_bytes_estimate);

  // The entries after the last known one up to `last` together have `bytes`.
  void append(Index last, std::uint64_t bytes);
  void truncate(Index from);
  void reset(Index last);

  struct Range {
    Index last;
    std::uint64_t bytes = 0;
  };
  // The longest range after `prev` that ends at `last` or at a proposal's end before it and has at most
  // `bytes_max` and `entries_max`; at least one proposal, even if that alone is larger.
  [[nodiscard]] Range take(Index prev, Index last, std::uint64_t bytes_max, std::uint32_t entries_max) const;

  // Bytes of the entries in (committed, last]; commit only moves forward between truncations.
  [[nodiscard]] std::uint64_t uncommitted_bytes() const { return total_ - committed_total_; }
  // Whether another append would overwrite an uncommitted proposal.
  [[nodiscard]] bool full_of_uncommitted() const { return tail_ - committed_slot_ >= kCapacity - 1; }
  void commit(Index index);

 private:
  struct Proposal {
    Index last;
    std::uint64_t total = 0;  // bytes of all entries ever appended up to here
  };
  [[nodiscard]] const Proposal& slot(std::uint64_t n) const { return ring_[n % kCapacity]; }
  void push(Proposal proposal);

  std::uint64_t entry_bytes_estimate_;
  std::uint64_t oldest_ = 0;          // number of the oldest slot still there
  std::uint64_t tail_ = 0;            // number of the next slot; the ring always holds at least one
  std::uint64_t committed_slot_ = 0;  // the newest proposal that is wholly committed
  std::uint64_t total_ = 0;
  std::uint64_t committed_total_ = 0;
  std::array<Proposal, kCapacity> ring_;
};

}  // namespace esc::raft
