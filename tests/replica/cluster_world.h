// Several nodes with one group each, on virtual time, network and disks: groups as a shard runs them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "esc/peer/acceptor.h"
#include "esc/replica/group.h"
#include "esc/sim/loop.h"
#include "esc/store/resources.h"
#include "esc/wire/record_batch.h"

namespace esc::replica::test {

inline constexpr std::uint16_t kPort = 9000;
inline constexpr std::uint64_t kRingBytes = 512 * kKiB;

struct ClusterNode final : GroupListener, peer::HelloHandler {
  ClusterNode(sim::SimClock& time, sim::Network& net, std::uint32_t id, std::uint32_t nodes,
              std::uint64_t seed)
      : clock(time),
        network(net),
        number(id),
        fs(Prng(seed).fork(id)),
        prng(seed * 100 + id),
        memory(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kRingBytes))) {
    options.id = GroupId(0);
    options.node = NodeId(id);
    options.seed = seed * 100 + id;
    for (std::uint32_t other = 1; other <= nodes; ++other) {
      options.members.voters.push_back(NodeId(other));
      if (other != id) options.peers.push_back({NodeId(other), sim::address_of(other), kPort});
    }
    options.cluster_id = 7;
    options.cluster_name = "test";
    options.cluster_secret = "sesame";
    options.data_directory = "/data";
    options.wal.directory = "/data/wal";
    options.wal.node = NodeId(id);
    options.wal.segment_bytes = 128 * kKiB;
    options.wal.initial_segment_bytes = 64 * kKiB;
    options.wal.bytes_max = 2 * kMiB;
    options.frame_bytes_max = 32 * kKiB;
    options.checkpoint_interval = 100 * kMillisecond;
    options.retain_bytes = 64 * kKiB;
    options.rebalance_after = 0;
    options.ring_memory = {memory, kRingBytes};
  }
  ~ClusterNode() override {
    if (group != nullptr) crash();
    std::free(memory);
  }
  ClusterNode(const ClusterNode&) = delete;
  ClusterNode& operator=(const ClusterNode&) = delete;

  [[nodiscard]] Status boot() {
    network.boot(number);
    files = std::make_unique<sim::SimFiles>(fs);
    loop = std::make_unique<sim::SimLoop>(clock, network, fs, host_clock, Prng(prng.next()),
                                          sim::SimLoopOptions{.host = number, .disk = disk_latency});
    const io::Env env{*loop, *files, *loop, *loop, prng};
    EXPECT_TRUE(files->make_directories(options.wal.directory).has_value());
    resources = store::Resources::create(*loop, files.get());
    options.store.resources = resources.get();
    loop->set_blocking(true);
    auto opened = Group::open(env, {}, options, *this, [this] { loop->poll(loop->now() + kMillisecond); });
    loop->set_blocking(false);
    if (!opened) {
      resources.reset();
      loop.reset();
      return std::unexpected(opened.error());
    }
    group = std::move(*opened);
    acceptor = std::make_unique<peer::Acceptor>(env, obs::LogSource(), *this);
    EXPECT_TRUE(loop->listen(sim::address_of(number), kPort, *acceptor).has_value());
    loop->set_run([this] { run(); });
    loop->start();
    return {};
  }
  void crash() {
    loop->crash(sim::CrashKind::power);
    network.kill(number, true);
    fs.crash(sim::CrashKind::power);
    group.reset();
    acceptor.reset();
    resources.reset();
    loop.reset();
    failure.clear();
  }
  void run() {
    loop->deliver();
    group->do_work(loop->now());
    acceptor->do_work(loop->now());
    loop->poll(
        std::min({group->next_deadline(), acceptor->next_deadline(), loop->now() + 50 * kMillisecond}));
  }

  void on_metadata(GroupId, Index, ByteView) override {}
  void save_metadata(GroupId, std::vector<std::byte>&) override {}
  Status load_metadata(GroupId, ByteView) override { return {}; }
  void on_partition(GroupId, Partition&) override {}
  void on_leader_changed(GroupId, NodeId, Term) override {}
  void on_service(GroupId, NodeId, peer::Service, ByteView) override {}
  void on_leading(GroupId, Term) override {}
  void on_failed(GroupId, const std::string& what) override { failure = what; }
  void on_damaged(GroupId, const std::string& what) override { damage = what; }
  void on_hello(const peer::Hello& hello, io::AcceptedSocket socket) override {
    group->accept(hello, socket);
  }

  [[nodiscard]] bool running() const { return group != nullptr; }
  [[nodiscard]] bool leading() const { return running() && group->leading(); }
  [[nodiscard]] const raft::Configuration& members() const { return group->core().configuration(); }

  sim::SimClock& clock;
  sim::Network& network;
  const std::uint32_t number;
  sim::HostClock host_clock;
  sim::FileSystem fs;
  Prng prng;
  std::byte* memory;
  GroupOptions options;
  sim::DiskLatency disk_latency{};
  std::unique_ptr<sim::SimFiles> files;
  std::unique_ptr<sim::SimLoop> loop;
  std::unique_ptr<store::Resources> resources;
  std::unique_ptr<Group> group;
  std::unique_ptr<peer::Acceptor> acceptor;
  std::string failure;
  std::string damage;
};

struct Waiting : CommitWaiter {
  bool ended = false;
  Errc code = Errc::ok;
};

struct ClusterWorld {
  explicit ClusterWorld(std::uint32_t size, std::uint64_t seed = 1)
      : network(clock, Prng(seed).fork(99), {}) {
    for (std::uint32_t id = 1; id <= size; ++id)
      nodes.push_back(std::make_unique<ClusterNode>(clock, network, id, size, seed));
    for (std::uint32_t id = 1; id <= size; ++id) network.boot(id);  // the machines run: who dials is refused
  }

  [[nodiscard]] ClusterNode& node(std::uint32_t id) { return *nodes[id - 1]; }
  void boot(std::uint32_t id) {
    const Status status = node(id).boot();
    ASSERT_TRUE(status.has_value()) << status.error().message;
  }
  void boot_all() {
    for (std::uint32_t id = 1; id <= nodes.size(); ++id) boot(id);
  }
  void replace_disk(std::uint32_t id) {
    node(id).crash();
    node(id).fs.wipe();
  }
  template <class F>
  [[nodiscard]] bool run_until(F&& reached, Nanos limit = 10 * kSecond) {
    for (const Nanos end = clock.now() + limit; !reached();) {
      if (clock.now() > end) return false;
      clock.step();
    }
    return true;
  }
  void run_for(Nanos time) { clock.run_for(time); }
  [[nodiscard]] ClusterNode* leader() {
    for (const auto& node : nodes)
      if (node->leading()) return node.get();
    return nullptr;
  }
  [[nodiscard]] ClusterNode* wait_for_leader() {
    return run_until([this] { return leader() != nullptr; }) ? leader() : nullptr;
  }
  // All nodes run and are voters with the data that they have now, and that is committed.
  [[nodiscard]] bool whole() {
    ClusterNode* const first = leader();
    if (first == nullptr) return false;
    const raft::Core& core = first->group->core();
    return core.configurations().current_index() <= core.commit_index() &&
           std::ranges::all_of(nodes, [&](const auto& node) {
             return node->running() && first->members().is_voter(node->options.node) &&
                    first->members().incarnation_of(node->options.node) == node->group->incarnation();
           });
  }
  // Appends a no-op command at the leader; whether it is committed within the limit.
  [[nodiscard]] Errc commit_one(ClusterNode& at, Nanos limit = 2 * kSecond) {
    const auto index = at.group->append_command(logfmt::EntryKind::partition_config, PartitionId(0), {});
    if (!index) return index.error();
    waiting.push_back(std::make_unique<Waiting>());
    Waiting& waiter = *waiting.back();
    waiter.index = *index;
    waiter.done = [](CommitWaiter& ended, Errc code) {
      auto& self = static_cast<Waiting&>(ended);
      self.ended = true;
      self.code = code;
    };
    at.group->wait_committed(waiter);
    if (!run_until([&] { return waiter.ended; }, limit)) return Errc::timeout;
    return waiter.code;
  }

  sim::SimClock clock;
  sim::Network network;
  std::vector<std::unique_ptr<Waiting>> waiting;
  std::vector<std::unique_ptr<ClusterNode>> nodes;
};

// One partition, for records that fill the logs.
inline constexpr PartitionId kLogged{1};

inline void create_partition(ClusterWorld& world, std::uint64_t segment_bytes = 64 * kKiB) {
  ASSERT_TRUE(world.leader()->group->create_partition(
      {.id = kLogged, .topic = "t", .segment_bytes = segment_bytes, .segment_ms = -1}));
  ASSERT_TRUE(world.run_until([&] {
    return std::ranges::all_of(world.nodes, [](const auto& node) {
      return !node->running() || node->group->find(kLogged) != nullptr;
    });
  }));
}

// One record of so many bytes, of an idempotent producer when it has an id.
inline std::expected<Appended, Errc> append_record(ClusterNode& at, std::size_t bytes,
                                                   const wire::BatchOptions& options = {}) {
  std::vector<std::byte> buffer(bytes + 256);
  wire::BatchBuilder builder(buffer, options);
  const std::vector<std::byte> value(bytes, std::byte{7});
  EXPECT_TRUE(builder.append(1, {}, wire::NullableBytes(ByteView(value))));
  return at.group->append_batch(*at.group->find(kLogged), builder.finish());
}

// The same at the leader, again until it is taken.
inline void append(ClusterWorld& world, std::size_t bytes) {
  ClusterNode* leader = nullptr;
  ASSERT_TRUE(world.run_until([&] {
    leader = world.leader();
    return leader != nullptr && append_record(*leader, bytes).has_value();
  }));
  world.run_for(5 * kMillisecond);
}

}  // namespace esc::replica::test
