// A snapshot of another member becomes the state of this one.
#include <algorithm>

#include "checkpointer.h"
#include "esc/replica/group.h"
#include "peer_sender.h"
#include "snapshot_fetch.h"
#include "snapshot_source.h"

namespace esc::replica {

void Group::begin_snapshot_fetch(const raft::SnapshotRequest& request) {
  ESC_ASSERT_MSG(fetch_ == nullptr, "one snapshot at a time");
  fetch_ = std::make_unique<SnapshotFetch>(*this, request);
  core_->set_electable(false);  // its files will be ahead of its log for a while
}

std::uint32_t Group::advance_snapshot(Nanos now) {
  if (fetch_ == nullptr) return 0;
  const std::uint32_t work = fetch_->do_work(now);
  if (!fetch_->ended() || !fetch_->quiet()) return work;
  end_snapshot_fetch({});
  return work + 1;
}

// The checkpoint that describes the fetched state is durable; now the log may forget what came before.
void Group::snapshot_installed() {
  const Checkpoint& checkpoint = fetch_->installed();
  raft::SnapshotDone done;
  done.installed = true;
  done.index = checkpoint.applied;
  done.index_term = checkpoint.applied_term;
  done.configuration = checkpoint.configuration;
  log_.info("snapshot_installed", {{"group", options_.id},
                                   {"index", done.index},
                                   {"partitions", checkpoint.partitions.size()},
                                   {"milliseconds", fetch_->duration() / kMillisecond},
                                   {"bytes", fetch_->bytes_fetched()}});
  end_snapshot_fetch(done);
}

void Group::end_snapshot_fetch(const raft::SnapshotDone& done) {
  fetch_.reset();
  core_->snapshot_done(done, effects_);
  handle_effects();
  if (held_commit_ > commit_) advance_commit(held_commit_);
  held_commit_ = Index(0);
}

// Readers of the tail must not walk from what was before a snapshot to what comes after it. Nothing in the
// ring is waiting for the files.
void Group::forget_tail() {
  ESC_ASSERT(all_applied());
  for (std::uint64_t at = ring_.entry_front(); at < ring_.entry_back(); ++at) {
    EntryRecord& record = ring_.entry(at);
    record.partition = nullptr;
    record.older = record.newer = kNoEntry;
  }
  for (Partition* partition : partition_list_) {
    partition->tail_oldest_ = partition->tail_newest_ = partition->next_to_write_ = kNoEntry;
  }
}

void Group::create_from(const PartitionIdentity& identity) {
  const std::string directory = partition_directory(identity);
  if (replaying_) {  // with what was written before, which goes when the partition goes
    auto opened = store::PartitionLog::open(env_.files, env_.disk, directory, store_options(identity), {});
    if (!opened) return enter_failed(opened.error().message);
    return adopt_partition(std::make_unique<Partition>(identity, std::move(*opened)));
  }
  auto log = store::PartitionLog::create(env_.disk, directory, store_options(identity));
  adopt_partition(std::make_unique<Partition>(identity, std::move(log)));
}

void Group::adopt_offsets(Partition& partition, Offset log_start) {
  partition.next_offset_ = partition.high_watermark_ = partition.log_->next_offset();
  partition.log_start_wanted_ = std::max(partition.log_start_wanted_, log_start);
  move_log_start(partition);
}

}  // namespace esc::replica
