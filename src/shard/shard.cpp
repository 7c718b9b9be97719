#include "esc/shard/shard.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#include "esc/broker/lifecycle.h"
#include "peer_door.h"

namespace esc::shard {
namespace {

constexpr std::uint32_t kMeshBudget = 256;  // messages per turn
constexpr Nanos kDrainTimeout = 5 * kSecond;
constexpr Nanos kSleepMax = 50 * kMillisecond;

}  // namespace

void NodeControl::wake_main() const {
  if (main_wake_fd < 0) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(main_wake_fd, &one, sizeof one);
}

bool NodeControl::release_recovered(std::uint32_t cores) {
  if (all_recovered.load(std::memory_order_relaxed) ||
      shards_recovered.load(std::memory_order_acquire) < cores)
    return false;
  all_recovered.store(true, std::memory_order_release);  // pairs with the shards' acquire load
  return true;
}

void NodeControl::fail(const std::string& what) {
  {
    const std::lock_guard lock(mutex_);
    if (failure_.empty()) failure_ = what;
  }
  failed.store(true, std::memory_order_release);  // pairs with the main thread's acquire load
  wake_main();
}

std::string NodeControl::failure() {
  const std::lock_guard lock(mutex_);
  return failure_;
}

Shard::Shard(const ShardOptions& options, io::Loop& loop, io::Files& files, Mesh& mesh, obs::LogSource log,
             obs::Scope& metrics, NodeControl& control)
    : options_(options),
      loop_(loop),
      mesh_(mesh),
      log_(log),
      control_(control),
      files_(files),
      prng_(options.seed),
      env_{loop, files_, loop, loop, prng_},
      put_aside_(metrics.gauge("esc_put_aside_directories",
                               "Directories of damaged groups beside those in use, when the node started.")),
      broker_(env_, log, metrics, options.broker, *this) {
  outbox_.reserve(1024);
}

Shard::~Shard() {
  groups_.clear();
  if (!arena_.empty()) ::munmap(arena_.data(), arena_.size());
}

// --- the mesh -----------------------------------------------------------------------------------------

void Shard::post(CoreId to, const Message& message) {
  // Nothing may overtake what waits already.
  if (!outbox_.empty() || !mesh_.try_send(options_.core, to, message)) outbox_.push_back({to, message});
}

std::uint32_t Shard::flush_outbox() {
  std::size_t sent = 0;
  while (sent < outbox_.size() && mesh_.try_send(options_.core, outbox_[sent].to, outbox_[sent].message))
    ++sent;
  outbox_.erase(outbox_.begin(), outbox_.begin() + static_cast<std::ptrdiff_t>(sent));
  return static_cast<std::uint32_t>(sent);
}

void Shard::send(broker::Call& call) {
  call.origin = options_.core;
  if (call.target == options_.core) {
    call.run(call, broker_);
  } else {
    post(call.target, {.kind = MessageKind::run, .call = &call});
  }
}

void Shard::reply(broker::Call& call) {
  if (call.origin == options_.core) {
    call.done(call, broker_);
  } else {
    post(call.origin, {.kind = MessageKind::reply, .call = &call});
  }
}

void Shard::handle(const Message& message) {
  switch (message.kind) {
    case MessageKind::run: message.call->run(*message.call, broker_); break;
    case MessageKind::reply: message.call->done(*message.call, broker_); break;
    case MessageKind::adopt: broker_.adopt({message.socket}); break;
    case MessageKind::peer: receive_peer(message.visit); break;
  }
}

void Shard::on_accepted(io::AcceptedSocket socket) {
  const CoreId target(next_core_);
  next_core_ = next_core_ + 1 == mesh_.cores() ? 0 : next_core_ + 1;
  if (target == options_.core) {
    broker_.adopt(socket);
  } else {
    post(target, {.kind = MessageKind::adopt, .socket = socket.fd});
  }
}

// --- peers ------------------------------------------------------------------------------------------------

void Shard::open_peer_door() {
  if (options_.core != CoreId(0) || options_.peers.empty()) return;
  peer_door_ = std::make_unique<PeerDoor>(env_, log_, [this](std::unique_ptr<PeerVisit> visit) {
    // A group that this node does not have: any other one refuses in its name.
    const std::uint32_t group = visit->hello.group.value() < options_.groups ? visit->hello.group.value() : 0;
    const CoreId target(group % mesh_.cores());
    if (target == options_.core) return receive_peer(visit.release());
    post(target, {.kind = MessageKind::peer, .visit = visit.release()});
  });
  if (Status status = peer_door_->listen(options_.peer_listen_host, options_.peer_listen_port); !status) {
    control_.fail(status.error().message);
  }
}

void Shard::receive_peer(PeerVisit* visit) {
  const std::unique_ptr<PeerVisit> owned(visit);
  replica::Group* target = groups_.front().get();
  for (const auto& group : groups_) {
    if (group->id() == owned->hello.group) target = group.get();
  }
  target->accept(owned->hello, owned->socket);
}

// --- the groups' listener -------------------------------------------------------------------------------

void Shard::on_metadata(GroupId, Index index, ByteView command) {
  broker::on_metadata(broker_, index, command);
}
void Shard::on_coordinator(GroupId group, Index index, WallMs timestamp, ByteView command) {
  broker::on_coordinator(broker_, group, index, timestamp, command);
}
void Shard::save_metadata(GroupId group, std::vector<std::byte>& out) {
  broker::save_metadata(broker_, group, out);
}
Status Shard::load_metadata(GroupId group, ByteView state) {
  return broker::load_metadata(broker_, group, state);
}
void Shard::on_partition(GroupId group, replica::Partition& partition) {
  broker::on_partition(broker_, group, partition);
}
void Shard::on_leading(GroupId group, Term term) {
  broker::announce_leader(broker_, group, options_.broker.node, term);
}
void Shard::on_leader_changed(GroupId group, NodeId leader, Term term) {
  // Of this node on_leading speaks, once it may assign offsets.
  const bool self = leader == options_.broker.node;
  broker::announce_leader(broker_, group, self ? NodeId(0) : leader, term);
}
void Shard::on_service(GroupId group, NodeId from, peer::Service service, ByteView payload) {
  broker::on_service(broker_, group, from, service, payload);
}
void Shard::on_failed(GroupId group, const std::string& what) {
  log_.error("group_failed", {{"group", group}, {"what", what}});
  control_.fail(what);
}

void Shard::on_damaged(GroupId group, const std::string& what) {
  log_.error("group_damaged", {{"group", group},
                               {"what", what},
                               {"next",
                                "the process starts anew, puts the group's data aside and learns it "
                                "from the other nodes"}});
  control_.starts_anew.store(true, std::memory_order_relaxed);  // published by fail()
  control_.fail(what);
}

Status Shard::open_groups() {
  std::vector<GroupId> owned;
  for (std::uint32_t id = options_.core.value(); id < options_.groups; id += mesh_.cores())
    owned.emplace_back(id);
  if (owned.empty()) return {};
  const std::uint64_t bytes = options_.frame_arena_bytes / owned.size() / kBlockBytes * kBlockBytes;
  void* memory =
      ::mmap(nullptr, bytes * owned.size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) {
    return fail(Errc::busy,
                "cannot reserve " + std::to_string(bytes * owned.size()) +
                    " bytes for frames: lower tuning.memory.frame_arena_bytes or free some memory");
  }
  arena_ = {static_cast<std::byte*>(memory), bytes * owned.size()};
  ::madvise(memory, arena_.size(), MADV_HUGEPAGE);
  loop_.register_memory(arena_);
  resources_ = store::Resources::create(loop_, &files_);
  for (std::size_t i = 0; i < owned.size(); ++i) {
    replica::GroupOptions group = options_.group;
    group.id = owned[i];
    const std::string name = "/group-" + std::to_string(owned[i].value());
    group.data_directory = options_.data_directory + name;
    group.wal.directory = options_.wal_directory + name + "/wal";
    group.wal.group = owned[i];
    group.store.resources = resources_.get();
    group.ring_memory = arena_.subspan(i * bytes, bytes);
    group.seed = options_.seed + owned[i].value();
    group.peers = options_.peers;
    group.cluster_name = options_.broker.cluster_id;
    group.cluster_secret = options_.cluster_secret;
    if (Status status = files_.make_directories(group.wal.directory); !status) return status;
    auto opened =
        replica::Group::open(env_, log_, group, *this, [this] { loop_.poll(loop_.now() + kMillisecond); });
    if (!opened) return std::unexpected(std::move(opened.error()));
    groups_.push_back(std::move(*opened));
    put_aside_.add(groups_.back()->stats().put_aside);
    broker_.add_group(*groups_.back());
  }
  return {};
}

// --- the agent --------------------------------------------------------------------------------------------

void Shard::pin() {
  if (!options_.cpu) return;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(*options_.cpu, &set);
  if (::pthread_setaffinity_np(::pthread_self(), sizeof set, &set) != 0) {
    log_.warn("pin_failed", {{"core", options_.core}, {"cpu", *options_.cpu}});
  }
}

void Shard::run() {
  pin();
  if (!start()) return;
  while (step()) {
  }
}

bool Shard::start() {
  loop_.poll(0);  // binds the loop to this thread
  if (Status status = open_groups(); !status) {
    control_.fail(status.error().message);
    return false;
  }
  control_.shards_recovered.fetch_add(1, std::memory_order_acq_rel);
  control_.wake_main();
  return true;
}

bool Shard::step() {
  if (asleep_) {
    mesh_.end_sleep(options_.core);
    asleep_ = false;
  }
  if (!control_.failed.load(std::memory_order_relaxed)) {
    const Nanos now = loop_.now();
    const std::uint32_t work = turn(now);
    if (phase_ != Phase::stopped) {
      wait(work, now);
      return true;
    }
  }
  control_.shards_stopped.fetch_add(1, std::memory_order_acq_rel);
  control_.wake_main();
  return false;
}

std::uint32_t Shard::turn(Nanos now) {
  std::uint32_t work = flush_outbox();
  work +=
      mesh_.drain(options_.core, kMeshBudget, [this](CoreId, const Message& message) { handle(message); });
  work += advance_phase(now);
  if (phase_ == Phase::stopped) return work;
  work += broker_.do_work(now);
  // Until every group of the node has recovered nothing is written: a refused start changes no file.
  if (control_.all_recovered.load(std::memory_order_acquire)) {
    for (const auto& group : groups_) work += group->do_work(now);
  }
  if (peer_door_ != nullptr) work += peer_door_->do_work(now);
  mesh_.flush(options_.core);
  return work;
}

std::uint32_t Shard::advance_phase(Nanos now) {
  switch (phase_) {
    case Phase::recovered:
      // Only when every core is up can broadcasts reach all of them.
      if (!control_.all_recovered.load(std::memory_order_acquire)) return 0;
      if (peer_door_ == nullptr) open_peer_door();
      if (options_.core != CoreId(0)) {
        phase_ = Phase::serving;
      } else if (broker::controller_may_start(broker_)) {
        broker::start_controller(broker_);
        phase_ = Phase::leading;
      }
      return 1;
    case Phase::leading:
      if (!broker::controller_ready(broker_, now)) return 0;
      begin_serving();
      return 1;
    case Phase::serving:
      if (!control_.stop.load(std::memory_order_acquire)) return 0;
      phase_ = Phase::handing_over;
      for (const auto& group : groups_) group->begin_handover();
      return 1;
    case Phase::handing_over:
      // Meanwhile clients are told where to go.
      if (!std::all_of(groups_.begin(), groups_.end(),
                       [](const auto& group) { return group->handed_over(); }))
        return 0;
      phase_ = Phase::draining;
      if (options_.core == CoreId(0)) loop_.stop_listening();
      if (peer_door_ != nullptr) peer_door_->shutdown();
      broker_.begin_shutdown();
      drain_deadline_ = now + kDrainTimeout;
      return 1;
    case Phase::draining:
      if (!broker_.quiet() && now < drain_deadline_) return 0;
      broker_.close_all();
      control_.shards_drained.fetch_add(1, std::memory_order_acq_rel);
      phase_ = Phase::closing;
      return 1;
    case Phase::closing:
      // Core 0 may have dealt out one more connection before it stopped listening.
      if (broker_.connection_count() > 0) broker_.close_all();
      // Other cores may still need our groups until they have drained, too.
      if (control_.shards_drained.load(std::memory_order_acquire) < mesh_.cores()) return 0;
      for (const auto& group : groups_) group->begin_shutdown();
      if (!std::all_of(groups_.begin(), groups_.end(), [](const auto& group) { return group->stopped(); }))
        return 0;
      if (loop_.disk_ops_in_flight() > 0 || broker_.connection_count() > 0) return 0;
      if (peer_door_ != nullptr && !peer_door_->stopped()) return 0;
      phase_ = Phase::stopped;
      return 1;
    case Phase::stopped: return 0;
  }
  ESC_UNREACHABLE("phase");
}

void Shard::begin_serving() {
  auto port = loop_.listen(options_.listen_host, options_.listen_port, *this);
  if (!port) {
    control_.fail(port.error().message);
    return;
  }
  phase_ = Phase::serving;
  control_.listen_port.store(*port, std::memory_order_release);
  broker::announce_port(broker_, *port);
  control_.wake_main();
}

Nanos Shard::next_deadline(Nanos now) const {
  Nanos deadline = now + kSleepMax;
  for (const auto& group : groups_) deadline = std::min(deadline, group->next_deadline());
  if (peer_door_ != nullptr) deadline = std::min(deadline, peer_door_->next_deadline());
  return deadline;
}

// Busy: no waiting. Otherwise the idle strategy decides between polling and sleeping.
void Shard::wait(std::uint32_t work, Nanos now) {
  if (work > 0) last_work_ = now;
  const bool spin = options_.idle == Idle::spin ||
                    (options_.idle == Idle::adaptive && now - last_work_ < options_.idle_spin);
  if (work > 0 || spin || !outbox_.empty()) {
    if (loop_.poll(0) > 0) last_work_ = now;
    return;
  }
  asleep_ = mesh_.prepare_sleep(options_.core);  // until the next step begins
  if (loop_.poll(asleep_ ? next_deadline(now) : 0) > 0) last_work_ = loop_.now();
}

}  // namespace esc::shard
