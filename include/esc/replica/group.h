// One Raft group on one node: the consensus core, its write-ahead log, its links to the other members, and
// the replicated state machine of its partitions. A single node is a group of one voter; nothing here is
// special about it.
//
//   append_*() -----------> frame ring --> WAL write --> durable --> core --> committed --> readers, answers
//   messages of the leader ----^  '--> sends to followers, in parallel      '--> segment files
//
// Threading: one core, which calls do_work() once per loop turn. Memory: the ring's block is given; the data
// path allocates nothing. Errors: busy (ring full, try again after do_work), no_space (disk full,
// retriable), not_leader, too_large; io_error once failed(): the process must stop acknowledging and exit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "esc/base/fixed_vector.h"
#include "esc/base/ids.h"
#include "esc/base/intrusive_list.h"
#include "esc/io/env.h"
#include "esc/obs/log.h"
#include "esc/peer/links.h"
#include "esc/raft/core.h"
#include "esc/replica/frame_ring.h"
#include "esc/replica/group_listener.h"
#include "esc/replica/group_options.h"
#include "esc/replica/group_stats.h"
#include "esc/replica/node_record.h"
#include "esc/replica/partition.h"
#include "esc/store/partition_log.h"
#include "esc/wal/log.h"

namespace esc::wire {
class BatchView;
}

namespace esc::replica {

// Waits until `index` is committed. Owned by the waiter; linked from wait_committed() until `done`, which
// gets ok; not_leader when leadership was lost meanwhile (the outcome is unknown); io_error when the group
// failed.
struct CommitWaiter : ListNode<CommitWaiter> {
  Index index;
  void (*done)(CommitWaiter&, Errc) = nullptr;
  void* context = nullptr;
};

struct Appended {
  Index index;
  Offset base_offset;
  // Nothing was appended: the answer is that of the original (of an idempotent producer's batch, or of the
  // first record).
  bool duplicate = false;
  std::uint32_t dropped = 0;  // records whose event ids were seen before
  WallMs append_time = -1;    // what the records were stamped with, where the topic says so
};

// A slice of a partition's window whose file is no longer needed.
struct ForgottenIds {
  PartitionId partition;
  std::uint64_t generation = 0;
  bool operator==(const ForgottenIds&) const = default;
};

class Admission;
class Checkpointer;
class Compactor;
class Deduper;
class Membership;
class PeerSender;
class ProducerOverlay;
class ProducerTable;
class Repair;
class SnapshotFetch;
class SnapshotSource;
struct Checkpoint;
struct CheckpointPartition;
struct ProducerBatch;
struct Sifted;

class Group final : private peer::LinkHandler {
 public:
  // Blocking: recovers from checkpoint and WAL. Damage is an error; in a cluster of three and more it has
  // then been marked, and listener.on_damaged() was called. `pump` runs the core's loop once, so that
  // asynchronous operations started by the replay can finish.
  [[nodiscard]] static Result<std::unique_ptr<Group>> open(io::Env env, obs::LogSource log,
                                                           const GroupOptions& options,
                                                           GroupListener& listener,
                                                           const std::function<void()>& pump);
  ~Group() override;
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // --- proposals (leader only) ----------------------------------------------------------------

  // Whether producers are accepted, and if not why (not_leader, no_space, io_error, busy).
  [[nodiscard]] Errc accepting() const;
  // Copies one validated record batch into the open frame, stamps offset and leader epoch. An idempotent
  // producer's batch must follow its last one: else stale_epoch or out_of_order, or, when the log has it
  // already, the place of the original, whose commit is to be waited for all the same.
  // With `ids`, one per record, records whose id was seen before are left out; when all were, the answer is
  // the offset of the first record's original, whose commit is to be waited for likewise. busy: the ring is
  // full, or ids have to be looked up on disk; the same batch is to be tried again, before any other of
  // this group with ids.
  [[nodiscard]] std::expected<Appended, Errc> append_batch(Partition& partition, ByteView batch,
                                                           const BatchIds& ids = {});
  // A command. Has a reserve in the ring, so that deletes go on when producers are refused.
  [[nodiscard]] std::expected<Index, Errc> append_command(logfmt::EntryKind kind, PartitionId partition,
                                                          ByteView body);
  // `waiter.index` is set; done runs from do_work or from this call when it is committed already.
  void wait_committed(CommitWaiter& waiter);
  // A linearizable read (ReadIndex, Raft dissertation 6.4): `waiter.done` runs, from do_work or from this
  // call, with ok once a majority has answered a heartbeat sent after this call. What is committed here then
  // is at least what anybody was told is committed before the call. not_leader: it was not so. Costs one
  // round trip, shared by all who wait, and no disk; nothing with a single voter.
  void confirm_leadership(CommitWaiter& waiter);

  [[nodiscard]] std::expected<Index, Errc> create_partition(const PartitionIdentity& identity);
  [[nodiscard]] std::expected<Index, Errc> delete_partition(PartitionId id);
  // The partition's segments end by these rules from this entry of the log on, on every member.
  [[nodiscard]] std::expected<Index, Errc> propose_rolling(PartitionId id, const store::RollRules& rules);
  // Records below `start` (at most the high watermark) may be deleted.
  [[nodiscard]] std::expected<Index, Errc> propose_log_start(PartitionId id, Offset start);

  // An id that no producer of the cluster has had. busy: a new block of ids is on its way, try again
  // after do_work.
  [[nodiscard]] std::expected<std::int64_t, Errc> take_producer_id();

  // --- members -----------------------------------------------------------------------------------

  // A connection that another node opened to this group, after its Hello was read.
  void accept(const peer::Hello& hello, io::AcceptedSocket socket);
  // A small message to the floor above on another node, at most once. False: no link, or one before it waits.
  [[nodiscard]] bool send_service(NodeId to, peer::Service service, ByteView payload);
  // The nodes of the cluster as group 0's log has them, in place of the configured ones: links follow, and
  // while this node leads, so do the members. No nodes: nothing changes.
  void set_nodes(const NodeList& nodes);
  // Whether `node` is a member; an uncommitted change counts as not yet made.
  [[nodiscard]] bool may_count(NodeId node) const;
  // Whether there is a link to this node now.
  [[nodiscard]] bool linked(NodeId node) const { return links_ != nullptr && links_->up(node); }
  // Hands leadership to the member with the longest log; handed_over() turns true when this node leads no
  // more, when nobody can take over, or after a bounded time.
  void begin_handover();
  [[nodiscard]] bool handed_over() const;

  // --- reading ---------------------------------------------------------------------------------

  // Null when unknown here. Pointers stay valid until the partition is deleted and its reads ended.
  [[nodiscard]] Partition* find(PartitionId id) const;
  [[nodiscard]] const std::vector<Partition*>& partitions() const { return partition_list_; }

  // Copies whole committed batches from the tail, starting with the one that contains `offset`, while they
  // fit `into`. `needed` is the size of the first batch (0: nothing at that offset in the tail).
  struct TailRead {
    std::uint32_t bytes = 0;
    std::uint32_t needed = 0;
    Offset next;  // one past the last copied batch
  };
  [[nodiscard]] TailRead read_tail(const Partition& partition, Offset offset, ByteSpan into) const;
  // Whether `offset` (below the high watermark) can be served by read_tail.
  [[nodiscard]] bool in_tail(const Partition& partition, Offset offset) const;
  // Committed bytes at or after `offset` that are in the tail, counted up to `limit`.
  [[nodiscard]] std::uint64_t tail_bytes_from(const Partition& partition, Offset offset,
                                              std::uint64_t limit) const;
  // Kafka's time lookup in the tail: the first batch with max timestamp >= `timestamp`; null when none.
  [[nodiscard]] const EntryRecord* tail_at_time(const Partition& partition, WallMs timestamp) const;
  // Newest timestamp of the committed records, -1 without any.
  [[nodiscard]] WallMs max_timestamp(const Partition& partition) const;
  // Where the records of a leader epoch end: the newest epoch at or below `epoch` that the partition knows,
  // and the offset behind its last record (KIP-101). Epoch -1: there is no such epoch yet.
  struct EpochEnd {
    std::int32_t epoch = -1;
    Offset end{-1};
  };
  [[nodiscard]] EpochEnd end_of_epoch(const Partition& partition, std::int32_t epoch) const;
  // How many idempotent producers are remembered, and how many had to be forgotten before their time.
  [[nodiscard]] std::uint32_t producers() const;
  [[nodiscard]] std::uint64_t producers_evicted() const;
  // Walks all partitions: for metrics.
  [[nodiscard]] EventIdStats event_id_stats() const;
  // Bytes that were read back fail their checksum; `what` names file and position. In a cluster of three and
  // more the node then learns the group again when the others can spare it.
  void report_damage(std::string_view what);
  // Counts asynchronous reads: a deleted partition outlives them.
  void pin() { ++pins_; }
  void unpin() { --pins_; }

  // --- the agent ---------------------------------------------------------------------------------

  // Submits frames, applies, checkpoints, reclaims. Returns the amount of work done.
  std::uint32_t do_work(Nanos now);
  // do_work must be called again by then even if nothing happens.
  [[nodiscard]] Nanos next_deadline() const;

  // Clean end: no more proposals, then a last checkpoint. stopped() turns true when all is quiet.
  void begin_shutdown();
  [[nodiscard]] bool stopped() const;

  [[nodiscard]] GroupId id() const { return options_.id; }
  // Leads, and has applied the no-op of its term: may assign offsets.
  [[nodiscard]] bool leading() const { return leading_; }
  [[nodiscard]] NodeId leader() const { return core_->leader(); }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] Term term() const { return core_->term(); }
  [[nodiscard]] Index commit_index() const { return commit_; }
  [[nodiscard]] const GroupStats& stats() const { return stats_; }
  [[nodiscard]] const wal::Log& wal() const { return *wal_; }
  [[nodiscard]] const raft::Core& core() const { return *core_; }
  // Of the data here; 0 in a group of one node.
  [[nodiscard]] raft::Incarnation incarnation() const;

 private:
  friend class Admission;
  friend class Checkpointer;
  friend class Compactor;
  friend class Membership;
  friend class Repair;
  friend class SnapshotFetch;
  friend class SnapshotSource;
  struct ApplyOp;
  struct Replay;
  struct PendingHardState {
    raft::HardState state;
    raft::WriteMark mark;
  };

  Group(io::Env env, obs::LogSource log, const GroupOptions& options, GroupListener& listener);

  // group.cpp: proposals and the write path
  [[nodiscard]] std::expected<FrameRing::Allocation, Errc> allocate(std::uint32_t body_bytes,
                                                                    std::uint64_t reserve);
  [[nodiscard]] Index next_index();
  Index fill(const FrameRing::Allocation& allocation, logfmt::EntryKind kind, PartitionId partition,
             std::uint32_t body_bytes, Index index);
  // Returns the number of the entry's record in the ring.
  [[nodiscard]] std::expected<std::uint64_t, Errc> write_batch(Partition& partition, const Sifted& sifted,
                                                               const BatchIds& ids);
  // False: the core takes no proposals at the moment (leadership is being handed over).
  bool seal_open();
  std::uint32_t submit_frames(Nanos now);
  [[nodiscard]] bool open_frame_is_due(Nanos now);
  [[nodiscard]] bool fault_is_due();
  static void on_frame_written(wal::FrameWrite& write, Errc code);
  void save_hard_state(const PendingHardState& pending);
  static void on_hard_state_saved(void* context, Errc code);
  void reclaim(std::uint64_t bytes_wanted, std::uint64_t entries_wanted = 0, std::uint64_t frames_wanted = 0);
  void enter_failed(const std::string& what);
  void leave_damaged(const std::string& what);

  // group_core.cpp: what the core is told and what it wants done
  void tick(Nanos now);
  void handle_effects(ByteView received = {});
  void write_log(const raft::LogWrite& write, const raft::WriteMark& mark, ByteView received);
  void write_own_entry(const raft::LogWrite& write, const raft::WriteMark& mark, logfmt::EntryKind kind,
                       ByteView body);
  void write_received(const raft::LogWrite& write, const raft::WriteMark& mark, ByteView received);
  void change_leadership(const raft::LeadershipChange& change);
  void lose_leadership();
  void unregister_uncommitted();
  void copy_entry(const logfmt::EntryView& entry, Term term, const raft::WriteMark& mark);
  void reset_log(const raft::LogWrite& write, const raft::WriteMark& mark);
  void on_configuration(const raft::ConfigurationEntry& entry);
  void found(const raft::Configuration& members);
  static void on_reset_saved(void* context, Errc code);

  // group_links.cpp: messages from and to the other members
  void on_link_up(NodeId peer) override;
  void on_link_down(NodeId peer, Errc reason) override;
  void on_message(const raft::Message& message, ByteView payload) override;
  void on_service(NodeId from, peer::Service service, ByteView payload) override;
  void on_sent(NodeId peer) override;
  void open_links();
  void add_peer(const peer::PeerAddress& peer);
  [[nodiscard]] std::uint32_t message_bytes_max() const;
  [[nodiscard]] PeerSender* sender(NodeId peer);
  [[nodiscard]] bool room_for(ByteView entries, std::uint32_t count);
  void take_head(const raft::Message& message);
  std::uint32_t flush_senders(Nanos now);
  void drop_slow_link(Nanos now);
  void rebalance(Nanos now);
  void widen_links();
  void judge_fitness(Nanos now);
  [[nodiscard]] bool has_room_to_lead();
  [[nodiscard]] std::uint64_t pinned_frame() const;
  [[nodiscard]] Index releasable() const;

  // group_snapshot.cpp: a snapshot becomes the state
  void begin_snapshot_fetch(const raft::SnapshotRequest& request);
  std::uint32_t advance_snapshot(Nanos now);
  void snapshot_installed();
  void end_snapshot_fetch(const raft::SnapshotDone& done);
  void forget_tail();
  void create_from(const PartitionIdentity& identity);
  void adopt_offsets(Partition& partition, Offset log_start);

  // group_apply.cpp: commit, state machine, segment files
  void advance_commit(Index index);
  void commit_batch(std::uint64_t sequence);
  void carry_out(std::uint64_t sequence);
  void apply_partition_create(Index index, PartitionId id, ByteView body);
  [[nodiscard]] PartitionId partition_max_at(Index index) const;
  // `at`: the files go once a checkpoint covers this.
  void apply_partition_delete(PartitionId id, Index at);
  void apply_log_start(PartitionId id, ByteView body);
  void apply_partition_config(PartitionId id, ByteView body);
  void adopt_rolling(Partition& partition, Offset from, const store::RollRules& rules);
  void move_log_start(Partition& partition);
  void register_batch(std::uint64_t sequence, Partition& partition);
  void adopt_partition(std::unique_ptr<Partition> partition);
  std::uint32_t write_segments(Nanos now);
  void note_unapplied(std::uint64_t bytes);
  void start_segment_write(Partition& partition, ApplyOp& op);
  static void on_segment_written(store::AppendOp& append, Errc code);
  void finish_segment_write(ApplyOp& op, Errc code);
  void finish_waiters();
  void fail_waiters(Errc code);
  void ask_reads();
  void answer_reads(const raft::ReadAnswer& answer);
  void bury(Nanos now);
  std::uint32_t enforce_retention(Nanos now);
  [[nodiscard]] std::uint64_t tail_entry(const Partition& partition, Offset offset) const;
  [[nodiscard]] bool all_applied() const { return unapplied_bytes_ == 0 && apply_in_flight_ == 0; }

  // group_producers.cpp: what partitions remember beside their records
  [[nodiscard]] std::expected<Appended, Errc> answer_duplicate(const ProducerBatch& batch);
  void remember(const EntryRecord& record);
  void forget_partition(PartitionId id);
  void apply_producer_ids(Index index, ByteView body);
  void drop_pending_producers();
  void save_memory(const Partition& partition, CheckpointPartition& out) const;
  [[nodiscard]] Status load_memory(Partition& partition, const CheckpointPartition& record,
                                   const std::string& path);
  [[nodiscard]] Status load_memories(const Checkpoint& checkpoint, const std::string& path);

  // group_dedup.cpp
  [[nodiscard]] std::expected<Sifted, Errc> sift(Partition& partition, ByteView batch, const BatchIds& ids);
  void take_back_ids(Partition& partition, const BatchIds& ids);
  [[nodiscard]] std::expected<Appended, Errc> answer_dropped(Partition& partition, const Sifted& sifted,
                                                             const ProducerBatch* sequenced);
  void write_ids(std::uint64_t sequence, std::size_t batch_bytes, std::uint32_t dropped,
                 const dedup::Limits& limits);
  void remember_ids(Partition& partition, const EntryRecord& record, const wire::BatchView& batch);
  void remember_sequence(const EntryRecord& record);
  void drop_pending_ids();
  [[nodiscard]] std::vector<ForgottenIds> collect_ids();
  void drop_flushed_ids();
  void bury_ids(Partition& partition);
  [[nodiscard]] Status load_id_files();

  // group_recovery.cpp
  [[nodiscard]] static Status put_aside_damaged(io::Files& files, obs::LogSource log,
                                                const GroupOptions& options);
  [[nodiscard]] Status recover(const std::function<void()>& pump);
  [[nodiscard]] Status load_checkpoint(Checkpoint& checkpoint);
  [[nodiscard]] Status check_belongs_together(const wal::RecoveryReport& report,
                                              const Checkpoint& checkpoint) const;
  void finish_replayed_frame();
  [[nodiscard]] Status commit_replayed(Index index);
  [[nodiscard]] bool is_here(PartitionId id) const;
  void remove_unclaimed_files();
  void restore_core(const wal::RecoveryReport& report, const Checkpoint& checkpoint, const Replay& replay);
  void truncate_replayed(Index from, Replay& replay);
  void discard_replayed(Replay& replay);
  [[nodiscard]] raft::Configuration initial_members() const;
  [[nodiscard]] Status open_membership(const wal::RecoveryReport& report, const Checkpoint& checkpoint,
                                       const Replay& replay);
  [[nodiscard]] Status check_never_member() const;
  [[nodiscard]] bool votes_alone() const;
  void make_core(const raft::Restored& restored);
  [[nodiscard]] Status make_room(const std::function<void()>& pump);
  [[nodiscard]] Status replay_frame(const wal::RecoveredFrame& frame, Replay& replay);
  [[nodiscard]] Status replay_entry(const logfmt::EntryView& entry, Term term, Replay& replay);

  [[nodiscard]] std::string partition_directory(const PartitionIdentity& identity) const;
  [[nodiscard]] store::Options store_options(const PartitionIdentity& identity) const;

  io::Env env_;
  obs::LogSource log_;
  GroupOptions options_;
  GroupListener& listener_;

  std::unique_ptr<wal::Log> wal_;
  std::unique_ptr<raft::Core> core_;
  std::unique_ptr<peer::Links> links_;  // null in a group of one
  std::vector<std::unique_ptr<PeerSender>> senders_;
  std::unique_ptr<Membership> membership_;  // null in a group of one
  std::unique_ptr<Admission> admission_;    // likewise
  std::unique_ptr<Repair> repair_;          // likewise
  NodeList nodes_;                          // without nodes: the configured ones
  const std::vector<peer::PeerAddress> configured_peers_{options_.peers};
  bool links_widened_ = false;  // to those beside the list's
  Nanos leader_heard_at_ = 0;
  raft::Effects effects_;
  FrameRing ring_;
  std::unique_ptr<Checkpointer> checkpointer_;
  std::unique_ptr<Compactor> compactor_;
  bool files_changed_ = false;  // by compaction, since the last checkpoint

  std::vector<std::unique_ptr<Partition>> by_id_;  // slot = PartitionId value
  std::vector<Partition*> partition_list_;
  std::vector<std::unique_ptr<Partition>> graveyard_;
  // The highest partition id ever created, and how it rose since the last checkpoint.
  PartitionId partition_max_{0};
  PartitionId checkpointed_partition_max_{0};
  std::vector<std::pair<Index, PartitionId>> creations_;
  IntrusiveList<Partition> dirty_;  // have committed batches that are not in the files
  IntrusiveList<CommitWaiter> waiters_;
  // Reads: those the core was asked for, as one request, and those that come with the next one.
  IntrusiveList<CommitWaiter> reads_asked_;
  IntrusiveList<CommitWaiter> reads_waiting_;
  std::uint64_t read_request_ = 0;

  std::vector<std::unique_ptr<ApplyOp>> apply_ops_;
  std::vector<ApplyOp*> apply_free_;
  std::uint32_t apply_in_flight_ = 0;
  std::uint64_t unapplied_bytes_ = 0;  // committed, not in the files
  Nanos unapplied_since_ = 0;
  std::int64_t apply_credit_ = 0;  // bytes that may be written without hurry
  Nanos retry_apply_at_ = 0;

  std::unique_ptr<Deduper> deduper_;
  std::unique_ptr<ProducerTable> producers_;
  std::unique_ptr<ProducerOverlay> pending_producers_;
  std::uint64_t producer_ids_ = 0;  // handed out by this group: committed blocks
  std::uint64_t producer_ids_next_ = 0;
  std::uint64_t producer_ids_end_ = 0;  // of this leader's block
  Index producer_ids_pending_{0};

  Index commit_{0};
  Index held_commit_{0};               // committed while a snapshot is being fetched
  std::uint64_t commit_sequence_ = 0;  // first entry not committed
  Nanos now_ = 0;
  Nanos open_since_ = 0;
  std::uint32_t open_events_ = 0;
  Nanos next_retention_ = 0;
  std::size_t retention_cursor_ = 0;
  std::uint64_t bytes_since_checkpoint_ = 0;
  Index checkpointed_{0};
  Index checkpointed_before_{0};  // by the checkpoint before the newest
  // One save at a time; a newer hard state meanwhile waits, and replaces one that waits.
  std::optional<PendingHardState> hard_state_saving_;
  std::optional<PendingHardState> hard_state_waiting_;
  std::unique_ptr<SnapshotFetch> fetch_;    // under way
  std::unique_ptr<SnapshotSource> source_;  // null in a group of one
  raft::WriteMark reset_mark_;
  bool resetting_ = false;  // the log, after a snapshot; the next snapshot waits for it
  Term noop_term_;
  Index noop_index_;  // leading_ turns true when this is applied
  bool leading_ = false;
  bool core_has_more_ = false;
  Nanos handover_deadline_ = 0;
  Nanos rebalance_at_ = 0;
  Nanos rebalance_pause_ = 0;  // doubles when the preferred node does not take over
  Nanos full_since_ = 0;       // the disk, 0: it is not
  bool failed_ = false;
  bool no_space_ = false;
  bool shutting_down_ = false;
  bool replaying_ = false;
  std::uint32_t pins_ = 0;
  GroupStats stats_;
};

}  // namespace esc::replica
