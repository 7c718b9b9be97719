// How a member that has fallen behind the log catches up: the leader's checkpoint, the records that it names
// and that are missing here, a checkpoint of our own; then the log begins anew behind it. Private to the
// group.
//
//   state (checkpoint in parts) -> draining (what is committed here reaches the files) -> records, partition
//   by partition, from where our own files end -> ids, slice by slice, all of them -> checkpoint -> done
//
// Segments that are here already do not travel. A lost connection or another leader costs one request. A
// crash on the way leaves the old checkpoint valid: nothing it names is deleted before the new one is
// durable.
//
// Threading: the group's core. Memory: the checkpoint and one request; freed at the end.
#pragma once

#include <map>
#include <memory>
#include <vector>

#include "checkpoint_format.h"
#include "esc/replica/group.h"
#include "snapshot_messages.h"

namespace esc::replica {

class SnapshotFetch {
 public:
  SnapshotFetch(Group& group, const raft::SnapshotRequest& request);

  std::uint32_t do_work(Nanos now);
  // do_work has something to do by then even if nothing happens; kNever: it waits for something to happen.
  [[nodiscard]] Nanos next_deadline() const;
  static constexpr Nanos kNever = INT64_MAX;
  void on_state(ByteView payload, std::uint64_t tag);
  void on_records(ByteView payload, std::uint64_t tag);
  void on_ids(ByteView payload, std::uint64_t tag);
  void on_link_down() { waiting_ = false; }
  void checkpoint_failed() { give_up("the disk here is full"); }
  [[nodiscard]] bool ended() const { return phase_ == Phase::ended; }
  // The checkpoint is ours and durable.
  [[nodiscard]] const Checkpoint& installed() const { return checkpoint_; }
  [[nodiscard]] std::uint64_t bytes_fetched() const { return bytes_fetched_; }
  [[nodiscard]] Nanos duration() const;
  // From here on the files run ahead of the log here: what is committed meanwhile waits, and so do
  // checkpoints.
  [[nodiscard]] bool holds_state() const {
    return phase_ == Phase::records || phase_ == Phase::ids || phase_ == Phase::checkpoint;
  }
  // Nothing of ours is in flight: may be destroyed.
  [[nodiscard]] bool quiet() const { return !appending_ && !writing_ids_; }

 private:
  struct IdFile {
    PartitionId partition;
    dedup::Window::File file;
  };

  enum class Phase : std::uint8_t { state, draining, records, ids, checkpoint, ended };

  void request(std::uint16_t kind);
  void begin_records();
  [[nodiscard]] bool files_are_idle() const;
  [[nodiscard]] bool next_partition();
  void append_some();
  void on_appended(Errc code);
  void begin_ids();
  [[nodiscard]] std::vector<ForgottenIds> live_ids() const;
  void keep_ids(const IdFile& file, ByteView entries);
  void on_ids_written(Errc code);
  void finish_records();
  void give_up(std::string_view why);

  Group& group_;
  raft::SnapshotRequest wanted_;
  Phase phase_ = Phase::state;
  bool waiting_ = false;  // for an answer
  Nanos asked_at_ = 0;
  std::uint64_t tag_ = 0;
  std::vector<std::byte> state_;
  Checkpoint checkpoint_;
  std::size_t cursor_ = 0;  // partition being fetched
  std::vector<std::byte> records_;
  std::size_t records_used_ = 0;
  std::vector<store::BatchRef> batches_;
  store::AppendOp append_;
  bool appending_ = false;
  // Windows as they are fetched, and the files of theirs that are not complete, the next one last.
  std::map<PartitionId, std::unique_ptr<PartitionIds>> windows_;
  std::vector<IdFile> id_files_;
  std::uint32_t id_position_ = 0;
  bool writing_ids_ = false;
  Nanos not_before_ = 0;  // pace
  std::uint64_t bytes_fetched_ = 0;
  Nanos started_ = 0;
};

}  // namespace esc::replica
