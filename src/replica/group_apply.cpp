// Commit: entries become visible to readers and commands are carried out, in log order.
#include <algorithm>
#include <cstring>

#include "esc/base/byte_codec.h"
#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"
#include "snapshot_fetch.h"

namespace esc::replica {
namespace {

constexpr std::int64_t kNoLimit = -1;

// The body of a partition_create entry.
void encode_identity(const PartitionIdentity& identity, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.bytes(identity.topic_id);
  writer.number(identity.index);
  writer.number(identity.segment_bytes);
  writer.text(identity.topic);
  writer.number(identity.segment_ms);
}

std::optional<PartitionIdentity> decode_identity(PartitionId id, ByteView body) {
  ByteReader reader(body);
  PartitionIdentity identity;
  identity.id = id;
  const ByteView topic_id = reader.bytes(identity.topic_id.size());
  if (topic_id.size() == identity.topic_id.size()) {
    std::memcpy(identity.topic_id.data(), topic_id.data(), topic_id.size());
  }
  identity.index = reader.number<std::int32_t>();
  identity.segment_bytes = reader.number<std::uint64_t>();
  identity.topic = reader.text();
  if (!reader.at_end()) identity.segment_ms = reader.number<std::int64_t>();  // older entries end here
  if (!reader.at_end()) return std::nullopt;
  return identity;
}

// The leader's clock when it appended the entry: the only time that state may depend on.
WallMs leader_time(const EntryRecord& record) {
  logfmt::EntryHeader header;
  std::memcpy(&header, record.body - logfmt::kEntryHeaderBytes, sizeof header);
  return header.timestamp_ms;
}

}  // namespace

std::expected<Index, Errc> Group::create_partition(const PartitionIdentity& identity) {
  std::vector<std::byte> body;
  encode_identity(identity, body);
  return append_command(logfmt::EntryKind::partition_create, identity.id, body);
}

std::expected<Index, Errc> Group::delete_partition(PartitionId id) {
  return append_command(logfmt::EntryKind::partition_delete, id, {});
}

// The body of a partition_config entry: segment bytes u64, segment ms i64.
std::expected<Index, Errc> Group::propose_rolling(PartitionId id, const store::RollRules& rules) {
  std::vector<std::byte> body;
  ByteWriter writer(body);
  writer.number(rules.bytes);
  writer.number(rules.ms);
  return append_command(logfmt::EntryKind::partition_config, id, body);
}

std::expected<Index, Errc> Group::propose_log_start(PartitionId id, Offset start) {
  std::array<std::byte, sizeof(std::int64_t)> body;
  store_le(body.data(), start.value());
  return append_command(logfmt::EntryKind::log_start, id, body);
}

// Puts a batch entry at the end of its partition's chain and moves the next offset.
void Group::register_batch(std::uint64_t sequence, Partition& partition) {
  EntryRecord& record = ring_.entry(sequence);
  const wire::BatchView batch = *wire::BatchView::parse(ByteView(record.body, record.body_bytes));
  record.partition = &partition;
  record.base_offset = Offset(batch.base_offset());
  record.last_offset = Offset(batch.last_offset());
  record.max_timestamp = batch.max_timestamp();
  ESC_ASSERT(record.base_offset == partition.next_offset_);
  partition.next_offset_ = record.last_offset.next();
  record.older = partition.tail_newest_;
  if (partition.tail_newest_ == kNoEntry) {
    partition.tail_oldest_ = sequence;
  } else {
    ring_.entry(partition.tail_newest_).newer = sequence;
  }
  partition.tail_newest_ = sequence;
  if (partition.next_to_write_ == kNoEntry) partition.next_to_write_ = sequence;
}

void Group::advance_commit(Index index) {
  ESC_ASSERT(index >= commit_);
  if (fetch_ != nullptr && fetch_->holds_state()) {
    held_commit_ = std::max(held_commit_, index);
    return;
  }
  commit_ = index;
  ++stats_.commits;
  if (wal_ != nullptr) wal_->set_commit(index);
  // What was superseded may have been reclaimed before anything behind it was committed.
  commit_sequence_ = std::max(commit_sequence_, ring_.entry_front());
  while (commit_sequence_ < ring_.entry_back()) {
    const EntryRecord& record = ring_.entry(commit_sequence_);
    if (!record.superseded && record.index > index) break;
    const std::uint64_t sequence = commit_sequence_++;
    if (!record.superseded) carry_out(sequence);
    if (failed_) return;
  }
  // The core's applied index: batches are visible, their bytes are in the ring or the files.
  if (core_ != nullptr) core_->applied(index);
  if (noop_index_ != Index(0) && index >= noop_index_) {
    noop_index_ = Index(0);
    leading_ = true;
    log_.info("group_leading", {{"group", options_.id}, {"term", noop_term_}, {"commit", commit_}});
    listener_.on_leading(options_.id, noop_term_);
  }
  finish_waiters();
}

void Group::finish_waiters() {
  while (!waiters_.empty() && waiters_.front().index <= commit_) {
    CommitWaiter& waiter = waiters_.pop_front();
    waiter.done(waiter, Errc::ok);
  }
}

void Group::fail_waiters(Errc code) {
  for (auto* list : {&waiters_, &reads_asked_, &reads_waiting_}) {
    while (!list->empty()) {
      CommitWaiter& waiter = list->pop_front();
      waiter.done(waiter, code);
    }
  }
}

void Group::carry_out(std::uint64_t sequence) {
  EntryRecord& record = ring_.entry(sequence);
  const ByteView body(record.body, record.body_bytes);
  const PartitionId partition = record.partition_id;
  switch (record.kind) {
    case logfmt::EntryKind::batch: commit_batch(sequence); return;  // applied when it is in the segment file
    case logfmt::EntryKind::configuration:                          // in force since it was appended
    case logfmt::EntryKind::noop:
    case logfmt::EntryKind::none: break;
    case logfmt::EntryKind::partition_config: apply_partition_config(partition, body); break;
    case logfmt::EntryKind::sequence: remember_sequence(record); break;
    case logfmt::EntryKind::producer_ids: apply_producer_ids(record.index, body); break;
    case logfmt::EntryKind::partition_create: apply_partition_create(record.index, partition, body); break;
    case logfmt::EntryKind::partition_delete: apply_partition_delete(partition, commit_); break;
    case logfmt::EntryKind::coordinator:
      listener_.on_coordinator(options_.id, record.index, leader_time(record), body);
      break;
    case logfmt::EntryKind::metadata: listener_.on_metadata(options_.id, record.index, body); break;
    case logfmt::EntryKind::log_start: apply_log_start(partition, body); break;
  }
  ring_.mark_applied(sequence);
}

// Ids rise within a group and are not used again: a leader with an old catalog may propose what has been
// deleted meanwhile.
void Group::apply_partition_create(Index index, PartitionId id, ByteView body) {
  auto identity = decode_identity(id, body);
  ESC_ASSERT_MSG(identity.has_value(), "a committed partition_create entry decodes");
  if (id <= partition_max_) return;
  partition_max_ = id;
  creations_.emplace_back(index, id);
  if (find(id) == nullptr) create_from(*identity);  // a checkpoint may name what was created a little later
}

// As of `index`, which is not below the last checkpoint.
PartitionId Group::partition_max_at(Index index) const {
  PartitionId highest = partition_max_;
  for (auto at = creations_.rbegin(); at != creations_.rend() && at->first > index; ++at) {
    highest = std::next(at) != creations_.rend() ? std::next(at)->second : checkpointed_partition_max_;
  }
  return highest;
}

// A leader has taken the offsets when it appended; everywhere else they are taken now, when the partition is
// sure to exist.
void Group::commit_batch(std::uint64_t sequence) {
  EntryRecord& record = ring_.entry(sequence);
  if (record.applied) return;  // of a deleted partition
  remember(record);
  if (record.partition == nullptr) {
    Partition* const found = find(record.partition_id);
    const auto batch = wire::BatchView::parse(ByteView(record.body, record.body_bytes));
    if (found == nullptr || (batch && Offset(batch->last_offset()) < found->next_offset_)) {
      ring_.mark_applied(sequence);  // deleted since, or in the files already
      return;
    }
    if (!batch || Offset(batch->base_offset()) != found->next_offset_) {
      enter_failed("entry " + std::to_string(record.index.value()) + " of group " +
                   std::to_string(options_.id.value()) + " for " + found->identity_.topic + "-" +
                   std::to_string(found->identity_.index) + " should start at offset " +
                   std::to_string(found->next_offset_.value()) + " but " +
                   (batch ? "starts at " + std::to_string(batch->base_offset()) : "is no record batch") +
                   ": segment files and log do not belong together; restore the directory " +
                   options_.data_directory + " or replace this node's data from its peers");
      return;
    }
    register_batch(sequence, *found);
  }
  Partition* const partition = record.partition;
  partition->high_watermark_ = record.last_offset.next();
  partition->bytes_to_write_ += record.body_bytes;
  note_unapplied(record.body_bytes);
  if (!partition->ListNode<Partition>::linked()) dirty_.push_back(*partition);
  const std::uint64_t bytes = record.body_bytes;
  partition->waiters_.for_each([bytes](FetchWaiter& waiter) { waiter.notify(waiter, bytes, Errc::ok); });
}

void Group::adopt_partition(std::unique_ptr<Partition> partition) {
  const std::size_t slot = partition->id().value();
  if (by_id_.size() <= slot) by_id_.resize(slot + 1);
  ESC_ASSERT(by_id_[slot] == nullptr);
  by_id_[slot] = std::move(partition);
  partition_list_.push_back(by_id_[slot].get());
  listener_.on_partition(options_.id, *by_id_[slot]);
}

void Group::apply_partition_delete(PartitionId id, Index at_index) {
  Partition* partition = find(id);
  if (partition == nullptr) return;
  partition->deleted_ = true;
  partition->deleted_at_ = at_index;
  forget_partition(id);
  // Entries still in the ring lose their owner; those not yet on their way to the files need not get there.
  for (std::uint64_t at = partition->tail_oldest_; at != kNoEntry;) {
    EntryRecord& record = ring_.entry(at);
    const std::uint64_t newer = record.newer;
    record.partition = nullptr;
    record.newer = record.older = kNoEntry;
    if (partition->next_to_write_ != kNoEntry && at >= partition->next_to_write_) ring_.mark_applied(at);
    at = newer;
  }
  unapplied_bytes_ -= partition->bytes_to_write_;
  partition->bytes_to_write_ = 0;
  partition->tail_oldest_ = partition->tail_newest_ = partition->next_to_write_ = kNoEntry;
  if (partition->ListNode<Partition>::linked()) partition->ListNode<Partition>::unlink();
  partition->waiters_.for_each([](FetchWaiter& waiter) { waiter.notify(waiter, 0, Errc::not_found); });
  listener_.on_partition(options_.id, *partition);
  std::erase(partition_list_, partition);
  graveyard_.push_back(std::move(by_id_[id.value()]));
}

void Group::apply_log_start(PartitionId id, ByteView body) {
  Partition* partition = find(id);
  if (partition == nullptr || body.size() != sizeof(std::int64_t)) return;
  partition->log_start_proposed_ = false;
  partition->log_start_wanted_ =
      std::max(partition->log_start_wanted_, Offset(load_le<std::int64_t>(body.data())));
  move_log_start(*partition);
}

// Everything before this entry ends below the high watermark, on every member alike, however far its files
// have got.
void Group::apply_partition_config(PartitionId id, ByteView body) {
  Partition* const partition = find(id);
  ByteReader reader(body);
  const auto bytes = reader.number<std::uint64_t>();
  const auto ms = reader.number<std::int64_t>();
  if (partition == nullptr || !reader.at_end() || bytes == 0 || bytes > store::kSegmentBytesMax) return;
  adopt_rolling(*partition, partition->high_watermark_, {bytes, ms});
}

void Group::adopt_rolling(Partition& partition, Offset from, const store::RollRules& rules) {
  partition.identity_.set_rolling(rules);
  partition.log_->set_rolling(from, rules);
}

// The files may lag behind the log, above all at a follower: what they do not have yet waits for them.
void Group::move_log_start(Partition& partition) {
  const Offset start = partition.log_start_wanted_;
  if (start <= partition.log_->log_start_offset() || start > partition.log_->next_offset()) return;
  partition.log_->set_log_start(start);
}

// Removes the files of deleted partitions once nobody reads them.
void Group::bury(Nanos) {
  for (std::size_t i = 0; i < graveyard_.size();) {
    Partition& partition = *graveyard_[i];
    if (partition.burial_ == Partition::Burial::done && partition.log_->idle()) {
      graveyard_.erase(graveyard_.begin() + static_cast<std::ptrdiff_t>(i));
      continue;
    }
    const bool checkpointed = partition.deleted_at_ <= checkpointed_;
    if (partition.burial_ == Partition::Burial::none && pins_ == 0 && partition.log_->idle() &&
        checkpointed) {
      partition.burial_ = Partition::Burial::digging;
      bury_ids(partition);
      partition.destroy_.context = &partition;
      partition.destroy_.done = [](store::SyncOp& op, Errc) {
        static_cast<Partition*>(op.context)->burial_ = Partition::Burial::done;
      };
      partition.log_->destroy(partition.destroy_);
    }
    ++i;
  }
}

std::uint32_t Group::enforce_retention(Nanos now) {
  if (!leading_ || shutting_down_ || now < next_retention_) return 0;
  // A few partitions per turn; a full pass ends by setting the next time.
  constexpr std::size_t kPerTurn = 16;
  const WallMs wall_ms = env_.clock.wall_ms();
  std::uint32_t work = 0;
  for (std::size_t i = 0; i < kPerTurn; ++i) {
    if (retention_cursor_ >= partition_list_.size()) {
      retention_cursor_ = 0;
      next_retention_ = now + options_.retention_interval;
      return work;
    }
    Partition& partition = *partition_list_[retention_cursor_++];
    const Retention& limits = partition.retention_;
    if (partition.log_start_proposed_ || (limits.ms == kNoLimit && limits.bytes == kNoLimit)) continue;
    const Offset point = partition.log_->retention_point(limits.ms, limits.bytes, wall_ms);
    if (point <= partition.log_->log_start_offset()) continue;
    if (propose_log_start(partition.id(), point)) partition.log_start_proposed_ = true;
    ++work;
  }
  return work + 1;
}

}  // namespace esc::replica
