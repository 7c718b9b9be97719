#include "checkpointer.h"

#include <algorithm>

#include "deduper.h"
#include "membership.h"
#include "snapshot_fetch.h"

namespace esc::replica {
namespace {

constexpr Nanos kRetryAfter = kSecond;

const char* doing(FileSaver::Step step) {
  switch (step) {
    case FileSaver::Step::open: return "creating the checkpoint file";
    case FileSaver::Step::write:
    case FileSaver::Step::truncate:
    case FileSaver::Step::sync:
    case FileSaver::Step::close: return "writing the checkpoint file";
    case FileSaver::Step::rename: return "renaming the checkpoint file";
    case FileSaver::Step::sync_directory: return "syncing the checkpoint's directory";
  }
  ESC_UNREACHABLE("step");
}

}  // namespace

Checkpointer::Checkpointer(Group& group) : group_(group), saver_(group.env_.disk) {}

std::string Checkpointer::path(const GroupOptions& options) {
  return options.data_directory + "/" + std::string(kFileName);
}

void Checkpointer::recovered(Index applied, Nanos now) {
  group_.checkpointed_ = applied;
  last_ = now;
}

// Committed may be more than durable here (a majority of others has it); the WAL must not be recycled beyond
// what it has itself.
Index Checkpointer::target() const {
  if (group_.options_.replica_plant == Plant::checkpoint_past_durable) return group_.commit_;
  return std::min(group_.commit_, group_.core_->durable_index());
}

bool Checkpointer::due(Nanos now) const {
  if (group_.fetch_ != nullptr && group_.fetch_->holds_state()) return false;
  if (now < retry_at_ || group_.replaying_ || target() < group_.checkpointed_) return false;
  if (target() == group_.checkpointed_ && !group_.files_changed_) return false;
  if (group_.shutting_down_) return !group_.ring_.has_queued() && group_.wal_->in_flight() == 0;
  const bool voided = group_.membership_ != nullptr && group_.checkpointed_ < group_.membership_->voided() &&
                      target() >= group_.membership_->voided();
  return voided || now - last_ >= group_.options_.checkpoint_interval ||
         group_.bytes_since_checkpoint_ >= group_.options_.checkpoint_bytes ||
         group_.wal_->space() == wal::Space::low;
}

std::uint32_t Checkpointer::do_work(Nanos now) {
  switch (phase_) {
    case Phase::idle:
      if (!due(now)) return 0;
      begin(now);
      return 1;
    case Phase::draining:
      if (!drained()) return 0;
      phase_ = Phase::syncing;
      cursor_ = 0;
      checkpoint_.partitions.resize(group_.partition_list_.size());
      return sync_some();
    case Phase::syncing:
      if (error_ != Errc::ok) {
        if (syncs_in_flight_ == 0) give_up(error_, "syncing segment files");
        return 0;
      }
      return sync_some();
    case Phase::file: return 0;
  }
  ESC_UNREACHABLE("phase");
}

void Checkpointer::begin(Nanos now) {
  phase_ = Phase::draining;
  started_ = now;
  error_ = Errc::ok;
  target_ = target();
  target_term_ = group_.core_->log().term_at(target_);
  group_.bytes_since_checkpoint_ = 0;
  group_.files_changed_ = false;
}

void Checkpointer::install(Index index, Term term, const raft::Configuration& configuration) {
  ESC_ASSERT(idle());
  phase_ = Phase::syncing;
  installing_ = true;
  started_ = group_.now_;
  error_ = Errc::ok;
  target_ = index;
  target_term_ = term;
  checkpoint_.configuration = configuration;
  cursor_ = 0;
  checkpoint_.partitions.resize(group_.partition_list_.size());
  sync_some();
}

// The oldest entry that is not applied lies above the target.
bool Checkpointer::drained() {
  drain_cursor_ = std::max(drain_cursor_, group_.ring_.entry_front());
  for (; drain_cursor_ < group_.commit_sequence_; ++drain_cursor_) {
    const EntryRecord& record = group_.ring_.entry(drain_cursor_);
    if (record.applied) continue;  // also what was superseded, whose index says nothing
    return record.index > target_;
  }
  return true;
}

// Partitions created meanwhile come later in the list and have nothing below the target.
std::uint32_t Checkpointer::sync_some() {
  std::uint32_t work = 0;
  for (Sync& sync : syncs_) {
    if (sync.busy) continue;
    if (cursor_ >= group_.partition_list_.size() || cursor_ >= checkpoint_.partitions.size()) break;
    Partition& partition = *group_.partition_list_[cursor_];
    CheckpointPartition& record = checkpoint_.partitions[cursor_++];
    record.identity = partition.identity();
    record.state.segments.clear();
    partition.log().snapshot(record.state);
    // What the files go on with. Commands behind that are behind `target_`, too, and will be replayed.
    record.identity.set_rolling(partition.log().rolling());
    if (group_.options_.replica_plant == Plant::checkpoint_without_sync) continue;
    sync.busy = true;
    sync.owner = this;
    sync.op.context = &sync;
    sync.op.done = [](store::SyncOp& op, Errc code) {
      auto& finished = *static_cast<Sync*>(op.context);
      finished.busy = false;
      finished.owner->on_synced(code);
    };
    ++syncs_in_flight_;
    partition.log().sync(sync.op);
    ++work;
  }
  if (syncs_in_flight_ == 0 && cursor_ >= checkpoint_.partitions.size()) start_file();
  return work;
}

void Checkpointer::on_synced(Errc code) {
  --syncs_in_flight_;
  if (code != Errc::ok && code != Errc::not_found && error_ == Errc::ok) error_ = code;
}

void Checkpointer::start_file() {
  phase_ = Phase::file;
  checkpoint_.group = group_.options_.id;
  checkpoint_.applied = target_;
  checkpoint_.applied_term = target_term_;
  // Deleted partitions have left the list while we were syncing: forget their records.
  std::erase_if(checkpoint_.partitions, [this](const CheckpointPartition& record) {
    return group_.find(record.identity.id) == nullptr;
  });
  checkpoint_.installed = installing_;
  checkpoint_.partition_max = installing_ ? group_.partition_max_ : group_.partition_max_at(target_);
  const std::vector<ForgottenIds> forgotten = group_.collect_ids();
  forgotten_.insert(forgotten_.end(), forgotten.begin(), forgotten.end());
  checkpoint_.producer_ids = group_.producer_ids_;
  for (CheckpointPartition& record : checkpoint_.partitions)
    group_.save_memory(*group_.find(record.identity.id), record);
  if (!installing_) checkpoint_.configuration = group_.core_->configurations().in_force_at(target_);
  checkpoint_.metadata.clear();
  group_.listener_.save_metadata(group_.options_.id, checkpoint_.metadata);
  saver_.contents().clear();
  encode_checkpoint(checkpoint_, saver_.contents());
  // The ids come first: the checkpoint says how many of them there are.
  group_.deduper_->files().write(
      [](void* context, Errc code) {
        auto& self = *static_cast<Checkpointer*>(context);
        if (code != Errc::ok) return self.give_up(code, "writing event ids");
        self.write_file();
      },
      this);
}

void Checkpointer::write_file() {
  group_.drop_flushed_ids();
  saver_.save(
      group_.options_.data_directory, kFileName,
      [](void* context, Errc code) {
        auto& self = *static_cast<Checkpointer*>(context);
        if (code != Errc::ok) return self.give_up(code, doing(self.saver_.step()));
        self.finish();
      },
      this);
}

// A full disk is waited for. Any other failed write or sync is never retried: the kernel may have dropped
// the dirty pages, and only the WAL still has the bytes.
void Checkpointer::give_up(Errc code, const char* what) {
  phase_ = Phase::idle;
  installing_ = false;
  if (code == Errc::no_space) {
    if (group_.fetch_ != nullptr) group_.fetch_->checkpoint_failed();
    retry_at_ = group_.now_ + kRetryAfter;
    group_.files_changed_ = true;
    group_.log_.warn("checkpoint_delayed", {{"group", group_.options_.id}, {"while", what}, {"cause", code}});
    return;
  }
  group_.enter_failed(std::string("checkpoint in ") + group_.options_.data_directory + ": " + what +
                      " failed (" + std::string(to_string(code)) +
                      "); check the device, then restart: the write-ahead log is replayed");
}

void Checkpointer::finish() {
  phase_ = Phase::idle;
  std::erase_if(group_.creations_, [this](const auto& creation) { return creation.first <= target_; });
  if (target_ != group_.checkpointed_) group_.checkpointed_before_ = group_.checkpointed_;
  group_.checkpointed_ = target_;
  group_.checkpointed_partition_max_ = checkpoint_.partition_max;
  for (const ForgottenIds& ids : forgotten_) group_.deduper_->files().remove(ids.partition, ids.generation);
  forgotten_.clear();
  last_ = group_.now_;
  ++group_.stats_.checkpoints;
  group_.stats_.last_checkpoint_duration = group_.now_ - started_;
  if (installing_) {
    installing_ = false;
    group_.checkpointed_before_ = target_;
    group_.creations_.clear();
    for (Partition* partition : group_.partition_list_) partition->log().release_removed();
    return group_.snapshot_installed();
  }
  Index released = group_.releasable();
  const Index voided = group_.membership_ != nullptr ? group_.membership_->voided() : Index(0);
  if (target_ >= voided) released = std::max(released, voided);
  group_.wal_->release_through(released);
  group_.core_->compacted(released);
  for (Partition* partition : group_.partition_list_) partition->log().release_removed();
}

}  // namespace esc::replica
