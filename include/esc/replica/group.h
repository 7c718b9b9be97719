// One Raft group on one node: the consensus core, its write-ahead log, and the replicated state machine of
// its partitions. A single node is a group of one voter; nothing here is special about it.
//
//   append_*()  -> frame ring -> WAL write -> durable -> core -> committed -> visible to readers, answers
//                                                                   '-> segment files (lazily) -> checkpoint
//
// Threading: one core, which calls do_work() once per loop turn. Memory: the ring's block is given; the data
// path allocates nothing. Errors: busy (ring full, try again after do_work), no_space (disk full,
// retriable), not_leader, too_large; io_error once failed(): the process must stop acknowledging and exit.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/fixed_vector.h"
#include "esc/base/ids.h"
#include "esc/base/intrusive_list.h"
#include "esc/io/env.h"
#include "esc/obs/log.h"
#include "esc/raft/core.h"
#include "esc/replica/frame_ring.h"
#include "esc/replica/partition.h"
#include "esc/store/partition_log.h"
#include "esc/wal/log.h"

namespace esc::replica {

struct GroupOptions {
  GroupId id{0};
  NodeId node{1};
  raft::Configuration members{};  // voters of a new group (static bootstrap); empty: only this node
  raft::Timeouts timeouts{};
  std::uint64_t cluster_id = 0;
  std::string data_directory;  // of this group: checkpoint and partitions
  wal::Options wal;            // with its directory
  store::Options store;        // segment_bytes comes from each partition
  ByteSpan ring_memory;        // kBlockBytes-aligned
  std::uint32_t frame_bytes_max = 1088 * 1024;
  // When the disk is busy with one write, the next frame is written beside it once it holds this much.
  std::uint32_t batch_events_max = 64;
  Nanos batch_delay = kMillisecond;
  Nanos checkpoint_interval = 10 * kSecond;
  std::uint64_t checkpoint_bytes = 64 * kMiB;
  Nanos retention_interval = 30 * kSecond;
  std::uint64_t seed = 1;
  // Fault injection for tests: the n-th entry frame from now fails with EIO (0: never).
  std::uint64_t fail_frame_after = 0;
};

// Waits until `index` is committed. Owned by the waiter; linked from wait_committed() until `done`.
struct CommitWaiter : ListNode<CommitWaiter> {
  Index index;
  void (*done)(CommitWaiter&, Errc) = nullptr;
  void* context = nullptr;
};

// What a group tells the floor above.
class GroupListener {
 public:
  virtual ~GroupListener() = default;
  // A committed command of kind `metadata` (only group 0 carries them), in log order, also on replay.
  virtual void on_metadata(GroupId group, Index index, ByteView command) = 0;
  // Contents for, and from, the group's checkpoint: the state that on_metadata has built.
  virtual void save_metadata(GroupId group, std::vector<std::byte>& out) = 0;
  [[nodiscard]] virtual Status load_metadata(GroupId group, ByteView state) = 0;
  // A partition exists from now on (created, replayed, or loaded), or has been deleted.
  virtual void on_partition(GroupId group, Partition& partition) = 0;
  // The group leads and has applied its term's no-op: it may assign offsets.
  virtual void on_leading(GroupId group, Term term) = 0;
  // The node that leads the group as far as is known here has changed; 0: nobody known. This node itself may
  // be named before on_leading says that it may assign offsets.
  virtual void on_leader_changed(GroupId group, NodeId leader, Term term) = 0;
  // Unrecoverable: stop acknowledging, exit. `what` names cause and fix.
  virtual void on_failed(GroupId group, const std::string& what) = 0;
};

struct GroupStats {
  std::uint64_t batches_appended = 0;
  std::uint64_t bytes_appended = 0;
  std::uint64_t frames_written = 0;
  std::uint64_t commits = 0;
  std::uint64_t busy_rejections = 0;
  std::uint64_t segment_writes = 0;
  std::uint64_t checkpoints = 0;
  Nanos last_checkpoint_duration = 0;
};

struct Appended {
  Index index;
  Offset base_offset;
};

class Checkpointer;
struct Checkpoint;

class Group {
 public:
  // Blocking: recovers from checkpoint and WAL. `pump` runs the core's loop once, so that asynchronous
  // operations started by the replay can finish.
  [[nodiscard]] static Result<std::unique_ptr<Group>> open(io::Env env, obs::LogSource log,
                                                           const GroupOptions& options,
                                                           GroupListener& listener,
                                                           const std::function<void()>& pump);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  // --- proposals (leader only) ----------------------------------------------------------------

  // Whether producers are accepted, and if not why (not_leader, no_space, io_error, busy).
  [[nodiscard]] Errc accepting() const;
  // Copies one validated record batch into the open frame, stamps offset and leader epoch.
  [[nodiscard]] std::expected<Appended, Errc> append_batch(Partition& partition, ByteView batch);
  // A command. Has a reserve in the ring, so that deletes go on when producers are refused.
  [[nodiscard]] std::expected<Index, Errc> append_command(logfmt::EntryKind kind, PartitionId partition,
                                                          ByteView body);
  // `waiter.index` is set; done runs from do_work or from this call when it is committed already.
  void wait_committed(CommitWaiter& waiter);

  [[nodiscard]] std::expected<Index, Errc> create_partition(const PartitionIdentity& identity);
  [[nodiscard]] std::expected<Index, Errc> delete_partition(PartitionId id);

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
  [[nodiscard]] bool leading() const { return leading_; }
  [[nodiscard]] bool failed() const { return failed_; }
  [[nodiscard]] Term term() const { return core_->term(); }
  [[nodiscard]] Index commit_index() const { return commit_; }
  [[nodiscard]] const GroupStats& stats() const { return stats_; }
  [[nodiscard]] const wal::Log& wal() const { return *wal_; }
  [[nodiscard]] const raft::Core& core() const { return *core_; }

 private:
  friend class Checkpointer;
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
  Index fill(const FrameRing::Allocation& allocation, logfmt::EntryKind kind, PartitionId partition,
             std::uint32_t body_bytes);
  void seal_open();
  std::uint32_t submit_frames(Nanos now);
  [[nodiscard]] bool open_frame_is_due(Nanos now);
  [[nodiscard]] bool fault_is_due();
  static void on_frame_written(wal::FrameWrite& write, Errc code);
  void save_hard_state(const PendingHardState& pending);
  static void on_hard_state_saved(void* context, Errc code);
  void drive_core(Nanos now);
  void handle_effects();
  void write_noop(const raft::LogWrite& write, const raft::WriteMark& mark);
  void reclaim(std::uint64_t bytes_wanted);
  void enter_failed(const std::string& what);

  // group_apply.cpp: commit, state machine, segment files
  void advance_commit(Index index);
  void commit_batch(EntryRecord& record);
  void carry_out(std::uint64_t sequence);
  void apply_partition_create(ByteView body);
  void apply_partition_delete(PartitionId id);
  void apply_log_start(PartitionId id, ByteView body);
  void register_batch(std::uint64_t sequence, Partition& partition);
  void adopt_partition(std::unique_ptr<Partition> partition);
  std::uint32_t write_segments(Nanos now);
  void start_segment_write(Partition& partition, ApplyOp& op);
  static void on_segment_written(store::AppendOp& append, Errc code);
  void finish_segment_write(ApplyOp& op, Errc code);
  void finish_waiters();
  void bury(Nanos now);
  std::uint32_t enforce_retention(Nanos now);
  [[nodiscard]] std::uint64_t tail_entry(const Partition& partition, Offset offset) const;
  [[nodiscard]] bool all_applied() const { return unapplied_bytes_ == 0 && apply_in_flight_ == 0; }

  // group_recovery.cpp
  [[nodiscard]] Status recover(const std::function<void()>& pump);
  [[nodiscard]] Status load_checkpoint(Checkpoint& checkpoint);
  void finish_replayed_frame(Index last);
  [[nodiscard]] Status make_room(const std::function<void()>& pump);
  [[nodiscard]] Status replay_frame(const wal::RecoveredFrame& frame, Replay& replay);
  [[nodiscard]] Status replay_entry(const logfmt::EntryView& entry, const std::function<void()>& pump);

  [[nodiscard]] std::string partition_directory(const PartitionIdentity& identity) const;
  [[nodiscard]] store::Options store_options(const PartitionIdentity& identity) const;

  io::Env env_;
  obs::LogSource log_;
  GroupOptions options_;
  GroupListener& listener_;

  std::unique_ptr<wal::Log> wal_;
  std::unique_ptr<raft::Core> core_;
  raft::Effects effects_;
  FrameRing ring_;
  std::unique_ptr<Checkpointer> checkpointer_;

  std::vector<std::unique_ptr<Partition>> by_id_;  // slot = PartitionId value
  std::vector<Partition*> partition_list_;
  std::vector<std::unique_ptr<Partition>> graveyard_;
  IntrusiveList<Partition> dirty_;  // have committed batches that are not in the files
  IntrusiveList<CommitWaiter> waiters_;

  std::vector<std::unique_ptr<ApplyOp>> apply_ops_;
  std::vector<ApplyOp*> apply_free_;
  std::uint32_t apply_in_flight_ = 0;
  std::uint64_t unapplied_bytes_ = 0;  // committed, not in the files
  Nanos unapplied_since_ = 0;
  Nanos retry_apply_at_ = 0;

  Index commit_{0};
  std::uint64_t commit_sequence_ = 0;  // first entry not committed
  Nanos now_ = 0;
  Nanos open_since_ = 0;
  std::uint32_t open_events_ = 0;
  Nanos next_retention_ = 0;
  std::size_t retention_cursor_ = 0;
  std::uint64_t bytes_since_checkpoint_ = 0;
  Index checkpointed_{0};
  // One save at a time; a newer hard state meanwhile waits, and replaces one that waits.
  std::optional<PendingHardState> hard_state_saving_;
  std::optional<PendingHardState> hard_state_waiting_;
  Term noop_term_;
  Index noop_index_;
  bool leading_ = false;
  bool failed_ = false;
  bool no_space_ = false;
  bool shutting_down_ = false;
  bool replaying_ = false;
  std::uint32_t pins_ = 0;
  GroupStats stats_;
};

}  // namespace esc::replica
