// One machine of the cluster: its disk, its clock, and the node that runs on it: shards, mesh, control, as
// src/app/node.cpp composes them, driven by the simulation.
//
//   off -> boot() -> running -> crash() | terminate() | its own failure -> off
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/obs/log.h"
#include "esc/obs/metrics.h"
#include "esc/shard/shard.h"
#include "esc/sim/disk.h"
#include "esc/sim/loop.h"
#include "esc/sim/network.h"
#include "model.h"
#include "plants.h"
#include "scenario.h"
#include "topics.h"
#include "trace.h"

namespace esc::escsim {

inline constexpr std::uint16_t kKafkaPort = 9092;
inline constexpr std::uint16_t kPeerPort = 9192;
inline constexpr std::string_view kGroup = "group";  // of consumers

// When a fault would hurt most.
enum class Moment : std::uint8_t { elected, truncated };

class Host;

// Of a host's data, in its file system.
[[nodiscard]] std::string directory_of(std::uint32_t number);

// What every part of one simulation shares.
struct World {
  const Scenario& scenario;
  sim::SimClock& clock;
  sim::Network& network;
  Trace& trace;
  Model& model;
  const Plant* plant = nullptr;
  obs::Logger* logger = nullptr;  // null: nodes are silent
  std::function<void(Host&, Moment)> moment{};
};

class Host {
 public:
  Host(World& world, std::uint32_t number, Prng prng);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] std::uint32_t number() const { return number_; }
  [[nodiscard]] NodeId node() const { return NodeId(number_); }
  [[nodiscard]] const std::string& name() const { return name_; }

  // --- life ---
  void boot();
  // The process ends now (SIGKILL), or the whole machine does (power).
  void crash(sim::CrashKind kind);
  // SIGTERM.
  void terminate();
  void pause(bool paused);
  [[nodiscard]] bool running() const { return !shards_.empty(); }
  [[nodiscard]] bool paused() const { return paused_; }
  [[nodiscard]] bool stopping() const { return running() && control_->stop.load(); }
  [[nodiscard]] bool serving() const { return running() && control_->listen_port.load() != 0; }
  // When the node is off: not to be booted before.
  [[nodiscard]] bool powered() const { return powered_; }
  [[nodiscard]] const std::string& last_failure() const { return last_failure_; }

  // --- faults ---
  // All of it, or the files whose path contains `path_part`.
  void stall_disk(Nanos until, const std::string& path_part = {});
  // Writes of one kind fail with EIO; the node is expected to exit.
  void break_disk(std::uint64_t after);
  void fill_disk(bool full);
  // Flips a bit where the next start must notice it: in a frame that a later one calls durable, in a
  // checkpoint, in an incarnation file; or where only a reader meets it: in a sealed segment file. Only when
  // the node is off.
  void rot();
  // A sealed segment file or the log cannot be read from now on. Only when the node runs.
  void spoil();
  // A node has data that are damaged, and may not know it.
  [[nodiscard]] bool rotten() const { return !rotten_.empty() || latent_.has_value(); }
  // What nobody has met in a file was only the disk's whim: it reads well again.
  void calm();
  void shift_wall(WallMs by) { host_clock_.wall_start_ms += by; }
  // The next boot dies in the middle of recovery.
  void arm_fuse(std::uint64_t operations) { fuse_ = operations; }
  // Another, blank disk. Only when the node is off.
  void replace_disk();
  void heal();

  // --- observation ---
  [[nodiscard]] replica::Group* group(GroupId id) const;
  // Which life of its data of the group the node has shown last; 0: none since its disk was replaced.
  [[nodiscard]] raft::Incarnation incarnation(GroupId id) const;
  [[nodiscard]] std::uint64_t boots() const { return boots_; }
  // Shows the model everything that is committed here.
  void observe();
  // Shows the model what the segment files hold, byte for byte: at the end, when nothing is written any more.
  void observe_files();
  // For the report of a stuck phase.
  [[nodiscard]] std::string state() const;
  [[nodiscard]] sim::FileSystem& files() { return files_; }

 private:
  // All that observe_group() looks at before it goes into the records: most turns change nothing of it.
  struct View {
    raft::HardState hard_state;
    raft::HardState durable_hard_state;
    raft::Incarnation incarnation;
    NodeId leader;
    bool is_leader = false;
    bool leading = false;
    Index last;
    Term last_term;
    Index durable;
    Index snapshot;
    Index commit;
    bool operator==(const View&) const = default;
  };

  void build();
  [[nodiscard]] shard::ShardOptions shard_options(std::uint32_t core);
  void run_core(std::uint32_t core);
  void after_step(std::uint32_t core);
  void observe_group(replica::Group& group);
  [[nodiscard]] static View view_of(const replica::Group& group);
  void observe_segments(const std::string& directory, const replica::Partition& partition);
  void observe_log(replica::Group& group);
  void compare_with_promise(const replica::Group& group);
  void check_repair(const replica::Group& group);
  [[nodiscard]] bool flip_in_log(const std::string& directory);
  [[nodiscard]] bool flip_in_file(const std::string& path);
  [[nodiscard]] bool flip_in_segment(GroupId id, const std::string& directory);
  [[nodiscard]] std::vector<std::string> sealed_segments(const std::string& directory) const;
  void calm_unreadable();
  void arm_unreadable();
  void judge_unreadable();
  void observe_partition(replica::Group& group, replica::Partition& partition);
  void take_down();
  void exit_process(const std::string& why);

  World& world_;
  const std::uint32_t number_;
  const std::string name_;
  Prng prng_;
  sim::HostClock host_clock_;
  sim::FileSystem files_;

  std::uint64_t boots_ = 0;
  bool powered_ = true;
  bool paused_ = false;
  bool starting_ = false;
  std::optional<sim::CrashKind> crash_pending_;
  std::uint64_t fuse_ = 0;
  std::string last_failure_;

  // Of one incarnation.
  std::unique_ptr<sim::SimFiles> sim_files_;
  std::unique_ptr<obs::Registry> registry_;
  std::unique_ptr<shard::NodeControl> control_;
  std::unique_ptr<ring::Waker> waker_;
  std::vector<std::unique_ptr<sim::SimLoop>> loops_;
  std::unique_ptr<shard::Mesh> mesh_;
  std::vector<std::unique_ptr<shard::Shard>> shards_;
  std::vector<bool> finished_;
  struct Seen {
    Index commit;
    bool leading = false;
    NodeId leader;
    Term term;
    Term led;  // complete as the leader of this term
    raft::Configuration members;
    View view;
    Index last;
    Term last_term;
    std::map<PartitionId, Offset> offsets;
  };
  std::map<GroupId, Seen> seen_;
  // What the node has called durable, by acting on it: every later incarnation must have it.
  struct Promise {
    raft::HardState hard_state;
    Index index;
    Term term;  // of that entry
  };
  std::map<GroupId, Promise> promises_;
  std::map<GroupId, raft::Incarnation> incarnations_;
  std::map<GroupId, raft::Incarnation> rotten_;  // damaged, and whose data that were
  struct Latent {
    GroupId group;
    raft::Incarnation incarnation;
    std::string path;
    std::uint64_t at = 0;
    std::uint8_t mask = 0;
    std::byte flipped{};
    bool unreadable = false;  // in place of a flipped bit
    bool armed = false;       // still so
    bool met = false;         // it was asked for, seen half a second ago
  };
  std::optional<Latent> latent_;
  std::map<GroupId, raft::Incarnation> excused_;  // may still put aside what could not be read for a while
  std::vector<std::byte> read_buffer_;
};

}  // namespace esc::escsim
