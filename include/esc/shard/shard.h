// One data core: its loop, its groups, its broker, and its end of the mesh. An agent: run() is the body of a
// pinned thread, start() and step() let anybody else drive it (the simulator owns the shards of several
// nodes in one thread); what to do when a turn found no work is the idle strategy's business.
//
//   turn:  drain mesh -> broker -> groups (submit, apply, checkpoint) -> flush mesh -> loop (wait, callbacks)
//
// Lifecycle, driven by the node through NodeControl, each step a barrier over all shards:
//   recovering -> recovered -> serving -> handing over (leadership) -> draining (requests end) ->
//   closing (last checkpoint) -> stopped
//
// Threading: constructed by the main thread, then everything happens on the thread of run() or step().
#pragma once

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/io/loop.h"
#include "esc/obs/metrics.h"
#include "esc/replica/group.h"
#include "esc/ring/mesh.h"
#include "esc/store/resources.h"

namespace esc::shard {

struct PeerVisit;
class PeerDoor;

enum class MessageKind : std::uint8_t { run, reply, adopt, peer };

struct Message {
  MessageKind kind = MessageKind::run;
  int socket = -1;               // adopt
  broker::Call* call = nullptr;  // run, reply
  PeerVisit* visit = nullptr;    // peer: owned by the message
};
using Mesh = ring::Mesh<Message>;

// What the node and its shards tell each other. Cold; every field is an atomic or under the mutex.
struct NodeControl {
  std::atomic<std::uint32_t> shards_recovered{0};
  std::atomic<bool> all_recovered{false};     // set by the main thread
  std::atomic<std::uint32_t> listen_port{0};  // set by shard 0 when the node serves
  std::atomic<bool> stop{false};              // set by the main thread
  std::atomic<std::uint32_t> shards_drained{0};
  std::atomic<std::uint32_t> shards_stopped{0};
  std::atomic<bool> failed{false};
  // With `failed`: damaged data are marked, and a new start of the process puts them aside.
  std::atomic<bool> starts_anew{false};
  // The main thread sleeps on an eventfd; shards write it on every change above. -1: nobody sleeps.
  int main_wake_fd = -1;

  void wake_main() const;
  // The main thread's part of the start: once all `cores` have recovered, lets them go on. True when that
  // happened in this call: wake the loops.
  [[nodiscard]] bool release_recovered(std::uint32_t cores);
  void fail(const std::string& what);
  [[nodiscard]] std::string failure();

 private:
  std::mutex mutex_;
  std::string failure_;
};

enum class Idle : std::uint8_t { park, adaptive, spin };

using PeerAddress = peer::PeerAddress;  // of another node's peer port

struct ShardOptions {
  CoreId core{0};
  std::uint32_t groups = 1;          // of the node; this core owns those with id % cores == core
  std::optional<std::uint32_t> cpu;  // pin to it
  Idle idle = Idle::adaptive;
  Nanos idle_spin = 20 * kMicrosecond;
  std::uint64_t frame_arena_bytes = 24 * kMiB;  // shared by the core's groups; mapped by start()
  std::uint32_t connections_max = 10'000;       // of the node
  std::string listen_host;
  std::uint16_t listen_port = 0;
  std::vector<PeerAddress> peers;  // the other nodes; empty: a single node
  std::string peer_listen_host;
  std::uint16_t peer_listen_port = 0;
  std::string cluster_secret;  // shared by all nodes, proves membership in the handshake
  std::string data_directory;
  std::string wal_directory;
  replica::GroupOptions group;  // template: directories, id and memory are filled per group
  broker::BrokerOptions broker;
  std::uint64_t seed = 1;
};

class Shard final : private broker::Router, private replica::GroupListener, private io::AcceptHandler {
 public:
  Shard(const ShardOptions& options, io::Loop& loop, io::Files& files, Mesh& mesh, obs::LogSource log,
        obs::Scope& metrics, NodeControl& control);
  ~Shard() override;
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // Pins the thread, then start() and step() until the node stops or fails.
  void run();

  // Opens the groups, blocking in recovery. False: NodeControl::failed says why.
  [[nodiscard]] bool start();
  // One turn, and one poll of the loop: without waiting when there is work (or the idle strategy spins), else
  // until the next deadline or a wake-up. False: stopped or failed, do not call again.
  [[nodiscard]] bool step();

  [[nodiscard]] CoreId core() const { return options_.core; }
  [[nodiscard]] const std::vector<std::unique_ptr<replica::Group>>& groups() const { return groups_; }

 private:
  enum class Phase : std::uint8_t { recovered, leading, serving, handing_over, draining, closing, stopped };

  // broker::Router
  void send(broker::Call& call) override;
  void reply(broker::Call& call) override;
  [[nodiscard]] std::uint32_t cores() const override { return mesh_.cores(); }
  [[nodiscard]] CoreId self() const override { return options_.core; }

  // replica::GroupListener
  void on_metadata(GroupId group, Index index, ByteView command) override;
  void on_coordinator(GroupId group, Index index, WallMs timestamp, ByteView command) override;
  void save_metadata(GroupId group, std::vector<std::byte>& out) override;
  [[nodiscard]] Status load_metadata(GroupId group, ByteView state) override;
  void on_partition(GroupId group, replica::Partition& partition) override;
  void on_leading(GroupId group, Term term) override;
  void on_leader_changed(GroupId group, NodeId leader, Term term) override;
  void on_service(GroupId group, NodeId from, peer::Service service, ByteView payload) override;
  void on_failed(GroupId group, const std::string& what) override;
  void on_damaged(GroupId group, const std::string& what) override;

  // io::AcceptHandler, on core 0: connections are dealt out in turn
  void on_accepted(io::AcceptedSocket socket) override;

  void pin();
  [[nodiscard]] Status open_groups();
  std::uint32_t turn(Nanos now);
  std::uint32_t advance_phase(Nanos now);
  void begin_serving();
  void open_peer_door();
  void receive_peer(PeerVisit* visit);
  void post(CoreId to, const Message& message);
  std::uint32_t flush_outbox();
  void handle(const Message& message);
  void wait(std::uint32_t work, Nanos now);
  [[nodiscard]] Nanos next_deadline(Nanos now) const;

  ShardOptions options_;
  io::Loop& loop_;
  Mesh& mesh_;
  obs::LogSource log_;
  NodeControl& control_;
  io::Files& files_;
  Prng prng_;
  io::Env env_;
  obs::Gauge& put_aside_;
  broker::Broker broker_;
  std::unique_ptr<store::Resources> resources_;  // outlives the groups
  std::vector<std::unique_ptr<replica::Group>> groups_;
  std::unique_ptr<PeerDoor> peer_door_;  // core 0 of a cluster's node
  ByteSpan arena_;
  struct Pending {
    CoreId to;
    Message message;
  };
  // Messages that met a full ring; in order per target. Bounded by the requests and sockets in the process.
  std::vector<Pending> outbox_;
  Phase phase_ = Phase::recovered;
  bool asleep_ = false;  // the mesh was told so before the last poll
  Nanos last_work_ = 0;
  Nanos drain_deadline_ = 0;
  std::uint32_t next_core_ = 0;
};

}  // namespace esc::shard
