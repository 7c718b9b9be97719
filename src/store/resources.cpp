#include "resources.h"

#include <bit>

#include "esc/base/assert.h"

namespace esc::store {

ReadPositions::ReadPositions(std::uint32_t count)
    : slots_(std::make_unique<Slot[]>(count)), mask_(count - 1) {
  ESC_ASSERT(std::has_single_bit(count));
}

ReadPositions::Slot& ReadPositions::slot(std::uint64_t segment, Offset offset) const {
  std::uint64_t hash = (segment * 0x9e3779b97f4a7c15ULL) ^ static_cast<std::uint64_t>(offset.value());
  hash *= 0xd1342543de82ef95ULL;
  return slots_[(hash >> 32) & mask_];
}

bool ReadPositions::find(std::uint64_t segment, Offset offset, std::uint64_t& position) const {
  const Slot& found = slot(segment, offset);
  if (found.segment != segment || found.offset != offset.value()) return false;
  position = found.position;
  return true;
}

void ReadPositions::remember(std::uint64_t segment, Offset offset, std::uint64_t position) {
  slot(segment, offset) = {segment, offset.value(), position};
}

CoreResources::CoreResources(io::Disk& disk, io::Files* files, const ResourceLimits& limits)
    : cache_(disk, files, limits, stats_),
      positions_(limits.read_positions),
      pieces_(std::make_unique_for_overwrite<struct iovec[]>(std::size_t{limits.appends_max} *
                                                             kAppendBatchesMax)),
      free_pieces_(std::make_unique<struct iovec*[]>(limits.appends_max)),
      append_bytes_max_(limits.append_bytes_max) {
  ESC_ASSERT(limits.appends_max > 0 && limits.append_bytes_max > 0);
  for (std::uint32_t i = 0; i < limits.appends_max; ++i) {
    free_pieces_[free_count_++] = &pieces_[std::size_t{i} * kAppendBatchesMax];
  }
}

// False: all are in use, or what is in flight is enough.
bool CoreResources::give_pieces(AppendOp& op) {
  if (free_count_ == 0) return false;
  std::uint64_t bytes = 0;
  for (const BatchRef& batch : op.batches) bytes += batch.bytes.size();
  if (append_bytes_ > 0 && append_bytes_ + bytes > append_bytes_max_) return false;
  op.pieces = free_pieces_[--free_count_];
  op.piece_bytes = bytes;
  append_bytes_ += bytes;
  return true;
}

bool CoreResources::take_pieces(AppendOp& op) {
  if (waiting_first_ == nullptr && give_pieces(op)) return true;
  ++stats_.appends_waited;
  op.next = nullptr;
  (waiting_last_ == nullptr ? waiting_first_ : waiting_last_->next) = &op;
  waiting_last_ = &op;
  return false;
}

void CoreResources::return_pieces(AppendOp& op) {
  free_pieces_[free_count_++] = std::exchange(op.pieces, nullptr);
  append_bytes_ -= op.piece_bytes;
  while (waiting_first_ != nullptr && give_pieces(*waiting_first_)) {
    AppendOp& next = *waiting_first_;
    waiting_first_ = std::exchange(next.next, nullptr);
    if (waiting_first_ == nullptr) waiting_last_ = nullptr;
    resume(next);
  }
}

std::unique_ptr<Resources> Resources::create(io::Disk& disk, io::Files* files, const ResourceLimits& limits) {
  return std::make_unique<CoreResources>(disk, files, limits);
}

}  // namespace esc::store
