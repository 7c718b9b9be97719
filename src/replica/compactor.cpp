#include "compactor.h"

#include "checkpointer.h"
#include "snapshot_source.h"

namespace esc::replica {
namespace {

constexpr std::size_t kLookedAtPerTurn = 16;
constexpr Nanos kRetryAfterNoSpace = 60 * kSecond;
constexpr Nanos kRetryAfterDamage = 3600 * kSecond;
constexpr Nanos kNever = INT64_MAX;

}  // namespace

bool Compactor::may_run() const {
  if (group_.shutting_down_ || group_.failed_ || group_.no_space_ || group_.fetch_ != nullptr) return false;
  return group_.source_ == nullptr || !group_.source_->serving();
}

std::uint32_t Compactor::do_work(Nanos now) {
  if (partition_ == nullptr) return may_run() ? look_around(now) : 0;
  if (!may_run() || partition_->deleted() || !partition_->compaction().has_value()) {
    partition_->log().cancel_compaction();
    return 0;
  }
  if (!paused_ || now < resume_at_) return 0;
  paused_ = false;
  partition_->log().continue_compaction();
  return 1;
}

Nanos Compactor::next_deadline() const {
  if (partition_ == nullptr) return may_run() ? next_look_ : kNever;
  return paused_ ? resume_at_ : kNever;
}

std::uint32_t Compactor::look_around(Nanos now) {
  if (now < next_look_) return 0;
  const WallMs wall_ms = group_.env_.clock.wall_ms();
  for (std::size_t i = 0; i < kLookedAtPerTurn; ++i) {
    if (cursor_ >= group_.partition_list_.size()) {
      cursor_ = 0;
      next_look_ = now + group_.options_.retention_interval;
      return 1;
    }
    Partition& partition = *group_.partition_list_[cursor_++];
    if (!due(partition, now, wall_ms)) continue;
    begin(partition);
    return 1;
  }
  return 1;
}

bool Compactor::due(const Partition& partition, Nanos now, WallMs wall_ms) {
  const auto& rules = partition.compaction();
  if (!rules.has_value() || now < partition.compact_after_) return false;
  const auto wait = after_checkpoint_.find(partition.id());
  if (wait != after_checkpoint_.end()) {
    if (group_.stats_.checkpoints < wait->second) return false;
    after_checkpoint_.erase(wait);
  }
  return partition.log().compaction_due(*rules, wall_ms);
}

void Compactor::begin(Partition& partition) {
  partition_ = &partition;
  started_ = group_.now_;
  paused_ = false;
  op_ = {};
  op_.rules = *partition.compaction();
  op_.now_ms = group_.env_.clock.wall_ms();
  op_.memory_bytes = group_.options_.compaction_memory_bytes;
  op_.hash_key[0] = group_.env_.prng.next();
  op_.hash_key[1] = group_.env_.prng.next();
  op_.context = this;
  op_.slice = [](store::CompactOp& op, std::uint64_t bytes) {
    static_cast<Compactor*>(op.context)->on_slice(bytes);
  };
  op_.done = [](store::CompactOp& op, Errc code) { static_cast<Compactor*>(op.context)->on_done(code); };
  partition.log().compact(op_);
}

void Compactor::on_slice(std::uint64_t bytes) {
  paused_ = true;
  resume_at_ = group_.env_.clock.now() + static_cast<Nanos>(bytes * static_cast<std::uint64_t>(kSecond) /
                                                            group_.options_.compaction_bytes_per_second);
}

void Compactor::on_done(Errc code) {
  Partition& partition = *std::exchange(partition_, nullptr);
  paused_ = false;
  const std::string name = partition.identity().topic + "-" + std::to_string(partition.identity().index);
  switch (code) {
    case Errc::ok: break;
    case Errc::closed: return;
    case Errc::busy:
      --cursor_;
      next_look_ = group_.now_ + kSecond;
      return;  // another group of this core
    case Errc::no_space: partition.compact_after_ = group_.now_ + kRetryAfterNoSpace; return;
    case Errc::corruption: group_.report_damage(partition.log().last_error()); [[fallthrough]];
    case Errc::unsupported:
      partition.compact_after_ = group_.now_ + kRetryAfterDamage;
      group_.log_.error("compaction_given_up", {{"partition", name},
                                                {"cause", partition.log().last_error()},
                                                {"effect", "the partition is not compacted, and grows"}});
      return;
    default:
      if (partition.deleted()) return;
      return group_.enter_failed("compacting partition " + name + " failed: " + partition.log().last_error() +
                                 "; check the device, then restart: nothing was replaced");
  }
  const store::CompactionResult& result = op_.result;
  CompactionStats& stats = group_.stats_.compaction;
  ++stats.passes;
  stats.segments += result.segments_before;
  stats.bytes_before += result.bytes_before;
  stats.bytes_after += result.bytes_after;
  stats.records_removed += result.records_removed;
  stats.nanos += static_cast<std::uint64_t>(group_.now_ - started_);
  // One that is being written may not say it yet.
  after_checkpoint_[partition.id()] = group_.stats_.checkpoints + (group_.checkpointer_->idle() ? 1 : 2);
  group_.files_changed_ = true;  // old files go when a checkpoint names the new ones
  group_.log_.info("compacted", {{"partition", name},
                                 {"segments", result.segments_before},
                                 {"now", result.segments_after},
                                 {"bytes", result.bytes_before},
                                 {"bytes_now", result.bytes_after},
                                 {"records_removed", result.records_removed},
                                 {"milliseconds", (group_.now_ - started_) / kMillisecond}});
}

}  // namespace esc::replica
