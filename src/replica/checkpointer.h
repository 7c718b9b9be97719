// Makes the segment files durable from time to time, so that the WAL can be recycled. Private to the group.
//
//   idle -> draining (all committed up to the target is in the files) -> syncing (fdatasync per changed
//   partition) -> writing (temporary file) -> syncing it -> renaming -> syncing the directory -> idle
//
// The partition states it records may be ahead of the recorded index: replay skips what the files have.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "checkpoint_format.h"
#include "esc/replica/group.h"
#include "file_saver.h"

namespace esc::replica {

class Checkpointer {
 public:
  explicit Checkpointer(Group& group);

  std::uint32_t do_work(Nanos now);
  [[nodiscard]] bool idle() const { return phase_ == Phase::idle; }
  [[nodiscard]] bool wants_all_applied() const { return phase_ == Phase::draining; }
  // The state now in the files is a snapshot at `index`: makes it durable, then Group::snapshot_installed.
  // Only when idle().
  void install(Index index, Term term, const raft::Configuration& configuration);
  // A file that the next checkpoint does not name.
  void forget(const ForgottenIds& ids) { forgotten_.push_back(ids); }
  // A checkpoint is under way or about to begin; the log gets room by it.
  [[nodiscard]] bool makes_room(Nanos now) const { return !idle() || due(now); }
  // After recovery: what the newest checkpoint file covers.
  void recovered(Index applied, Nanos now);

  static constexpr std::string_view kFileName = "checkpoint";
  [[nodiscard]] static std::string path(const GroupOptions& options);

 private:
  enum class Phase : std::uint8_t { idle, draining, syncing, file };
  struct Sync {
    store::SyncOp op;
    Checkpointer* owner = nullptr;
    bool busy = false;
  };

  [[nodiscard]] Index target() const;
  [[nodiscard]] bool due(Nanos now) const;
  [[nodiscard]] bool drained();
  void begin(Nanos now);
  std::uint32_t sync_some();
  void on_synced(Errc code);
  void start_file();
  void write_file();
  void give_up(Errc code, const char* what);
  void finish();

  Group& group_;
  Phase phase_ = Phase::idle;
  Index target_;
  Term target_term_;
  bool installing_ = false;
  Nanos last_ = 0;
  Nanos started_ = 0;
  Nanos retry_at_ = 0;
  std::uint64_t drain_cursor_ = 0;  // entries before it are applied
  std::size_t cursor_ = 0;          // next partition to sync
  std::uint32_t syncs_in_flight_ = 0;
  Errc error_ = Errc::ok;
  std::array<Sync, 8> syncs_;
  std::vector<ForgottenIds> forgotten_;  // files that the coming checkpoint does not name
  Checkpoint checkpoint_;                // reused, keeps its capacity
  FileSaver saver_;
};

}  // namespace esc::replica
