// Finds the duplicates in a batch that is about to be appended, and takes them out of it. Private to the
// group.
//
// An id counts as seen when a committed record within the window has it (the partition's Window), when a
// record that is appended and not committed has it (Pending: the duplicate then waits for that commit), or
// when an earlier record of the same batch has it.
//
// Threading: the group's core. Memory: buffers for the largest batch that had to be rewritten so far.
#pragma once

#include <memory>
#include <vector>

#include "esc/replica/partition.h"
#include "esc/wire/compression.h"
#include "esc/wire/record_batch.h"
#include "id_files.h"

namespace esc::replica {

// What is left of a batch.
struct Sifted {
  ByteView batch;                // without its duplicates; the given one when it has none
  std::uint32_t duplicates = 0;  // all of them: `batch` is empty
  Offset first_original{-1};     // of the first record, if that is a duplicate
  Offset newest_original{-1};    // of all duplicates
};

class Deduper {
 public:
  Deduper(io::Disk& disk, std::string directory) : files_(disk, std::move(directory)) {}

  // The ids of what is left become pending, from `next` on; take_back() when it cannot be appended after all.
  // busy: an id has to be looked up in a file, ask again later. io_error: that failed.
  [[nodiscard]] std::expected<Sifted, Errc> sift(Partition& partition, PartitionIds& ids, Offset next,
                                                 ByteView batch, const BatchIds& given, WallMs now);
  void take_back(PartitionIds& ids);
  // The ids of what is left, in order, none for records without one. Valid until the next sift().
  [[nodiscard]] std::span<const dedup::Id> kept() const { return kept_; }

  [[nodiscard]] IdFiles& files() { return files_; }
  [[nodiscard]] const IdFiles& files() const { return files_; }

 private:
  [[nodiscard]] std::expected<bool, Errc> find_committed(PartitionId partition, const PartitionIds& ids,
                                                         const BatchIds& given, WallMs now, Sifted& sifted);
  void find_pending(PartitionIds& ids, Offset next, const BatchIds& given, Sifted& sifted);
  [[nodiscard]] std::expected<ByteView, Errc> rewrite(ByteView batch, std::size_t records);

  IdFiles files_;
  std::unique_ptr<bool[]> drop_;
  std::size_t drop_size_ = 0;
  std::vector<dedup::Id> kept_;
  wire::PlainRecords records_;  // buffers of rewrite()
  std::vector<std::byte> plain_;
  std::vector<std::byte> out_;
};

}  // namespace esc::replica
