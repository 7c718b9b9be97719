#include "host.h"

#include <algorithm>
#include <utility>

#include "esc/wire/record_batch.h"

namespace esc::escsim {
namespace {

constexpr std::uint32_t kMeshCapacity = 64;  // small, so that full rings happen
constexpr std::string_view kClusterId = "escsim";
constexpr std::uint64_t kClusterNumber = 0xE5C5;

class SimWaker final : public ring::Waker {
 public:
  explicit SimWaker(std::vector<std::unique_ptr<sim::SimLoop>>& loops) : loops_(loops) {}
  void wake(CoreId from, CoreId target) override { loops_[target.value()]->wake_from(*loops_[from.value()]); }

 private:
  std::vector<std::unique_ptr<sim::SimLoop>>& loops_;
};

}  // namespace

std::string directory_of(std::uint32_t number) {
  return "/node-" + std::to_string(number);
}

Host::Host(World& world, std::uint32_t number, Prng prng)
    : world_(world),
      number_(number),
      name_("node" + std::to_string(number)),
      prng_(prng),
      files_(prng.fork(1)),
      read_buffer_(256 * 1024) {
  if (world.scenario.clock_offset_max > 0)
    host_clock_.offset = prng_.between(0, world.scenario.clock_offset_max);
  if (world.scenario.drift_ppm_max > 0)
    host_clock_.drift_ppm = prng_.between(-world.scenario.drift_ppm_max, world.scenario.drift_ppm_max);
}

Host::~Host() {
  if (running()) take_down();
}

shard::ShardOptions Host::shard_options(std::uint32_t core) {
  const Scenario& s = world_.scenario;
  shard::ShardOptions options;
  options.core = CoreId(core);
  options.groups = s.groups;
  options.idle = shard::Idle::park;
  options.frame_arena_bytes = s.frame_arena_bytes;
  options.listen_host = sim::address_of(number_);
  options.listen_port = kKafkaPort;
  for (std::uint32_t other = 1; other <= s.nodes; ++other) {
    if (other == number_) continue;
    options.peers.push_back({NodeId(other), sim::address_of(other), kPeerPort});
  }
  options.peer_listen_host = sim::address_of(number_);
  options.peer_listen_port = kPeerPort;
  options.cluster_secret = "one secret for all";
  options.data_directory = directory_of(number_);
  options.wal_directory = directory_of(number_);
  options.seed = prng_.next();

  replica::GroupOptions& group = options.group;
  group.store.punch_bytes = 8 * kKiB;  // segments are small here
  group.node = node();
  for (std::uint32_t member = 1; s.nodes > 1 && member <= s.nodes; ++member)
    group.members.voters.push_back(NodeId(member));
  group.cluster_id = kClusterNumber;
  group.retain_bytes = s.retain_bytes;
  group.rebalance_after = s.rebalance_after;
  group.recovery_bytes_per_second = s.recovery_bytes_per_second;
  group.frame_bytes_max = s.frame_bytes_max;
  group.batch_events_max = s.batch_events_max;
  group.batch_delay = s.batch_delay;
  group.checkpoint_interval = s.checkpoint_interval;
  group.checkpoint_bytes = s.checkpoint_bytes;
  group.wal.cluster_id = kClusterNumber;
  group.wal.node = node();
  group.wal.segment_bytes = s.wal_segment_bytes;
  group.wal.initial_segment_bytes = s.wal_segment_bytes;
  group.wal.bytes_max = s.wal_bytes_max;
  group.wal.depth = s.wal_depth;

  broker::BrokerOptions& broker = options.broker;
  broker.node = node();
  broker.cluster_id = kClusterId;
  for (std::uint32_t member = 1; s.nodes > 1 && member <= s.nodes; ++member)
    broker.nodes.push_back({.node = NodeId(member),
                            .host = sim::address_of(member),
                            .port = kKafkaPort,
                            .peer_host = sim::address_of(member),
                            .peer_port = kPeerPort});
  broker.advertised_host = sim::address_of(number_);
  broker.advertised_port = kKafkaPort;
  broker.auto_create_topics = false;
  broker.topic_defaults = {-1, -1, static_cast<std::int64_t>(s.segment_bytes), 16 * 1024};
  broker.groups = s.groups;
  broker.request_pool_bytes = 1 * kMiB;
  broker.response_pool_bytes = (s.wide_requests ? 9 : 1) * kMiB;  // for lookups by time, one or two
  broker.request_bytes_max = 256 * 1024;
  broker.connection_bytes_max = 256 * 1024;
  broker.fetch_bytes_max = 64 * 1024;
  broker.receive_buffers = s.loop.receive_buffers;
  broker.groups_options.initial_rebalance_delay = 100 * kMillisecond;
  broker.groups_options.session_timeout_ms_min = 100;
  broker.groups_options.command_bytes_max = s.frame_bytes_max / 2;
  if (world_.plant != nullptr) world_.plant->apply(options);
  return options;
}

void Host::build() {
  const Scenario& s = world_.scenario;
  sim_files_ = std::make_unique<sim::SimFiles>(files_);
  registry_ = std::make_unique<obs::Registry>();
  control_ = std::make_unique<shard::NodeControl>();
  waker_ = std::make_unique<SimWaker>(loops_);
  for (std::uint32_t core = 0; core < s.cores; ++core) {
    sim::SimLoopOptions options = s.loop;
    options.host = number_;
    loops_.push_back(std::make_unique<sim::SimLoop>(world_.clock, world_.network, files_, host_clock_,
                                                    prng_.fork(boots_ * 16 + core + 2), options));
  }
  mesh_ = std::make_unique<shard::Mesh>(s.cores, kMeshCapacity, *waker_);
  for (std::uint32_t core = 0; core < s.cores; ++core) {
    obs::Scope& metrics = registry_->scope({{"core", std::to_string(core)}});
    const std::string source = name_ + "." + std::to_string(core);
    shards_.push_back(std::make_unique<shard::Shard>(
        shard_options(core), *loops_[core], *sim_files_, *mesh_,
        world_.logger == nullptr ? obs::LogSource() : world_.logger->source(source), metrics, *control_));
  }
  finished_.assign(s.cores, false);
}

void Host::boot() {
  ESC_ASSERT(!running());
  ++boots_;
  powered_ = true;
  paused_ = false;
  world_.trace.event(name_, "boots, number {}", boots_);
  world_.network.boot(number_);
  build();
  // A start does not know what the process before it has met.
  if (latent_ && latent_->armed) arm_unreadable();
  if (fuse_ > 0) files_.break_after(std::exchange(fuse_, 0));
  starting_ = true;
  for (auto& loop : loops_) loop->set_blocking(true);
  bool ok = true;
  for (auto& shard : shards_) ok = ok && shard->start();
  for (auto& loop : loops_) loop->set_blocking(false);
  starting_ = false;
  const bool fused = files_.broken();
  files_.mend();
  if (crash_pending_ || fused) return crash(crash_pending_.value_or(sim::CrashKind::power));
  if (!ok) return exit_process(control_->failure());
  for (std::uint32_t core = 0; core < loops_.size(); ++core) {
    loops_[core]->set_run([this, core] { run_core(core); });
    loops_[core]->start();
  }
}

void Host::run_core(std::uint32_t core) {
  if (finished_[core]) return;
  const std::uint32_t work = loops_[core]->deliver();
  world_.trace.fold(number_ * 16 + core, work, files_.operations());
  if (!shards_[core]->step()) finished_[core] = true;
  after_step(core);
}

void Host::after_step(std::uint32_t core) {
  if (control_->release_recovered(static_cast<std::uint32_t>(shards_.size()))) {
    for (auto& loop : loops_) loop->wake();
  }
  // Also of a node that has just failed: what it acknowledged before is on its way.
  for (const auto& group : shards_[core]->groups()) observe_group(*group);
  const bool failed = control_->failed.load();
  if (!failed && !std::ranges::all_of(finished_, [](bool done) { return done; })) return;
  // Not from inside the loop's own callback.
  world_.clock.schedule(world_.clock.now(), [this, failed, number = boots_] {
    if (number != boots_ || !running()) return;
    if (failed) return exit_process(control_->failure());
    world_.trace.event(name_, "has stopped");
    last_failure_.clear();
    take_down();
    files_.crash(sim::CrashKind::process);
  });
}

void Host::exit_process(const std::string& why) {
  if (control_->starts_anew.load() && !rotten() && excused_.empty())
    world_.model.fail(fmt::format("{} finds damage where there is none: {}", name_, why));
  world_.trace.event(name_, "exits: {}", why);
  last_failure_ = why;
  crash(sim::CrashKind::process);
}

void Host::crash(sim::CrashKind kind) {
  if (!running()) {
    if (kind == sim::CrashKind::power && powered_) {
      powered_ = false;
      files_.crash(kind);
      world_.network.kill(number_, true);
    }
    return;
  }
  if (starting_) {
    // Recovery is on the stack below us: everything it touches fails from now on, and it unwinds.
    if (!crash_pending_ || kind == sim::CrashKind::power) crash_pending_ = kind;
    files_.break_after(0);
    return;
  }
  crash_pending_.reset();
  world_.trace.event(name_, "{}", kind == sim::CrashKind::power ? "loses power" : "is killed");
  for (auto& loop : loops_) loop->crash(kind);
  powered_ = kind != sim::CrashKind::power;
  world_.network.kill(number_, !powered_);
  files_.crash(kind);
  take_down();
}

void Host::take_down() {
  for (auto& loop : loops_) loop->crash(sim::CrashKind::process);
  world_.network.kill(number_, !powered_);
  shards_.clear();
  mesh_.reset();
  loops_.clear();
  registry_.reset();
  seen_.clear();
  paused_ = false;
}

void Host::terminate() {
  if (!running() || starting_ || stopping()) return;
  world_.trace.event(name_, "gets SIGTERM");
  control_->stop.store(true);
  for (auto& loop : loops_) loop->wake();
}

void Host::pause(bool paused) {
  if (!running() || paused == paused_) return;
  paused_ = paused;
  if (latent_) latent_->met = false;
  world_.trace.event(name_, "{}", paused ? "is stopped (SIGSTOP)" : "continues");
  for (auto& loop : loops_) loop->pause(paused);
}

// --- faults ---

void Host::stall_disk(Nanos until, const std::string& path_part) {
  for (auto& loop : loops_) loop->disk().stall_until(until, path_part);
}

void Host::break_disk(std::uint64_t after) {
  const bool wal = prng_.chance(1, 2);
  files_.inject({.kind = prng_.chance(1, 4) ? io::DiskOp::Kind::sync_data : io::DiskOp::Kind::write,
                 .path_part = wal ? "/wal" : "/partitions",
                 .os_error = 5,
                 .skip = after,
                 .count = 1});
}

void Host::fill_disk(bool full) {
  files_.set_capacity(full ? files_.used_bytes() + prng_.below(64 * 1024) : UINT64_MAX);
}

// Nothing that this node has promised binds the next one.
void Host::replace_disk() {
  ESC_ASSERT(!running());
  world_.trace.event(name_, "gets a blank disk");
  files_.wipe();
  promises_.clear();
  incarnations_.clear();
  rotten_.clear();
  latent_.reset();
  excused_.clear();
}

raft::Incarnation Host::incarnation(GroupId id) const {
  const auto found = incarnations_.find(id);
  return found == incarnations_.end() ? raft::Incarnation(0) : found->second;
}

void Host::heal() {
  files_.clear_faults();
  files_.set_capacity(UINT64_MAX);
  fuse_ = 0;
  if (latent_ && latent_->unreadable) calm_unreadable();
  if (paused_) pause(false);
}

// --- observation ---

replica::Group* Host::group(GroupId id) const {
  for (const auto& shard : shards_) {
    for (const auto& group : shard->groups())
      if (group->id() == id) return group.get();
  }
  return nullptr;
}

std::string Host::state() const {
  std::string text = fmt::format("{}:{}{}{}", name_, running() ? "" : " off", paused_ ? " paused" : "",
                                 stopping() ? " stopping" : "");
  for (std::size_t core = 0; core < loops_.size(); ++core) {
    text += fmt::format(" core {}: {} disk operations, {} connections, {} buffers lent;", core,
                        loops_[core]->disk_ops_in_flight(), loops_[core]->connections_open(),
                        loops_[core]->receive_buffers_lent());
    for (const auto& group : shards_[core]->groups()) {
      text += fmt::format(" group {}: {} commit {} last {} durable {} wal in flight {} live {} space {}{};",
                          group->id().value(), to_string(group->accepting()), group->commit_index().value(),
                          group->core().last_index().value(), group->core().durable_index().value(),
                          group->wal().in_flight(), group->wal().live_bytes(),
                          group->wal().space() == wal::Space::ok ? "ok" : "low",
                          group->wal().can_write(kBlockBytes) ? "" : " cannot write");
      if (group->stats().appends_dropped > 0)
        text += fmt::format(" {} appends dropped;", group->stats().appends_dropped);
      for (const raft::Progress& peer : group->core().peers()) {
        text += fmt::format(" node {}: state {} match {} received {} next {} in flight {};",
                            peer.node.value(), static_cast<int>(peer.state), peer.match.value(),
                            peer.received.value(), peer.next.value(), peer.inflight.count());
      }
    }
  }
  return text;
}

void Host::observe() {
  for (const auto& shard : shards_) {
    for (const auto& group : shard->groups()) observe_group(*group);
  }
}

Host::View Host::view_of(const replica::Group& group) {
  const raft::Core& core = group.core();
  return {.hard_state = core.hard_state(),
          .durable_hard_state = core.durable_hard_state(),
          .incarnation = group.incarnation(),
          .leader = core.leader(),
          .is_leader = core.is_leader(),
          .leading = group.leading(),
          .last = core.last_index(),
          .last_term = core.log().last_term(),
          .durable = core.durable_index(),
          .snapshot = core.log().snapshot_index(),
          .commit = group.commit_index()};
}

void Host::observe_group(replica::Group& group) {
  const raft::Core& core = group.core();
  auto [entry, fresh] = seen_.try_emplace(group.id());
  Seen& seen = entry->second;
  const View view = view_of(group);
  if (!fresh && view == seen.view) return;
  seen.view = view;
  if (core.is_leader()) world_.model.leader(group.id(), core.term(), node(), boots_);
  if (fresh) check_repair(group);
  incarnations_[group.id()] = group.incarnation();
  if (fresh) compare_with_promise(group);
  if (core.term() < seen.term)
    world_.model.fail(fmt::format("{}: the term of group {} went back", name_, group.id().value()));
  if (core.leader() != seen.leader || core.term() != seen.term || group.leading() != seen.leading || fresh) {
    world_.trace.event(name_, "group {}: term {} leader {}{} last {} commit {}", group.id().value(),
                       core.term().value(), core.leader().value(), group.leading() ? " (leading)" : "",
                       core.last_index().value(), group.commit_index().value());
  }
  seen.leader = core.leader();
  seen.term = core.term();
  seen.leading = group.leading();
  const bool led_before = core.is_leader() && seen.led == core.term();
  observe_log(group);
  const Index commit = group.commit_index();
  const raft::Configuration before = std::exchange(seen.members, core.configuration());
  if (commit == seen.commit) return;
  // Raft 5.4.2: what a leader commits by counting is of its own term.
  if (led_before && core.log().term_at(commit) != core.term()) {
    world_.model.fail(fmt::format("{}: group {}: the leader of term {} has committed entry {} of term {}",
                                  name_, group.id().value(), core.term().value(), commit.value(),
                                  core.log().term_at(commit).value()));
  }
  if (led_before) world_.model.counted(group.id(), commit, core.term(), node(), seen.members, before);
  if (commit < seen.commit)
    world_.model.fail(fmt::format("{}: the commit index of group {} went back", name_, group.id().value()));
  world_.trace.fold(number_, group.id().value(), commit.value());
  for (Index at = std::max(seen.commit.next(), core.log().snapshot_index().next()); at <= commit; ++at)
    world_.model.committed_entry(group.id(), at, core.log().term_at(at), node(), core.term());
  seen.commit = commit;
  for (replica::Partition* partition : group.partitions()) observe_partition(group, *partition);
}

void Host::observe_files() {
  for (const auto& shard : shards_) {
    for (const auto& group : shard->groups()) {
      const std::string parent =
          fmt::format("{}/group-{}/partitions", directory_of(number_), group->id().value());
      for (const replica::Partition* partition : group->partitions()) {
        const std::string directory = fmt::format("{}/{}-{}-{}", parent, partition->id().value(),
                                                  partition->identity().topic, partition->identity().index);
        observe_segments(directory, *partition);
      }
    }
  }
}

void Host::observe_segments(const std::string& directory, const replica::Partition& partition) {
  std::vector<io::DirectoryEntry> entries;
  const std::int64_t end = partition.log().next_offset().value();
  if (end == partition.log_start_offset().value()) return;  // there need not be a directory yet
  if (files_.list(directory, entries) != 0) return world_.model.fail(directory + " does not exist");
  std::map<std::string, std::uint64_t> segments;  // names begin with the base offset
  for (const io::DirectoryEntry& entry : entries)
    if (entry.name.ends_with(".log")) segments.emplace(entry.name, entry.bytes);
  std::int64_t next = -1;
  for (const auto& [name, size] : segments) {
    if (read_buffer_.size() < size) read_buffer_.resize(size);
    std::uint64_t read = 0;
    int fd = -1;
    const bool ok =
        files_.open(directory + "/" + name, {}, fd) == 0 && files_.read(fd, 0, read_buffer_, read) == 0;
    if (fd >= 0) (void)files_.close(fd);
    if (!ok) return world_.model.fail(directory + "/" + name + " cannot be read");
    wire::BatchIterator batches(ByteView(read_buffer_).first(read));
    while (const auto batch = batches.next()) {
      // What lies behind the log's end may be torn, its base offset, too, which no checksum covers: left by a
      // power cut, written anew from the WAL.
      if (next >= end || batch->base_offset() >= end) break;
      if (next >= 0 && batch->base_offset() != next)
        return world_.model.fail(
            fmt::format("{}/{}: offset {} follows {}", directory, name, batch->base_offset(), next - 1));
      world_.model.committed_batch(world_.model.number_of(partition.identity()), *batch, name_ + " (files)");
      next = batch->next_offset();
    }
  }
  if (next < end)
    world_.model.fail(fmt::format("{}: the files end at offset {}, not {}", directory, next, end));
}

// Raft 5.4.3, leader completeness: whoever is elected has everything that was committed in earlier terms.
void Host::observe_log(replica::Group& group) {
  const raft::Core& core = group.core();
  Seen& seen = seen_[group.id()];
  const raft::TermRuns& log = core.log();
  const bool truncated = core.last_index() < seen.last ||
                         (seen.last > log.snapshot_index() && log.term_at(seen.last) != seen.last_term);
  seen.last = core.last_index();
  seen.last_term = log.last_term();
  promises_[group.id()] = {
      core.durable_hard_state(), core.durable_index(),
      core.durable_index() > log.snapshot_index() ? log.term_at(core.durable_index()) : Term(0)};
  const Index durable = core.durable_index();
  if (durable >= log.snapshot_index())
    world_.model.durable(group.id(), node(), durable, log.term_at(durable));
  if (truncated) world_.moment(*this, Moment::truncated);
  if (!core.is_leader() || seen.led == core.term()) return;
  seen.led = core.term();
  world_.model.complete(group.id(), core.term(), node(), log);
  world_.moment(*this, Moment::elected);
}

// After a boot: neither a vote nor an entry that was called durable is forgotten.
void Host::compare_with_promise(const replica::Group& group) {
  const auto found = promises_.find(group.id());
  if (found == promises_.end()) return;
  const Promise& promise = found->second;
  const raft::Core& core = group.core();
  const raft::HardState now = core.hard_state();
  const raft::HardState then = promise.hard_state;
  if (now.term < then.term || (now.term == then.term && then.vote != NodeId(0) && now.vote != then.vote)) {
    return world_.model.fail(fmt::format(
        "{}: group {}: the vote for node {} in term {} was durable, now it is node {} in term {}", name_,
        group.id().value(), then.vote.value(), then.term.value(), now.vote.value(), now.term.value()));
  }
  const bool known = promise.index > core.log().snapshot_index();
  if (core.last_index() < promise.index ||
      (known && promise.term != Term(0) && core.log().term_at(promise.index) != promise.term)) {
    world_.model.fail(fmt::format("{}: group {}: entry {} of term {} was durable and is not there any more",
                                  name_, group.id().value(), promise.index.value(), promise.term.value()));
  }
}

// What was committed since the last look, as long as it is in the tail; consumers see the rest.
void Host::observe_partition(replica::Group& group, replica::Partition& partition) {
  auto [entry, fresh] = seen_[group.id()].offsets.try_emplace(partition.id(), partition.log_start_offset());
  Offset& at = entry->second;
  const Offset end = partition.high_watermark();
  if (end < at && !fresh) {
    world_.model.fail(
        fmt::format("{}: the high watermark of partition {} went back", name_, partition.identity().index));
    return;
  }
  const std::int32_t number = world_.model.number_of(partition.identity());
  while (at < end) {
    if (!group.in_tail(partition, at)) {
      // Recovered into the files already.
      at = at.next();
      continue;
    }
    const auto read = group.read_tail(partition, at, read_buffer_);
    if (read.bytes == 0) break;
    wire::BatchIterator batches(ByteView(read_buffer_).first(read.bytes));
    while (const auto batch = batches.next()) world_.model.committed_batch(number, *batch, name_);
    at = read.next;
  }
}

}  // namespace esc::escsim
