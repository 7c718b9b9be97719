// Lazy writing of committed batches to the partitions' segment files.
#include <algorithm>

#include "apply_op.h"
#include "checkpointer.h"
#include "esc/replica/group.h"

namespace esc::replica {
namespace {

// Many partitions share a group: the longer a partition's batches wait, the fewer and larger its writes.
constexpr Nanos kApplyAfter = kSecond;
constexpr std::uint64_t kApplyShare = 3;   // of the ring, before writing begins
constexpr std::uint64_t kHurryShare = 2;   // of the ring, before it becomes as fast as the disk takes it
constexpr std::int64_t kApplyPerByte = 3;  // until then: written per byte that comes in
constexpr Nanos kRetryAfterNoSpace = 250 * kMillisecond;
constexpr std::uint64_t kBytesPerWrite = 1 * kMiB;

}  // namespace

std::uint32_t Group::write_segments(Nanos now) {
  if (dirty_.empty() && apply_in_flight_ == 0) no_space_ = false;  // what did not fit has been deleted
  if (dirty_.empty() || now < retry_apply_at_) return 0;
  // The ring is full of applied frames most of the time (it is the tail cache): only what is not applied
  // counts.
  const bool hurry = now - unapplied_since_ >= kApplyAfter || shutting_down_ || replaying_ ||
                     checkpointer_->wants_all_applied() || ring_.unapplied_exceeds(kHurryShare);
  if (!hurry && !ring_.unapplied_exceeds(kApplyShare)) {
    apply_credit_ = std::min<std::int64_t>(apply_credit_, 0);
    return 0;
  }
  std::uint32_t work = 0;
  // One pass over the list at most: partitions with a write in progress go to the back.
  Partition* first_requeued = nullptr;
  while (!dirty_.empty() && !apply_free_.empty() && now >= retry_apply_at_) {
    if (!hurry && apply_credit_ <= 0) break;
    Partition& partition = dirty_.front();
    if (&partition == first_requeued) break;
    dirty_.pop_front();
    if (partition.log_->append_in_progress()) {
      dirty_.push_back(partition);
      if (first_requeued == nullptr) first_requeued = &partition;
      continue;
    }
    ApplyOp& op = *apply_free_.back();
    apply_free_.pop_back();
    start_segment_write(partition, op);
    ++work;
  }
  unapplied_since_ = now;
  return work;
}

// All at once would be a burst of a third of the ring, and every durable write of these milliseconds would
// wait behind it: what comes in pays for what is written.
void Group::note_unapplied(std::uint64_t bytes) {
  if (unapplied_bytes_ == 0) unapplied_since_ = now_;
  unapplied_bytes_ += bytes;
  apply_credit_ =
      std::clamp(apply_credit_ + kApplyPerByte * static_cast<std::int64_t>(bytes),
                 -static_cast<std::int64_t>(kBytesPerWrite), static_cast<std::int64_t>(kBytesPerWrite));
}

void Group::start_segment_write(Partition& partition, ApplyOp& op) {
  op.partition = &partition;
  op.count = 0;
  op.bytes = 0;
  std::uint64_t at = partition.next_to_write_;
  while (at != kNoEntry && at < commit_sequence_ && op.count < ApplyOp::kBatchesMax &&
         op.bytes < kBytesPerWrite) {
    const EntryRecord& record = ring_.entry(at);
    op.batches[op.count] = {ByteView(record.body, record.body_bytes), record.base_offset, record.last_offset,
                            record.max_timestamp};
    op.sequences[op.count++] = at;
    op.bytes += record.body_bytes;
    at = record.newer;
  }
  ESC_ASSERT(op.count > 0);
  partition.next_to_write_ = at;
  ++apply_in_flight_;
  apply_credit_ -= static_cast<std::int64_t>(op.bytes);
  ++stats_.segment_writes;
  op.append.batches = std::span(op.batches.data(), op.count);
  op.append.context = &op;
  op.append.done = &Group::on_segment_written;
  partition.log_->append(op.append);
}

void Group::on_segment_written(store::AppendOp& append, Errc code) {
  auto& op = *static_cast<ApplyOp*>(append.context);
  op.group->finish_segment_write(op, code);
}

void Group::finish_segment_write(ApplyOp& op, Errc code) {
  Partition& partition = *op.partition;
  --apply_in_flight_;
  apply_free_.push_back(&op);
  if (code != Errc::ok && code != Errc::no_space && !partition.deleted_) {
    enter_failed("writing a segment of partition " + partition.identity_.topic + "-" +
                 std::to_string(partition.identity_.index) + " failed: " + partition.log_->last_error() +
                 "; check the device, then restart: the write-ahead log still has everything acknowledged");
    return;
  }
  if (code == Errc::no_space && !partition.deleted_) {
    partition.next_to_write_ = op.sequences[0];
    retry_apply_at_ = now_ + kRetryAfterNoSpace;
    if (!no_space_) {
      no_space_ = true;
      log_.warn("disk_full",
                {{"group", options_.id},
                 {"directory", options_.data_directory},
                 {"effect", "producers are refused with a retriable error until space returns"}});
    }
  } else {
    for (std::size_t i = 0; i < op.count; ++i) ring_.mark_applied(op.sequences[i]);
    if (no_space_ && code == Errc::ok) {
      no_space_ = false;
      log_.info("disk_full_over", {{"group", options_.id}, {"directory", options_.data_directory}});
    }
    if (!partition.deleted_) {
      partition.bytes_to_write_ -= op.bytes;
      unapplied_bytes_ -= op.bytes;
    }
  }
  if (partition.deleted_) return;
  move_log_start(partition);
  if (partition.bytes_to_write_ > 0 && !partition.ListNode<Partition>::linked()) dirty_.push_back(partition);
}

}  // namespace esc::replica
