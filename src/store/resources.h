// The inside of Resources.
#pragma once

#include <memory>
#include <utility>

#include "esc/store/resources.h"
#include "file_cache.h"

namespace esc::store {

// Where a reader of a segment stopped: the batch that starts at `offset` is at `position`. A direct-
// mapped table; an entry is a hint that may be overwritten at any time, but is never wrong, since
// published bytes do not change and segment numbers are not reused.
class ReadPositions {
 public:
  explicit ReadPositions(std::uint32_t count);
  [[nodiscard]] bool find(std::uint64_t segment, Offset offset, std::uint64_t& position) const;
  void remember(std::uint64_t segment, Offset offset, std::uint64_t position);

 private:
  struct Slot {
    std::uint64_t segment = 0;  // 0: empty
    std::int64_t offset = 0;
    std::uint64_t position = 0;
  };
  [[nodiscard]] Slot& slot(std::uint64_t segment, Offset offset) const;
  std::unique_ptr<Slot[]> slots_;
  std::uint64_t mask_;
};

class CoreResources final : public Resources {
 public:
  CoreResources(io::Disk& disk, io::Files* files, const ResourceLimits& limits);
  [[nodiscard]] const ResourceStats& stats() const override { return stats_; }

  // A gather array for the append, or null: then `resume(op)` is called when its turn has come, with
  // op.pieces set.
  void (*resume)(AppendOp& op) = nullptr;
  [[nodiscard]] bool take_pieces(AppendOp& op);
  void return_pieces(AppendOp& op);  // resumes whose turn has come

  // One compaction at a time, for the memory it takes.
  [[nodiscard]] bool begin_compaction() { return !std::exchange(compacting_, true); }
  void end_compaction() { compacting_ = false; }
  [[nodiscard]] std::uint64_t next_segment_number() { return ++segment_number_; }
  [[nodiscard]] FileCache& files() { return cache_; }
  [[nodiscard]] ReadPositions& positions() { return positions_; }
  [[nodiscard]] ResourceStats& counters() { return stats_; }

 private:
  [[nodiscard]] bool give_pieces(AppendOp& op);

  ResourceStats stats_;
  FileCache cache_;
  ReadPositions positions_;
  std::unique_ptr<struct iovec[]> pieces_;
  std::unique_ptr<struct iovec*[]> free_pieces_;
  std::uint32_t free_count_ = 0;
  const std::uint64_t append_bytes_max_;
  std::uint64_t append_bytes_ = 0;  // in flight
  AppendOp* waiting_first_ = nullptr;
  AppendOp* waiting_last_ = nullptr;
  std::uint64_t segment_number_ = 0;
  bool compacting_ = false;
};

}  // namespace esc::store
