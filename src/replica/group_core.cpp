// The consensus core: what it is told, and what it wants done.
#include <algorithm>
#include <cstring>

#include "checkpoint_format.h"
#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"
#include "membership.h"
#include "peer_sender.h"

namespace esc::replica {

// When room for messages runs out, the rest comes with another tick of the same time.
void Group::tick(Nanos now) {
  do {
    core_->tick(now, effects_);
    handle_effects();
  } while (core_has_more_ && !failed_);
}

// Carries out what the core asked for. The few fields that matter are taken out first: what follows may
// re-enter the core, and copying all of Effects would cost more than the core itself.
void Group::handle_effects(ByteView received) {
  for (const raft::Message& message : effects_.messages) {
    PeerSender* const to = sender(message.to);
    if (to == nullptr) continue;
    if (membership_->is_for_peer(message)) {
      to->queue(message);
    } else {
      membership_->remind(message.to);
    }
  }
  const auto hard_state = effects_.hard_state;
  const auto mark = effects_.mark;
  const auto leadership = effects_.leadership;
  const auto commit = effects_.commit;
  const auto snapshot_request = effects_.snapshot_request;
  const auto transfer = effects_.transfer;
  const NodeId regressed = effects_.regressed_peer;
  core_has_more_ = effects_.more;
  FixedVector<raft::LogWrite, 4> writes;
  for (const raft::LogWrite& write : effects_.log_writes) {
    // A proposal is already in its frame, see seal_open.
    if (write.kind != raft::EntryKind::proposal) writes.push_back(write);
  }
  const auto configuration = effects_.configuration;
  // Of one request at a time, see ask_reads; the array has room for many, and is not copied in every turn.
  ESC_ASSERT(effects_.reads.size() <= 1);
  const std::optional<raft::ReadAnswer> read =
      effects_.reads.empty() ? std::nullopt : std::optional(effects_.reads[0]);
  effects_.clear();

  // Whoever waits must hear that leadership is lost before entries of another leader are committed.
  if (leadership) change_leadership(*leadership);
  if (hard_state) save_hard_state({*hard_state, *mark});
  if (configuration) on_configuration(*configuration);
  for (const raft::LogWrite& write : writes) write_log(write, *mark, received);
  if (commit && !failed_) advance_commit(*commit);
  if (transfer) {
    // While it lasts no proposal is taken: a node that does not want to lead is not asked often.
    constexpr Nanos kPauseMax = 300 * kSecond;
    const bool done = transfer->outcome == raft::TransferOutcome::done;
    rebalance_pause_ =
        done ? 0 : std::min(kPauseMax, 2 * std::max(options_.rebalance_after, rebalance_pause_));
  }
  if (regressed != NodeId(0)) {
    log_.error(
        "peer_lost_data",
        {{"group", options_.id},
         {"node", regressed},
         {"what", "it no longer has entries that it had acknowledged as durable"},
         {"fix", "its disk is not to be trusted: remove the node, give it an empty disk and a new id"}});
  }
  if (snapshot_request) begin_snapshot_fetch(*snapshot_request);
  if (read) answer_reads(*read);
}

void Group::confirm_leadership(CommitWaiter& waiter) {
  if (!leading_) return waiter.done(waiter, failed_ ? Errc::io_error : Errc::not_leader);
  reads_waiting_.push_back(waiter);
  if (reads_asked_.empty()) ask_reads();
}

// One request at a time: who comes meanwhile waits for the next one, whose heartbeats are sent after it came.
void Group::ask_reads() {
  while (!reads_waiting_.empty()) reads_asked_.push_back(reads_waiting_.pop_front());
  const auto asked = core_->read_index(++read_request_, effects_);
  if (!asked) return answer_reads({read_request_, asked.error(), Index(0)});
  handle_effects();
}

void Group::answer_reads(const raft::ReadAnswer& answer) {
  if (answer.request != read_request_) return;  // failed with the leadership it was asked under
  IntrusiveList<CommitWaiter> answered;
  while (!reads_asked_.empty()) answered.push_back(reads_asked_.pop_front());
  ESC_ASSERT(answer.code != Errc::ok || answer.index <= commit_);
  while (!answered.empty()) {
    CommitWaiter& waiter = answered.pop_front();
    waiter.done(waiter, answer.code);
  }
  if (leading_ && reads_asked_.empty() && !reads_waiting_.empty()) ask_reads();
}

void Group::change_leadership(const raft::LeadershipChange& change) {
  // Also a leader whose no-op is not committed yet has an open frame and followers to forget about.
  if (change.stepped_down || (leading_ && !change.is_leader)) lose_leadership();
  if (change.is_leader) {
    noop_term_ = change.term;
    noop_index_ = change.noop_index;
    rebalance_at_ = 0;
    if (options_.replica_plant == Plant::leads_before_noop) leading_ = true;
  }
  log_.info("group_leader", {{"group", options_.id}, {"term", change.term}, {"leader", change.leader}});
  listener_.on_leader_changed(options_.id, change.leader, change.term);
}

// What was not proposed is given up; what was may still be committed by the next leader, or truncated.
void Group::lose_leadership() {
  leading_ = false;
  noop_index_ = Index(0);
  if (options_.replica_plant != Plant::producers_kept_at_step_down) drop_pending_producers();
  drop_pending_ids();
  if (options_.replica_plant != Plant::offsets_kept_at_step_down) unregister_uncommitted();
  if (ring_.has_open() && !ring_.open_frame().proposed) {
    ring_.truncate(ring_.entry(ring_.open_frame().first_sequence).index);
  }
  for (const auto& to : senders_) to->forget_entries();
  fail_waiters(options_.replica_plant == Plant::waiters_done_at_step_down ? Errc::ok : Errc::not_leader);
  for (Partition* partition : partition_list_) {
    partition->log_start_proposed_ = false;
    partition->waiters_.for_each([](FetchWaiter& waiter) { waiter.notify(waiter, 0, Errc::not_leader); });
  }
}

// Uncommitted batches hold no offsets except at a leader, newest first.
void Group::unregister_uncommitted() {
  const std::uint64_t first = std::max(commit_sequence_, ring_.entry_front());
  for (std::uint64_t at = ring_.entry_back(); at-- > first;) {
    EntryRecord& record = ring_.entry(at);
    if (record.partition == nullptr) continue;
    Partition& partition = *record.partition;
    partition.next_offset_ = record.base_offset;
    partition.tail_newest_ = record.older;
    if (record.older == kNoEntry) {
      partition.tail_oldest_ = kNoEntry;
    } else {
      ring_.entry(record.older).newer = kNoEntry;
    }
    if (partition.next_to_write_ == at) partition.next_to_write_ = kNoEntry;
    record.partition = nullptr;
    record.older = record.newer = kNoEntry;
  }
}

void Group::write_log(const raft::LogWrite& write, const raft::WriteMark& mark, ByteView received) {
  switch (write.kind) {
    case raft::EntryKind::proposal: return;
    case raft::EntryKind::noop: write_own_entry(write, mark, logfmt::EntryKind::noop, {}); return;
    case raft::EntryKind::configuration: {
      std::vector<std::byte> body;
      ByteWriter writer(body);
      encode_configuration(core_->configuration(), writer);
      write_own_entry(write, mark, logfmt::EntryKind::configuration, body);
      return;
    }
    case raft::EntryKind::received: write_received(write, mark, received); return;
    case raft::EntryKind::reset: reset_log(write, mark); return;
  }
  ESC_UNREACHABLE("kind of log write");
}

// An entry that the core itself has appended, in a frame of its own.
void Group::write_own_entry(const raft::LogWrite& write, const raft::WriteMark& mark, logfmt::EntryKind kind,
                            ByteView body) {
  ESC_ASSERT(write.first == write.last);
  if (ring_.has_open()) {  // entries of the leader before
    ESC_ASSERT(ring_.open_frame().proposed);
    ring_.seal();
  }
  reclaim(2 * std::uint64_t{ring_.frame_bytes_max()});
  const FrameRing::Allocation allocation = ring_.allocate(static_cast<std::uint32_t>(body.size()), 0);
  ESC_ASSERT_MSG(allocation.entry != nullptr, "the ring has room when a term begins");
  std::copy(body.begin(), body.end(), allocation.entry + logfmt::kEntryHeaderBytes);
  fill(allocation, kind, PartitionId(0), static_cast<std::uint32_t>(body.size()), write.first);
  Frame& frame = ring_.open_frame();
  ring_.seal();
  frame.proposed = true;
  frame.mark = mark;
  frame.term = write.term;
  frame.first_index = frame.last_index = write.first;
}

// Entries of the leader. on_message has made sure that they are well-formed and that there is room.
void Group::write_received(const raft::LogWrite& write, const raft::WriteMark& mark, ByteView received) {
  if (write.truncate_from != Index(0)) {
    ring_.truncate(write.truncate_from);
    wal_->discard_from(write.truncate_from);
  }
  if (ring_.has_open() && ring_.open_frame().term != write.term) ring_.seal();
  Index appended = write.first.prev();
  logfmt::EntryReader reader(received);
  while (const auto entry = reader.next()) {
    const Index index(entry->header.index);
    if (index < write.first) continue;
    if (index > write.last) break;
    ESC_ASSERT(index == appended.next());
    copy_entry(*entry, write.term, mark);
    appended = index;
  }
  ESC_ASSERT(appended == write.last);
}

// One entry of another node, or of the WAL, into the open frame.
void Group::copy_entry(const logfmt::EntryView& entry, Term term, const raft::WriteMark& mark) {
  if (!ring_.open_has_room(entry.header.size)) ring_.seal();
  const bool opens = !ring_.has_open();
  const FrameRing::Allocation allocation = ring_.allocate(entry.header.size, 0);
  ESC_ASSERT_MSG(allocation.entry != nullptr, "room was made before");
  if (opens) {
    open_since_ = now_;
    open_events_ = 0;
  }
  std::memcpy(allocation.entry, &entry.header, sizeof entry.header);
  std::copy(entry.body.begin(), entry.body.end(), allocation.entry + logfmt::kEntryHeaderBytes);
  logfmt::zero_entry_padding(allocation.entry, entry.header.size);
  const Index index(entry.header.index);
  ring_.set_index(allocation.sequence, index);
  EntryRecord& record = ring_.entry(allocation.sequence);
  record.body = allocation.entry + logfmt::kEntryHeaderBytes;
  record.body_bytes = entry.header.size;
  record.kind = entry.header.kind;
  if ((entry.header.flags & logfmt::kEntryHasIds) != 0) {
    if (const auto batch = wire::BatchView::parse(entry.body)) {
      record.body_bytes = static_cast<std::uint32_t>(batch->size());
      record.ids_bytes = entry.header.size - record.body_bytes;
    }
  }
  record.partition_id = PartitionId(entry.header.partition);
  ++open_events_;
  Frame& frame = ring_.open_frame();
  frame.proposed = true;
  frame.term = term;
  if (frame.entries == 1) frame.first_index = index;
  frame.last_index = index;
  // Good for what the frame holds so far, should it be sealed before the rest arrives.
  frame.mark = {mark.hard_state, index, term, mark.epoch};
}

// After a snapshot: what the ring still holds beyond it is void, and so is the whole WAL.
void Group::reset_log(const raft::LogWrite& write, const raft::WriteMark& mark) {
  ring_.truncate(commit_.next());
  wal_->discard_from(commit_.next());
  // What comes next begins a frame of its own: the log on disk goes on behind the snapshot.
  if (ring_.has_open()) ring_.seal();
  reset_mark_ = mark;
  // It overtakes a hard state that waits for an earlier one to be saved, and says nothing about it.
  if (hard_state_waiting_) reset_mark_.hard_state = {};
  resetting_ = true;
  wal_->reset(write.last, write.term, &Group::on_reset_saved, this);
}

void Group::on_reset_saved(void* context, Errc code) {
  auto& group = *static_cast<Group*>(context);
  if (group.failed_) return;
  if (code != Errc::ok) {
    group.enter_failed("resetting the write-ahead log in " + group.options_.wal.directory + " failed (" +
                       std::string(to_string(code)) + "); check the device, then restart");
    return;
  }
  group.resetting_ = false;
  if (group.core_ == nullptr) return;  // still recovering
  group.core_->persisted(group.reset_mark_, group.effects_);
  group.handle_effects();
}

void Group::on_configuration(const raft::ConfigurationEntry& entry) {
  std::string voters;
  std::string learners;
  for (const NodeId node : entry.configuration.voters) voters += " " + std::to_string(node.value());
  for (const NodeId node : entry.configuration.learners) learners += " " + std::to_string(node.value());
  log_.info("group_members", {{"group", options_.id},
                              {"index", entry.index},
                              {"voters", std::string_view(voters).substr(voters.empty() ? 0 : 1)},
                              {"learners", std::string_view(learners).substr(learners.empty() ? 0 : 1)}});
  // Not only at the end of the turn: an election may begin before.
  if (membership_ != nullptr && core_ != nullptr && !membership_->is_meant()) core_->set_electable(false);
}

// The cluster begins: these are its members before the first entry.
void Group::found(const raft::Configuration& members) {
  ESC_ASSERT(core_->term() == Term(0) && core_->last_index() == Index(0));
  raft::Restored restored;
  restored.configuration = members;
  make_core(restored);
  on_configuration({Index(0), members});
}

}  // namespace esc::replica
