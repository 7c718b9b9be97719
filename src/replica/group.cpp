// Proposals and the write path: entries into the open frame, frames into the WAL, completions into the core.
#include "esc/replica/group.h"

#include <algorithm>
#include <cstring>

#include "admission.h"
#include "apply_op.h"
#include "checkpointer.h"
#include "compactor.h"
#include "deduper.h"
#include "esc/dedup/id_block.h"
#include "esc/wire/record_batch.h"
#include "membership.h"
#include "peer_sender.h"
#include "producer_table.h"
#include "quarantine.h"
#include "repair.h"
#include "snapshot_fetch.h"
#include "snapshot_source.h"

namespace esc::replica {
namespace {

constexpr std::size_t kApplyOps = 32;
// Frames that producers leave free for commands, so that deletes can free space when producers are refused.
constexpr std::uint64_t kCommandReserveFrames = 1;

}  // namespace

Group::Group(io::Env env, obs::LogSource log, const GroupOptions& options, GroupListener& listener)
    : env_(env),
      log_(log),
      options_(options),
      listener_(listener),
      ring_(options.ring_memory, options.frame_bytes_max),
      checkpointer_(std::make_unique<Checkpointer>(*this)),
      compactor_(std::make_unique<Compactor>(*this)),
      deduper_(std::make_unique<Deduper>(env.disk, options.data_directory + "/ids")),
      producers_(std::make_unique<ProducerTable>()),
      pending_producers_(std::make_unique<ProducerOverlay>()) {
  for (std::size_t i = 0; i < kApplyOps; ++i) {
    apply_ops_.push_back(std::make_unique<ApplyOp>());
    apply_ops_.back()->group = this;
    apply_free_.push_back(apply_ops_.back().get());
  }
}

Group::~Group() = default;

Errc Group::accepting() const {
  if (failed_) return Errc::io_error;
  if (!leading_ || shutting_down_) return Errc::not_leader;
  if (no_space_) return Errc::no_space;
  // At its own limit the log waits for the checkpoint that makes room.
  if (wal_->space() == wal::Space::low) return checkpointer_->makes_room(now_) ? Errc::busy : Errc::no_space;
  return Errc::ok;
}

std::expected<FrameRing::Allocation, Errc> Group::allocate(std::uint32_t body_bytes, std::uint64_t reserve) {
  if (!ring_.fits(body_bytes)) return std::unexpected(Errc::too_large);
  if (!ring_.open_has_room(body_bytes) && !seal_open()) return std::unexpected(Errc::busy);
  // A new frame gets room for all that may come while the disk is busy, at the expense of the tail cache.
  if (!ring_.has_open() || ring_.crowded()) reclaim(reserve + 2 * std::uint64_t{ring_.frame_bytes_max()});
  const bool opens = !ring_.has_open();
  const FrameRing::Allocation allocation = ring_.allocate(body_bytes, reserve);
  if (allocation.entry == nullptr) {
    ++stats_.busy_rejections;
    return std::unexpected(Errc::busy);
  }
  if (opens) {
    open_since_ = now_;
    open_events_ = 0;
  }
  return allocation;
}

// The index that the entry just allocated in a leader's open frame will get.
Index Group::next_index() {
  return core_->last_index() + ring_.open_frame().entries;
}

// Completes the entry that the caller put a body into: header, padding, record. Returns its index.
Index Group::fill(const FrameRing::Allocation& allocation, logfmt::EntryKind kind, PartitionId partition,
                  std::uint32_t body_bytes, Index index) {
  logfmt::EntryHeader header;
  header.size = body_bytes;
  header.kind = kind;
  header.partition = partition.value();
  header.index = index.value();
  header.timestamp_ms = env_.clock.wall_ms();
  logfmt::store_entry_header(allocation.entry, header);
  logfmt::zero_entry_padding(allocation.entry, body_bytes);
  ring_.set_index(allocation.sequence, index);
  EntryRecord& record = ring_.entry(allocation.sequence);
  record.body = allocation.entry + logfmt::kEntryHeaderBytes;
  record.body_bytes = body_bytes;
  record.kind = kind;
  record.partition_id = partition;
  return index;
}

std::expected<Appended, Errc> Group::append_batch(Partition& partition, ByteView batch, const BatchIds& ids) {
  if (const Errc code = accepting(); code != Errc::ok) return std::unexpected(code);
  if (partition.deleted_) return std::unexpected(Errc::not_found);
  auto sequenced = producer_batch(partition.id(), batch);
  if (sequenced) {
    const auto known = answer_duplicate(*sequenced);
    if (!known || known->duplicate) return known;
  }
  const auto sifted = sift(partition, batch, ids);
  if (!sifted) return std::unexpected(sifted.error());
  if (sifted->batch.empty()) return answer_dropped(partition, *sifted, sequenced ? &*sequenced : nullptr);
  const auto sequence = write_batch(partition, *sifted, ids);
  if (!sequence) {
    take_back_ids(partition, ids);
    return std::unexpected(sequence.error());
  }
  const EntryRecord& record = ring_.entry(*sequence);
  if (sequenced) {
    place(*sequenced, record);
    pending_producers_->add(*producers_, *sequenced);
  }
  open_events_ += static_cast<std::uint32_t>(record.last_offset.next() - record.base_offset);
  ++stats_.batches_appended;
  stats_.bytes_appended += sifted->batch.size();
  const WallMs append_time = partition.log_append_time_ ? record.max_timestamp : -1;
  return Appended{record.index, record.base_offset, false, sifted->duplicates, append_time};
}

std::expected<std::uint64_t, Errc> Group::write_batch(Partition& partition, const Sifted& sifted,
                                                      const BatchIds& ids) {
  const std::uint64_t reserve = kCommandReserveFrames * ring_.frame_bytes_max();
  const std::size_t batch_bytes = sifted.batch.size();
  const bool with_ids = !ids.ids.empty();
  const std::size_t body_bytes =
      with_ids ? dedup::body_bytes_with_ids(batch_bytes, deduper_->kept().size()) : batch_bytes;
  if (!ring_.fits(body_bytes)) return std::unexpected(Errc::too_large);
  auto allocation = allocate(static_cast<std::uint32_t>(body_bytes), reserve);
  if (!allocation) return std::unexpected(allocation.error());
  const ByteSpan body(allocation->entry + logfmt::kEntryHeaderBytes, batch_bytes);
  std::memcpy(body.data(), sifted.batch.data(), batch_bytes);
  wire::stamp_base_offset(body, partition.next_offset_.value());
  wire::stamp_leader_epoch(body, static_cast<std::int32_t>(core_->term().value()));
  if (partition.log_append_time_) wire::stamp_log_append_time(body, env_.clock.wall_ms());
  fill(*allocation, logfmt::EntryKind::batch, partition.id(), static_cast<std::uint32_t>(body_bytes),
       next_index());
  if (with_ids) write_ids(allocation->sequence, batch_bytes, sifted.duplicates, ids.limits);
  register_batch(allocation->sequence, partition);
  return allocation->sequence;
}

std::expected<Index, Errc> Group::append_command(logfmt::EntryKind kind, PartitionId partition,
                                                 ByteView body) {
  if (failed_) return std::unexpected(Errc::io_error);
  if (!leading_ || shutting_down_) return std::unexpected(Errc::not_leader);
  auto allocation = allocate(static_cast<std::uint32_t>(body.size()), 0);
  if (!allocation) return std::unexpected(allocation.error());
  std::copy(body.begin(), body.end(), allocation->entry + logfmt::kEntryHeaderBytes);  // may be empty
  return fill(*allocation, kind, partition, static_cast<std::uint32_t>(body.size()), next_index());
}

void Group::wait_committed(CommitWaiter& waiter) {
  if (failed_) {
    waiter.done(waiter, Errc::io_error);
  } else if (waiter.index <= commit_) {
    waiter.done(waiter, Errc::ok);
  } else {
    waiters_.push_back(waiter);
  }
}

// A leader's open frame becomes a proposal: one per frame, so that messages to peers end where frames end.
bool Group::seal_open() {
  if (!ring_.has_open()) return true;
  Frame& frame = ring_.open_frame();
  if (frame.proposed) {  // received from a leader: the core knows it
    ring_.seal();
    return true;
  }
  ESC_ASSERT(effects_.has_room());
  const auto first = core_->propose({.count = frame.entries, .bytes = frame.payload_bytes}, effects_);
  // The ring holds fewer frames and bytes than the core's limits: only a handover refuses.
  if (!first) {
    ESC_ASSERT(first.error() == Errc::busy);
    return false;
  }
  ring_.seal();
  frame.proposed = true;
  frame.term = core_->term();
  frame.first_index = *first;
  frame.last_index = *first + (frame.entries - 1);
  ESC_ASSERT(ring_.entry(frame.first_sequence).index == frame.first_index);
  ESC_ASSERT(effects_.mark.has_value());
  frame.mark = *effects_.mark;
  handle_effects();
  return true;
}

bool Group::open_frame_is_due(Nanos now) {
  // An idle disk never waits; beside a write in flight a second one must be worth it.
  if (wal_->in_flight() == 0) return true;
  return open_events_ >= options_.batch_events_max || now - open_since_ >= options_.batch_delay;
}

std::uint32_t Group::submit_frames(Nanos now) {
  std::uint32_t work = 0;
  for (;;) {
    Frame* frame = ring_.next_queued();
    if (frame == nullptr) {
      if (!ring_.has_open() || !open_frame_is_due(now) || !wal_->can_write(kBlockBytes)) return work;
      if (!seal_open()) return work;
      continue;
    }
    // A mark promises its hard state, too: nothing overtakes one that waits.
    if (hard_state_waiting_) return work;
    if (!wal_->can_write(logfmt::frame_bytes(frame->payload_bytes))) return work;
    ring_.mark_writing(*frame);
    // A snapshot has overtaken it: the log now begins behind these entries.
    if (frame->last_index <= reset_mark_.index) frame->state = FrameState::durable;
    if (frame->state == FrameState::durable) continue;
    frame->done = &Group::on_frame_written;
    frame->context = this;
    wal_->write(*frame);
    if (options_.replica_plant == Plant::frame_durable_when_submitted) {
      core_->persisted(frame->mark, effects_);
      handle_effects();
    }
    ++stats_.frames_written;
    bytes_since_checkpoint_ += frame->frame_bytes;
    ++work;
  }
}

// Fault injection: counts frames down to the one that fails.
bool Group::fault_is_due() {
  if (options_.fail_frame_after == 0) return false;
  --options_.fail_frame_after;
  return options_.fail_frame_after == 0;
}

void Group::on_frame_written(wal::FrameWrite& write, Errc code) {
  auto& group = *static_cast<Group*>(write.context);
  auto& frame = static_cast<Frame&>(write);
  if (code == Errc::ok && group.fault_is_due()) code = Errc::io_error;
  if (group.failed_) return;
  if (code != Errc::ok) {
    group.enter_failed(
        "writing the write-ahead log in " + group.options_.wal.directory + " failed (" +
        std::string(to_string(code)) +
        "): nothing more is acknowledged; check the device (dmesg, SMART), then restart: the log is "
        "verified and recovered at start");
    return;
  }
  frame.state = FrameState::durable;
  group.core_->persisted(frame.mark, group.effects_);
  group.handle_effects();
}

void Group::save_hard_state(const PendingHardState& pending) {
  if (hard_state_saving_) {
    hard_state_waiting_ = pending;
    return;
  }
  if (options_.replica_plant == Plant::hard_state_not_written) {
    core_->persisted(pending.mark, effects_);
    return handle_effects();
  }
  hard_state_saving_ = pending;
  wal_->save_hard_state({pending.state.term, pending.state.vote}, &Group::on_hard_state_saved, this);
}

void Group::on_hard_state_saved(void* context, Errc code) {
  auto& group = *static_cast<Group*>(context);
  if (group.failed_) return;
  if (code != Errc::ok) {
    group.enter_failed("saving term and vote in " + group.options_.wal.directory + " failed (" +
                       std::string(to_string(code)) + "); check the device, then restart");
    return;
  }
  // Of term and vote only. It may have overtaken entries: those of queued frames, and those that the core
  // handed out together with it. Their frames have marks of their own.
  raft::WriteMark mark = group.hard_state_saving_->mark;
  mark.index = Index(0);
  group.hard_state_saving_.reset();
  group.core_->persisted(mark, group.effects_);
  group.handle_effects();
  if (group.hard_state_waiting_ && !group.hard_state_saving_) {
    const PendingHardState next = *group.hard_state_waiting_;
    group.hard_state_waiting_.reset();
    group.save_hard_state(next);
  }
}

// Drops the oldest frames until what is wanted and some records are free, or the next one is still needed.
void Group::reclaim(std::uint64_t bytes_wanted, std::uint64_t entries_wanted, std::uint64_t frames_wanted) {
  const std::uint64_t limit = pinned_frame();
  while (ring_.bytes_free() < bytes_wanted || ring_.entries_free() < entries_wanted ||
         ring_.frames_free() < frames_wanted || ring_.crowded()) {
    const bool dropped = ring_.reclaim_one(limit, [this](EntryRecord& record) {
      Partition* partition = record.partition;
      if (partition == nullptr) return;
      partition->tail_oldest_ = record.newer;
      if (record.newer == kNoEntry) {
        partition->tail_newest_ = kNoEntry;
      } else {
        ring_.entry(record.newer).older = kNoEntry;
      }
    });
    if (!dropped) return;
  }
}

void Group::enter_failed(const std::string& what) {
  if (failed_) return;
  failed_ = true;
  leading_ = false;
  listener_.on_failed(options_.id, what);
  fail_waiters(Errc::io_error);
}

void Group::report_damage(std::string_view what) {
  ++stats_.damage_found;
  if (repair_ != nullptr && !failed_) repair_->found(what);
}

// The mark blocks this core: everything here ends with it, in the same turn, before anybody can be told
// anything else.
void Group::leave_damaged(const std::string& what) {
  if (Status marked = mark_damaged(env_.files, options_.data_directory, what); !marked) {
    return enter_failed(what +
                        "; the mark for putting it aside could not be written: " + marked.error().message);
  }
  failed_ = true;
  leading_ = false;
  listener_.on_damaged(options_.id, what);
  fail_waiters(Errc::io_error);
}

std::uint32_t Group::do_work(Nanos now) {
  now_ = now;
  if (failed_) return 0;
  // At the end nothing new is begun, except the segment that frames still wait for.
  const bool wal_needed = !shutting_down_ || ring_.has_queued() || hard_state_saving_;
  std::uint32_t work = wal_needed ? wal_->do_work(now) : 0;
  if (wal_->failed()) {  // also a new segment: without one nothing could ever be acknowledged again
    enter_failed(
        "preparing a segment of the write-ahead log in " + options_.wal.directory +
        " failed; check the device (dmesg, SMART), then restart: the log is verified and recovered at "
        "start");
    return 1;
  }
  tick(now);
  work += submit_frames(now);
  work += write_segments(now);
  work += checkpointer_->do_work(now);
  work += enforce_retention(now);
  work += compactor_->do_work(now);
  bury(now);
  if (links_ != nullptr) {
    widen_links();
    work += advance_snapshot(now);
    judge_fitness(now);
    work += membership_->do_work(now);
    work += admission_->do_work(now);
    work += repair_->do_work(now);
    if (failed_) return work;
    rebalance(now);
    work += flush_senders(now);
    work += links_->do_work(now);
  }
  return work;
}

Nanos Group::next_deadline() const {
  Nanos deadline = now_ + kSecond;
  // With every write slot taken a completion wakes us; a deadline in the past would make the core spin, and
  // keep the kernel from finishing those very writes.
  if (ring_.has_open() && wal_->can_write(kBlockBytes)) {
    deadline = std::min(deadline, open_since_ + options_.batch_delay);
  }
  if (fetch_ != nullptr)
    deadline = std::min(deadline, std::max(fetch_->next_deadline(), now_ + kMillisecond));
  deadline = std::min(deadline, std::max(compactor_->next_deadline(), now_ + kMillisecond));
  if (unapplied_bytes_ > 0) deadline = std::min(deadline, now_ + 20 * kMillisecond);
  if (links_ != nullptr) deadline = std::min(deadline, links_->next_deadline());
  return std::min(deadline, std::max(core_->next_deadline(), now_ + kMillisecond));
}

// Whatever can still become durable here does; what was not proposed is given up.
void Group::begin_shutdown() {
  if (shutting_down_) return;
  if (!seal_open()) lose_leadership();
  if (links_ != nullptr) links_->shutdown();
  shutting_down_ = true;
}

bool Group::stopped() const {
  if (failed_) return true;
  if (!deduper_->files().idle() || !compactor_->idle()) return false;
  // In the middle of a snapshot the old checkpoint stays: the files are ahead of the log.
  const bool fetching = fetch_ != nullptr && fetch_->holds_state();
  if (fetching && !fetch_->quiet()) return false;
  if (links_ != nullptr && !links_->stopped()) return false;
  if (membership_ != nullptr && !membership_->idle()) return false;
  return shutting_down_ && !ring_.has_queued() && wal_->idle() && all_applied() && checkpointer_->idle() &&
         (fetching || checkpointed_ == std::min(commit_, core_->durable_index()));
}

}  // namespace esc::replica
