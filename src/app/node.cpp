#include "esc/app/node.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "data_directory.h"
#include "esc/app/build_info.h"
#include "esc/io/loop_waker.h"
#include "esc/io/posix_files.h"
#include "esc/io/uring_loop.h"
#include "esc/obs/log.h"
#include "esc/obs/metrics.h"
#include "esc/ops/http_server.h"
#include "esc/ops/pages.h"
#include "esc/shard/shard.h"
#include "thread_memory.h"

namespace esc::app {
namespace {

constexpr std::uint32_t kMeshCapacity = 1024;
constexpr int kHousekeepingMs = 50;

shard::Idle to_idle(topo::IdleStrategy strategy) {
  switch (strategy) {
    case topo::IdleStrategy::park: return shard::Idle::park;
    case topo::IdleStrategy::adaptive: return shard::Idle::adaptive;
    case topo::IdleStrategy::spin: return shard::Idle::spin;
  }
  ESC_UNREACHABLE("idle strategy");
}

// sd_notify(3): one datagram to the socket that the service manager names.
void notify_service_manager(std::string_view state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == '\0') return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  ::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&address), size);
  ::close(fd);
}

// Hidden switch of the fault tests: the n-th entry frame fails as if the device had answered EIO.
std::uint64_t injected_fault() {
  const char* text = std::getenv("ESC_FAULT_WAL_EIO_AFTER_FRAMES");
  std::uint64_t frames = 0;
  if (text != nullptr) std::from_chars(text, text + std::strlen(text), frames);
  return frames;
}

coord::Options coordinator_options(const TuningConfig& tuning) {
  const ConsumerGroupTuning& groups = tuning.consumer_groups;
  coord::Options options;
  options.initial_rebalance_delay = Nanos{groups.initial_rebalance_delay_ms} * kMillisecond;
  options.session_timeout_ms_min = static_cast<std::int32_t>(groups.session_timeout_min_ms);
  options.session_timeout_ms_max = static_cast<std::int32_t>(groups.session_timeout_max_ms);
  options.group_members_max = groups.members_max;
  options.groups_max = groups.groups_max;
  options.state_bytes_max = groups.state_bytes_max;
  options.offsets_retention_ms = groups.offsets_retention_ms;
  // A command must fit a frame, whose rest is headers and padding.
  options.command_bytes_max = std::min(options.command_bytes_max, tuning.batch.frame_bytes_max / 2);
  return options;
}

shard::ShardOptions shard_options(const Config& config, const NodeIdentity& identity, const topo::Plan& plan,
                                  std::uint32_t core) {
  const TuningConfig& tuning = config.tuning;
  shard::ShardOptions options;
  options.core = CoreId(core);
  options.groups = identity.groups;
  if (plan.cores[core].pinned) options.cpu = plan.cores[core].cpu;
  options.idle = to_idle(plan.idle);
  options.idle_spin = Nanos{tuning.idle_spin_us} * kMicrosecond;
  options.frame_arena_bytes = tuning.memory.frame_arena_bytes;
  options.listen_host = config.kafka.listen.host;
  options.listen_port = config.kafka.listen.port;
  options.data_directory = config.data_dir;
  options.wal_directory = config.wal_dir;
  options.seed = std::random_device{}();

  options.cluster_secret = config.cluster.secret;
  for (const ClusterNode& node : config.cluster.nodes) {
    if (node.id == config.node.id) {
      options.peer_listen_host = node.peer.host;
      options.peer_listen_port = node.peer.port;
    } else {
      options.peers.push_back({node.id, node.peer.host, node.peer.port});
    }
  }

  replica::GroupOptions& group = options.group;
  group.node = config.node.id;
  // Who joins founds nothing: without voters to be it waits for a cluster's word.
  for (const ClusterNode& node : config.cluster.nodes) {
    if (!config.cluster.join) group.members.voters.push_back(node.id);
  }
  group.timeouts = {.heartbeat_interval = Nanos{tuning.raft.heartbeat_ms} * kMillisecond,
                    .election_timeout_min = Nanos{tuning.raft.election_min_ms} * kMillisecond,
                    .election_timeout_max = Nanos{tuning.raft.election_max_ms} * kMillisecond,
                    .disk_stall = Nanos{tuning.raft.disk_stall_ms} * kMillisecond};
  group.began_alone = identity.began_alone;
  group.cluster_id = identity.cluster_number;
  group.frame_bytes_max = tuning.batch.frame_bytes_max;
  group.batch_events_max = tuning.batch.events_max;
  group.batch_delay = Nanos{tuning.batch.delay_us} * kMicrosecond;
  group.checkpoint_interval = Nanos{tuning.checkpoint.interval_ms} * kMillisecond;
  group.checkpoint_bytes = tuning.checkpoint.bytes;
  group.compaction_bytes_per_second = tuning.compaction.bytes_per_second;
  group.compaction_memory_bytes = tuning.compaction.memory_bytes;
  group.retention_interval = Nanos{tuning.retention_check_interval_ms} * kMillisecond;
  group.fail_frame_after = injected_fault();
  group.wal.cluster_id = identity.cluster_number;
  group.wal.node = config.node.id;
  group.wal.segment_bytes = tuning.wal.segment_bytes;
  group.wal.bytes_max = tuning.wal.bytes_max;
  group.wal.spares_min = tuning.wal.spare_segments;
  group.wal.depth = tuning.wal.depth;

  broker::BrokerOptions& broker = options.broker;
  broker.node = config.node.id;
  broker.cluster_id = identity.cluster_id;
  for (const ClusterNode& node : config.cluster.nodes) {
    broker.nodes.push_back({.node = node.id,
                            .host = node.kafka.host,
                            .port = node.kafka.port,
                            .peer_host = node.peer.host,
                            .peer_port = node.peer.port});
  }
  const HostPort advertised = config.kafka.advertise.value_or(config.kafka.listen);
  broker.advertised_host = advertised.host;
  broker.advertised_port = advertised.port;
  broker.auto_create_topics = config.topics.auto_create;
  broker.default_partitions = static_cast<std::int32_t>(config.topics.default_partitions);
  broker.topic_defaults = {config.topics.retention_ms, config.topics.retention_bytes,
                           static_cast<std::int64_t>(config.topics.segment_bytes),
                           static_cast<std::int64_t>(config.topics.max_message_bytes)};
  broker.groups = identity.groups;
  broker.request_bytes_max = tuning.limits.request_bytes_max;
  broker.connection_requests_max = tuning.limits.connection_requests_max;
  broker.connection_bytes_max = tuning.limits.connection_bytes_max;
  broker.topics_max = tuning.limits.topics_max;
  broker.partitions_max = tuning.limits.partitions_max;
  broker.request_pool_bytes = tuning.memory.request_bytes;
  broker.response_pool_bytes = tuning.memory.fetch_bytes;
  broker.receive_buffers = tuning.memory.receive_buffer_count;
  broker.groups_options = coordinator_options(tuning);
  return options;
}

io::LoopOptions loop_options(const Config& config, const topo::Plan& plan, obs::Scope& metrics) {
  io::LoopOptions options;
  options.connections_max = config.tuning.limits.connections_max;
  options.receive_buffers = config.tuning.memory.receive_buffer_count;
  options.receive_buffer_bytes = config.tuning.memory.receive_buffer_bytes;
  options.spin_yield = plan.idle != topo::IdleStrategy::park;
  options.worker_cpus = plan.io_worker_cpus.to_vector();
  if (!config.tuning.net.zero_copy_send) options.zero_copy_bytes_min = 0;
  options.zero_copy_sends =
      &metrics.counter("esc_zero_copy_sends_total", "Sends to other nodes handed over without a copy.");
  options.zero_copy_ended = &metrics.counter(
      "esc_zero_copy_ended_total", "Connections between nodes whose sends the kernel copies after all.");
  return options;
}

// A descriptor per connection and per open segment: take all that the system allows.
void raise_file_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

// The same program with the same arguments in this process: service managers notice nothing, and nothing is
// left of what the shards had in memory or on its way to the disk. Returns only with why it failed.
std::string start_anew() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string command{std::istreambuf_iterator<char>(file), {}};
  if (command.empty() || command.back() != '\0') return "/proc/self/cmdline cannot be read";
  std::vector<char*> arguments;
  for (std::size_t at = 0; at < command.size(); at = command.find('\0', at) + 1)
    arguments.push_back(command.data() + at);
  arguments.push_back(nullptr);
  ::execv("/proc/self/exe", arguments.data());
  return std::string("execv: ") + std::strerror(errno);
}

// A thread beside the data cores: named, on the CPUs that the plan leaves to such, with memory of its own.
void prepare_housekeeping_thread(const char* name, const topo::CpuSet& cpus) {
  ::pthread_setname_np(::pthread_self(), name);
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const std::uint32_t cpu : cpus.to_vector()) CPU_SET(cpu, &set);
  (void)::pthread_setaffinity_np(::pthread_self(), sizeof set, &set);  // a wish: it runs anywhere
  use_own_arena();
}

class Node {
 public:
  Node(const Config& config, const topo::Plan& plan)
      : config_(config),
        plan_(plan),
        logger_(
            {.level = static_cast<obs::Level>(3 - static_cast<int>(config.log.level)),
             .format = config.log.format == LogFormat::json ? obs::LogFormat::json : obs::LogFormat::text}),
        log_(logger_.source("main")) {}

  int run();

 private:
  [[nodiscard]] Status check_ring_sizes(std::uint32_t groups) const;
  [[nodiscard]] Status start_admin();
  [[nodiscard]] Status start(const NodeIdentity& identity);
  void supervise(const DataDirectory& directory);
  void on_signal();
  void on_progress(const DataDirectory& directory);
  int finish();

  const Config& config_;
  const topo::Plan& plan_;
  obs::Logger logger_;
  obs::LogSource log_;
  obs::Registry registry_;
  shard::NodeControl control_;
  io::PosixFiles files_;
  io::LoopWaker waker_;
  std::vector<std::unique_ptr<io::UringLoop>> loops_;
  std::unique_ptr<shard::Mesh> mesh_;
  std::vector<std::unique_ptr<shard::Shard>> shards_;
  std::vector<std::thread> threads_;
  std::atomic<ops::NodeState> state_{ops::NodeState::starting};
  std::unique_ptr<ops::HttpServer> admin_;  // reads registry_ and state_
  int signal_fd_ = -1;
};

// The groups of a core share its frame memory; how many they are is known only now.
Status Node::check_ring_sizes(std::uint32_t groups) const {
  const auto cores = static_cast<std::uint32_t>(plan_.cores.size());
  const std::uint32_t groups_per_core = (groups + cores - 1) / cores;
  const TuningConfig& tuning = config_.tuning;
  const std::uint64_t each = tuning.memory.frame_arena_bytes / groups_per_core;
  const std::uint64_t least = std::uint64_t{tuning.wal.depth + 1} * tuning.batch.frame_bytes_max;
  if (each >= least) return {};
  return fail(Errc::invalid_argument,
              "tuning.memory.frame_arena_bytes = " + std::to_string(tuning.memory.frame_arena_bytes) +
                  " is shared by " + std::to_string(groups_per_core) + " groups on a core (" +
                  std::to_string(groups) + " groups, " + std::to_string(cores) +
                  " cores): " + std::to_string(each) + " bytes each, but wal.depth " +
                  std::to_string(tuning.wal.depth) + " + 1 frames of batch.frame_bytes_max need " +
                  std::to_string(least) + ": raise it (and budget_bytes), or use more cores or fewer groups");
}

Status Node::start_admin() {
  if (!config_.admin.listen) return {};
  const HostPort& address = *config_.admin.listen;
  auto server = ops::HttpServer::start(
      {.host = address.host,
       .port = address.port,
       .prepare_thread = [this] { prepare_housekeeping_thread("esc-admin", plan_.housekeeping_cpus); }},
      ops::node_pages(registry_, {.version = ESC_VERSION, .commit = build_commit()},
                      [this] { return state_.load(std::memory_order_relaxed); }));
  if (!server) {
    return fail(server.error().code, "admin.listen = \"" + to_string(address) +
                                         "\": " + server.error().message + "; \"\" switches these pages off");
  }
  admin_ = std::move(*server);
  return {};
}

Status Node::start(const NodeIdentity& identity) {
  const auto cores = static_cast<std::uint32_t>(plan_.cores.size());
  mesh_ = std::make_unique<shard::Mesh>(cores, kMeshCapacity, waker_);
  for (std::uint32_t core = 0; core < cores; ++core) {
    obs::Scope& metrics = registry_.scope({{"core", std::to_string(core)}});
    auto loop = io::UringLoop::create(loop_options(config_, plan_, metrics));
    if (!loop) return std::unexpected(std::move(loop.error()));
    waker_.add(**loop);
    loops_.push_back(std::move(*loop));
    const std::string name = "core" + std::to_string(core);
    shards_.push_back(std::make_unique<shard::Shard>(shard_options(config_, identity, plan_, core),
                                                     *loops_.back(), files_, *mesh_, logger_.source(name),
                                                     metrics, control_));
  }
  logger_.set_synchronous(false);
  for (std::uint32_t core = 0; core < cores; ++core) {
    threads_.emplace_back([this, core] {
      const std::string name = "esc-core" + std::to_string(core);
      ::pthread_setname_np(::pthread_self(), name.c_str());
      use_own_arena();
      shards_[core]->run();
    });
  }
  return {};
}

void Node::on_signal() {
  signalfd_siginfo info{};
  if (::read(signal_fd_, &info, sizeof info) != sizeof info) return;
  log_.info("stopping", {{"signal", info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT"}});
  notify_service_manager("STOPPING=1");
  state_.store(ops::NodeState::stopping, std::memory_order_relaxed);
  control_.stop.store(true, std::memory_order_release);  // pairs with the shards' acquire load
  for (const auto& loop : loops_) loop->wake();
}

void Node::on_progress(const DataDirectory& directory) {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto drained = ::read(control_.main_wake_fd, &count, sizeof count);
  const auto cores = static_cast<std::uint32_t>(shards_.size());
  if (control_.release_recovered(cores)) {
    for (const auto& loop : loops_) loop->wake();
  }
  const std::uint32_t port = control_.listen_port.load(std::memory_order_acquire);
  if (state_.load(std::memory_order_relaxed) == ops::NodeState::starting && port != 0) {
    state_.store(ops::NodeState::ready, std::memory_order_relaxed);
    directory.write_port(static_cast<std::uint16_t>(port));
    const std::string admin =
        admin_ == nullptr ? "off" : to_string(HostPort{config_.admin.listen->host, admin_->port()});
    log_.info("ready", {{"kafka", config_.kafka.listen.host + ":" + std::to_string(port)},
                        {"admin", admin},
                        {"data", config_.data_dir},
                        {"profile", config_.profile},
                        {"cores", cores},
                        {"groups", directory.identity().groups},
                        {"cluster_id", directory.identity().cluster_id}});
    notify_service_manager("READY=1\nSTATUS=Serving Kafka clients on port " + std::to_string(port));
  }
}

void Node::supervise(const DataDirectory& directory) {
  const auto cores = static_cast<std::uint32_t>(shards_.size());
  while (!control_.failed.load(std::memory_order_acquire) &&
         control_.shards_stopped.load(std::memory_order_acquire) < cores) {
    pollfd waits[] = {{signal_fd_, POLLIN, 0}, {control_.main_wake_fd, POLLIN, 0}};
    ::poll(waits, 2, kHousekeepingMs);
    logger_.drain();
    if ((waits[0].revents & POLLIN) != 0) on_signal();
    if ((waits[1].revents & POLLIN) != 0) on_progress(directory);
  }
}

int Node::finish() {
  admin_.reset();  // a new start of the process needs its port
  if (control_.failed.load(std::memory_order_acquire)) {
    logger_.drain();
    logger_.set_synchronous(true);
    if (control_.starts_anew.load(std::memory_order_relaxed)) {
      log_.warn("starting_anew", {{"cause", control_.failure()}});
      const std::string why = start_anew();
      log_.error("cannot_start_anew", {{"cause", why}, {"fix", "start escd again"}});
    }
    log_.error("exiting", {{"cause", control_.failure()}});
    // No orderly end: the shards must not acknowledge anything more, and recovery re-reads the disk.
    ::_exit(1);
  }
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  logger_.set_synchronous(true);
  logger_.drain();
  shards_.clear();
  loops_.clear();
  log_.info("stopped", {});
  return 0;
}

int Node::run() {
  raise_file_limit();
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signal_fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  control_.main_wake_fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

  const auto cores = static_cast<std::uint32_t>(plan_.cores.size());
  auto directory = DataDirectory::open(config_, config_.cluster.configured() ? kClusterGroupsDefault : cores);
  if (!directory) {
    log_.error("cannot_start", {{"cause", directory.error().message}});
    return 1;
  }
  for (const std::string& warning : plan_.warnings) log_.warn("placement", {{"warning", warning}});
  for (const std::string& warning : config_warnings(config_))
    log_.warn("configuration", {{"warning", warning}});
  if (Status status = check_ring_sizes(directory->identity().groups); !status) {
    log_.error("cannot_start", {{"cause", status.error().message}});
    return 1;
  }
  if (Status status = start_admin(); !status) {
    log_.error("cannot_start", {{"cause", status.error().message}});
    return 1;
  }
  if (Status status = start(directory->identity()); !status) {
    log_.error("cannot_start", {{"cause", status.error().message}});
    return 1;
  }
  supervise(*directory);
  return finish();
}

}  // namespace

int run_node(const Config& config, const topo::Plan& plan) {
  return Node(config, plan).run();
}

}  // namespace esc::app
