// A group of one voter on a simulated disk and clock, against a model of what was appended and acknowledged.
#include "esc/replica/group.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <map>
#include <new>
#include <set>
#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/file_system.h"
#include "esc/store/resources.h"
#include "esc/wire/record_batch.h"

namespace {
std::atomic<std::uint64_t> allocations{0};
std::atomic<bool> counting{false};  // only while the group's own code runs, not the simulator's
}  // namespace

// NOLINTBEGIN: replacing the global operators is the point. Not inlined, or the compiler sees new paired with
// free.
[[gnu::noinline]] void* operator new(std::size_t bytes) {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
  void* const memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
// NOLINTEND

namespace esc::replica {
namespace {

using Bytes = std::vector<std::byte>;

struct CountAllocations {
  explicit CountAllocations(bool on) : before(counting.exchange(on)) {}
  ~CountAllocations() { counting = before; }
  CountAllocations(const CountAllocations&) = delete;
  CountAllocations& operator=(const CountAllocations&) = delete;
  bool before;
};

// A group of one voter has nobody to talk to.
class NoNet final : public io::Net {
 public:
  Result<std::uint16_t> listen(const std::string&, std::uint16_t, io::AcceptHandler&) override { unused(); }
  void stop_listening() override { unused(); }
  std::expected<io::ConnectionId, Errc> adopt(io::AcceptedSocket, io::ConnectionHandler&) override {
    unused();
  }
  std::expected<io::ConnectionId, Errc> connect(const std::string&, std::uint16_t,
                                                io::ConnectionHandler&) override {
    unused();
  }
  void send(io::ConnectionId, std::span<const struct iovec>) override { unused(); }
  void pause_receive(io::ConnectionId) override { unused(); }
  void resume_receive(io::ConnectionId) override { unused(); }
  void release(io::ReceiveLoan) override { unused(); }
  void close(io::ConnectionId) override { unused(); }
  void detach(io::ConnectionId) override { unused(); }

 private:
  [[noreturn]] static void unused() { ESC_UNREACHABLE("the group used the network"); }
};

// Passes operations on. The simulator's own allocations are not counted, those of completions are.
class CountingDisk final : public io::Disk {
 public:
  explicit CountingDisk(io::Disk& disk) : disk_(disk) { current = this; }
  void submit(io::DiskOp& op) override {
    const CountAllocations off(false);
    originals_[&op] = op.done;
    op.done = [](io::DiskOp& ended) { current->completed(ended); };
    disk_.submit(op);
  }
  void register_memory(ByteSpan) override {}
  bool count_completions = false;

 private:
  void completed(io::DiskOp& op) {
    op.done = originals_.at(&op);
    originals_.erase(&op);
    const CountAllocations on(count_completions);
    op.done(op);
  }
  static CountingDisk* current;  // an operation's context is its owner's
  io::Disk& disk_;
  std::map<io::DiskOp*, io::DiskOp::Done> originals_;
};
CountingDisk* CountingDisk::current = nullptr;

// Timers likewise.
class QuietClock final : public io::Clock {
 public:
  explicit QuietClock(sim::SimClock& clock) : clock_(clock) {}
  Nanos now() const override { return clock_.now(); }
  WallMs wall_ms() const override { return clock_.wall_ms(); }
  void arm(io::Timer& timer, Nanos deadline) override {
    const CountAllocations off(false);
    clock_.arm(timer, deadline);
  }
  void disarm(io::Timer& timer) override {
    const CountAllocations off(false);
    clock_.disarm(timer);
  }

 private:
  sim::SimClock& clock_;
};

GroupOptions small_options() {
  GroupOptions options;
  options.data_directory = "/data";
  options.wal.directory = "/wal";
  options.wal.segment_bytes = 128 * kKiB;
  options.wal.initial_segment_bytes = 64 * kKiB;
  options.wal.bytes_max = 2 * kMiB;
  options.frame_bytes_max = 32 * kKiB;
  options.checkpoint_bytes = 256 * kKiB;
  options.checkpoint_interval = 100 * kMillisecond;
  return options;
}

// What the test knows of a partition.
struct Model {
  struct Batch {
    Bytes bytes;  // as stamped
    Offset end;
    bool acknowledged = false;
  };
  std::vector<Batch> batches;
  bool created = false;  // acknowledged
  bool delete_proposed = false;
  bool deleted = false;  // acknowledged
  [[nodiscard]] Offset end() const { return batches.empty() ? Offset(0) : batches.back().end; }
};

struct World;

struct Pending : CommitWaiter {
  World* world = nullptr;
  std::function<void()> on_ok;
  bool ended = false;
  Errc code = Errc::ok;
};

struct World final : GroupListener {
  explicit World(std::uint64_t seed, const GroupOptions& overrides = small_options(),
                 std::uint64_t ring_bytes = 512 * kKiB)
      : prng(seed),
        fs(prng.fork(1)),
        sim_disk(clock, fs, prng.fork(2)),
        disk(sim_disk),
        quiet_clock(clock),
        files(fs),
        group_prng(prng.fork(3)),
        options(overrides),
        ring(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, ring_bytes))) {
    options.ring_memory = {ring, ring_bytes};
    EXPECT_TRUE(files.make_directories("/wal").has_value());
  }
  ~World() override {
    close(sim::CrashKind::process);
    std::free(ring);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void on_metadata(GroupId, Index, ByteView) override {}
  void save_metadata(GroupId, std::vector<std::byte>&) override {}
  Status load_metadata(GroupId, ByteView) override { return {}; }
  void on_partition(GroupId, Partition& partition) override {
    if (partition.deleted()) ++partitions_deleted;
  }
  void on_leader_changed(GroupId, NodeId, Term) override {}
  void on_service(GroupId, NodeId, peer::Service, ByteView) override {}
  void on_leading(GroupId, Term) override {
    ++times_leading;
    commit_when_leading = group->commit_index();
  }
  void on_failed(GroupId, const std::string& what) override { failures.push_back(what); }

  [[nodiscard]] Status open() {
    resources = store::Resources::create(disk, &files);
    options.store.resources = resources.get();
    auto opened =
        Group::open({disk, files, net, quiet_clock, group_prng}, {}, options, *this, [this] { step(); });
    if (!opened) return std::unexpected(opened.error());
    group = std::move(*opened);
    return {};
  }
  void close(sim::CrashKind kind) {
    sim_disk.crash(kind);
    group.reset();
    resources.reset();
    pending.clear();
  }
  void step() {
    if (!clock.step()) clock.run_for(kMillisecond);
  }
  void turn() {
    group->do_work(clock.now());
    step();
  }
  void turn_for(Nanos duration) {
    for (const Nanos end = clock.now() + duration; clock.now() < end;) turn();
  }
  // `reached` may act: it is asked once per turn, and no more once it said yes.
  template <class F>
  [[nodiscard]] bool turn_until(F&& reached, int turns = 200'000) {
    for (; !reached(); --turns) {
      if (turns == 0) return false;
      turn();
    }
    return true;
  }
  void open_and_lead() {
    const Status status = open();
    ASSERT_TRUE(status.has_value()) << status.error().message;
    ASSERT_TRUE(turn_until([&] { return group->leading(); }));
  }

  Pending& wait(Index index, std::function<void()> on_ok = {}) {
    std::erase_if(pending, [](const auto& waiter) { return waiter->ended; });
    pending.push_back(std::make_unique<Pending>());
    Pending& waiter = *pending.back();
    waiter.index = index;
    waiter.on_ok = std::move(on_ok);
    waiter.done = [](CommitWaiter& ended, Errc code) {
      auto& self = static_cast<Pending&>(ended);
      self.ended = true;
      self.code = code;
      if (code == Errc::ok && self.on_ok) self.on_ok();
    };
    group->wait_committed(waiter);
    return waiter;
  }
  Errc propose_create(PartitionId id) {
    PartitionIdentity identity;
    identity.id = id;
    identity.topic = "orders";
    identity.index = static_cast<std::int32_t>(id.value());
    identity.segment_bytes = partition_segment_bytes;
    const auto index = group->create_partition(identity);
    if (!index) return index.error();
    models[id];
    wait(*index, [this, id] { models[id].created = true; });
    return Errc::ok;
  }
  Errc propose_delete(PartitionId id) {
    const auto index = group->delete_partition(id);
    if (!index) return index.error();
    models[id].delete_proposed = true;
    wait(*index, [this, id] { models[id].deleted = true; });
    return Errc::ok;
  }
  void create(PartitionId id) {
    ASSERT_EQ(propose_create(id), Errc::ok);
    ASSERT_TRUE(turn_until([&] { return models[id].created; }));
    ASSERT_NE(group->find(id), nullptr);
  }
  Bytes make_batch(std::uint32_t records, std::size_t value_bytes) {
    Bytes buffer(wire::kBatchHeaderBytes + records * (value_bytes + 64));
    wire::BatchBuilder builder(buffer);
    Bytes value(value_bytes);
    for (std::uint32_t i = 0; i < records; ++i) {
      for (auto& byte : value) byte = static_cast<std::byte>(prng.next());
      EXPECT_TRUE(builder.append(clock.wall_ms(), {}, wire::NullableBytes(ByteView(value))));
    }
    buffer.resize(builder.finish().size());
    return buffer;
  }
  Errc append(PartitionId id, std::uint32_t records, std::size_t value_bytes) {
    Model& model = models[id];
    Bytes bytes = make_batch(records, value_bytes);
    const auto appended = group->append_batch(*group->find(id), bytes);
    if (!appended) return appended.error();
    EXPECT_EQ(appended->base_offset, model.end()) << "offsets are dense";
    wire::stamp_base_offset(bytes, appended->base_offset.value());
    wire::stamp_leader_epoch(bytes, static_cast<std::int32_t>(group->term().value()));
    model.batches.push_back({std::move(bytes), appended->base_offset + records});
    wait(appended->index, [&model, at = model.batches.size() - 1] { model.batches[at].acknowledged = true; });
    return Errc::ok;
  }
  // Turns while the ring is full.
  void append_eventually(PartitionId id, std::uint32_t records, std::size_t value_bytes) {
    Errc code = Errc::busy;
    ASSERT_TRUE(turn_until([&] { return (code = append(id, records, value_bytes)) != Errc::busy; }));
    ASSERT_EQ(code, Errc::ok);
  }
  [[nodiscard]] bool all_acknowledged() {
    return std::all_of(models.begin(), models.end(), [](const auto& entry) {
      return entry.second.batches.empty() || entry.second.batches.back().acknowledged;
    });
  }

  // From the tail or the files, whole batches; empty at the end.
  Bytes read(Partition& partition, Offset offset) {
    Bytes buffer(64 * kKiB);
    if (offset >= partition.high_watermark()) return {};
    if (group->in_tail(partition, offset)) {
      buffer.resize(group->read_tail(partition, offset, buffer).bytes);
      ++tail_reads;
      return buffer;
    }
    ++file_reads;
    struct Ended {
      bool ended = false;
      Errc code = Errc::ok;
    } result;
    store::ReadOp op;
    op.offset = offset;
    op.buffer = buffer;
    op.context = &result;
    op.done = [](store::ReadOp& done, Errc code) { *static_cast<Ended*>(done.context) = {true, code}; };
    group->pin();
    partition.log().read(op);
    EXPECT_TRUE(turn_until([&] { return result.ended; }));
    group->unpin();
    EXPECT_EQ(result.code, Errc::ok) << partition.log().last_error();
    return {op.bytes.begin(), op.bytes.end()};
  }
  // Every batch below the high watermark is what was appended there; nothing acknowledged lies above it.
  void check_contents(PartitionId id) {
    Partition* partition = group->find(id);
    ASSERT_NE(partition, nullptr) << "partition " << id.value();
    Offset at(0);
    const Offset end = partition->high_watermark();
    std::size_t next = 0;
    const auto& expected = models[id].batches;
    while (at < end) {
      const Bytes bytes = read(*partition, at);
      ASSERT_FALSE(bytes.empty()) << "nothing at offset " << at.value();
      for (std::size_t position = 0; position < bytes.size(); ++next) {
        ASSERT_LT(next, expected.size()) << "more than was appended";
        const Bytes& batch = expected[next].bytes;
        ASSERT_LE(position + batch.size(), bytes.size());
        ASSERT_TRUE(std::equal(batch.begin(), batch.end(), bytes.begin() + static_cast<long>(position)))
            << "partition " << id.value() << " batch " << next << " before " << expected[next].end.value();
        position += batch.size();
        at = expected[next].end;
      }
    }
    ASSERT_EQ(at, end);
    for (; next < expected.size(); ++next)
      ASSERT_FALSE(expected[next].acknowledged) << "lost the batch before " << expected[next].end.value();
  }
  // After a crash: what was not acknowledged may be there or not; the model continues from what is there.
  void check_recovered() {
    for (auto& [id, model] : models) {
      Partition* partition = group->find(id);
      if (partition == nullptr) {
        ASSERT_TRUE(model.delete_proposed || !model.created) << "lost partition " << id.value();
        model = Model{.batches = {}, .created = model.created, .delete_proposed = true, .deleted = true};
        continue;
      }
      ASSERT_FALSE(model.deleted) << "partition " << id.value() << " came back";
      model.created = true;
      model.delete_proposed = false;
      check_contents(id);
      if (::testing::Test::HasFatalFailure()) return;
      std::erase_if(model.batches,
                    [&](const auto& batch) { return batch.end > partition->high_watermark(); });
      for (auto& batch : model.batches) batch.acknowledged = true;
      ASSERT_EQ(partition->next_offset(), partition->high_watermark());
    }
  }

  Prng prng;
  sim::SimClock clock;
  sim::FileSystem fs;
  sim::SimDisk sim_disk;
  CountingDisk disk;
  QuietClock quiet_clock;
  sim::SimFiles files;
  NoNet net;
  Prng group_prng;
  GroupOptions options;
  std::byte* ring;
  std::uint64_t partition_segment_bytes = 64 * kKiB;
  std::unique_ptr<store::Resources> resources;
  std::deque<std::unique_ptr<Pending>> pending;
  std::unique_ptr<Group> group;
  std::map<PartitionId, Model> models;
  std::vector<std::string> failures;
  int times_leading = 0;
  int partitions_deleted = 0;
  int tail_reads = 0;
  int file_reads = 0;
  Index commit_when_leading;
};

TEST(Group, one_voter_elects_itself_and_leads_only_after_its_noop_is_applied) {
  World world(1);
  ASSERT_TRUE(world.open().has_value());
  EXPECT_EQ(world.group->accepting(), Errc::not_leader);
  world.sim_disk.stall_until(world.clock.now() + 5 * kSecond);
  for (int i = 0; i < 4000; ++i) {
    world.group->do_work(world.clock.now());
    world.clock.run_for(kMillisecond);
  }
  EXPECT_FALSE(world.group->leading()) << "term and no-op are not durable";
  EXPECT_EQ(world.times_leading, 0);
  ASSERT_TRUE(world.turn_until([&] { return world.group->leading(); }));
  EXPECT_EQ(world.group->accepting(), Errc::ok);
  EXPECT_EQ(world.times_leading, 1);
  EXPECT_EQ(world.commit_when_leading, Index(1));
  EXPECT_EQ(world.group->core().last_index(), Index(1));
}

TEST(Group, offsets_are_dense_and_visible_only_when_the_frame_is_durable) {
  World world(2);
  world.open_and_lead();
  const PartitionId id(1);
  world.create(id);
  Partition& partition = *world.group->find(id);
  world.turn_for(50 * kMillisecond);
  world.sim_disk.stall_until(world.clock.now() + kSecond);
  for (std::uint32_t records = 1; records <= 5; ++records)
    ASSERT_EQ(world.append(id, records, 100), Errc::ok);
  EXPECT_EQ(partition.next_offset(), Offset(15));
  Bytes buffer(64 * kKiB);
  for (int i = 0; i < 900; ++i) {
    world.group->do_work(world.clock.now());
    world.clock.run_for(kMillisecond);
    ASSERT_EQ(partition.high_watermark(), Offset(0));
    ASSERT_EQ(world.group->read_tail(partition, Offset(0), buffer).bytes, 0u);
    ASSERT_FALSE(world.models[id].batches[0].acknowledged);
  }
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  EXPECT_EQ(partition.high_watermark(), Offset(15));
  world.check_contents(id);
}

TEST(Group, read_tail_returns_exactly_the_committed_batches_that_fit) {
  World world(3);
  world.open_and_lead();
  const PartitionId id(1);
  world.create(id);
  Partition& partition = *world.group->find(id);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(world.append(id, 3, 50), Errc::ok);
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  ASSERT_EQ(world.append(id, 3, 50), Errc::ok);  // not committed
  const auto& batches = world.models[id].batches;
  const auto batch_bytes = static_cast<std::uint32_t>(batches[0].bytes.size());
  Bytes buffer(64 * kKiB);

  auto read = world.group->read_tail(partition, Offset(4), buffer);
  EXPECT_EQ(read.bytes, 3 * batch_bytes) << "from the batch that contains the offset to the high watermark";
  EXPECT_EQ(read.next, Offset(12));
  EXPECT_EQ(read.needed, batch_bytes);
  EXPECT_TRUE(std::equal(batches[1].bytes.begin(), batches[1].bytes.end(), buffer.begin()));
  read = world.group->read_tail(partition, Offset(0), ByteSpan(buffer).first(2 * batch_bytes + 1));
  EXPECT_EQ(read.bytes, 2 * batch_bytes);
  EXPECT_EQ(read.next, Offset(6));
  read = world.group->read_tail(partition, Offset(0), ByteSpan(buffer).first(batch_bytes - 1));
  EXPECT_EQ(read.bytes, 0u);
  EXPECT_EQ(read.needed, batch_bytes) << "a batch is never cut";
  read = world.group->read_tail(partition, Offset(12), buffer);
  EXPECT_EQ(read.bytes, 0u);
  EXPECT_EQ(read.needed, 0u);
}

TEST(Group, after_the_ring_wrapped_older_offsets_come_from_the_files_and_all_bytes_are_as_appended) {
  World world(4);
  world.open_and_lead();
  for (const PartitionId id : {PartitionId(1), PartitionId(2)}) world.create(id);
  for (std::uint32_t i = 0; i < 1200; ++i)
    ASSERT_NO_FATAL_FAILURE(world.append_eventually(PartitionId(i % 6 == 3 ? 2 : 1), 2, 1000));
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  ASSERT_GT(world.group->stats().bytes_appended, 4 * world.options.ring_memory.size());
  EXPECT_GT(world.group->stats().checkpoints, 0u);
  EXPECT_GT(world.group->wal().stats().segments_recycled, 0u);
  for (const PartitionId id : {PartitionId(1), PartitionId(2)}) world.check_contents(id);
  EXPECT_GT(world.tail_reads, 0);
  EXPECT_GT(world.file_reads, 0);
}

TEST(Group, many_tiny_entries_exhaust_records_and_appends_go_on_after_reclaim) {
  World world(5);
  world.open_and_lead();
  const PartitionId id(1);
  world.create(id);
  for (int i = 0; i < 6000; ++i) ASSERT_NO_FATAL_FAILURE(world.append_eventually(id, 1, 1));
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  world.check_contents(id);
}

// One life: a random mix of appends, creations and deletions on `world`, cut after `turns`.
void live(World& world, std::uint64_t turns, std::uint32_t& next_partition) {
  for (std::uint64_t i = 0; i < turns; ++i) {
    std::vector<PartitionId> live;
    for (const auto& [id, model] : world.models)
      if (model.created && !model.delete_proposed && world.group->find(id) != nullptr) live.push_back(id);
    if (live.size() < 5 && world.prng.chance(1, 20)) {
      if (world.propose_create(PartitionId(next_partition)) == Errc::ok) ++next_partition;
    }
    if (live.size() > 2 && world.prng.chance(1, 150)) {
      (void)world.propose_delete(live[world.prng.below(live.size())]);
    } else if (!live.empty() && world.prng.chance(2, 3)) {
      const auto records = static_cast<std::uint32_t>(world.prng.between(1, 4));
      const Errc code = world.append(live[world.prng.below(live.size())], records, world.prng.below(1500));
      ASSERT_TRUE(code == Errc::ok || code == Errc::busy || code == Errc::no_space) << to_string(code);
    }
    world.turn();
    ASSERT_TRUE(world.failures.empty()) << world.failures.front();
  }
}

void survive_crashes(const std::vector<sim::CrashKind>& kinds, std::uint64_t ring_bytes) {
  const std::uint64_t seeds = std::getenv("ESC_LONG") != nullptr ? 2000 : 60;
  std::uint64_t checkpoints = 0;
  std::uint64_t recycled = 0;
  std::uint64_t file_reads = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    World world(1000 + seed, small_options(), ring_bytes);
    std::uint32_t next_partition = 1;
    for (int lives = 0; lives < 4; ++lives) {
      ASSERT_NO_FATAL_FAILURE(world.open_and_lead()) << "life " << lives;
      ASSERT_NO_FATAL_FAILURE(world.check_recovered()) << "life " << lives;
      const std::uint64_t turns = world.prng.below(world.prng.chance(1, 4) ? 60 : 2500);
      ASSERT_NO_FATAL_FAILURE(live(world, turns, next_partition));
      checkpoints += world.group->stats().checkpoints;
      recycled += world.group->wal().stats().segments_recycled;
      world.close(kinds[world.prng.below(kinds.size())]);
    }
    ASSERT_NO_FATAL_FAILURE(world.open_and_lead());
    ASSERT_NO_FATAL_FAILURE(world.check_recovered());
    file_reads += static_cast<std::uint64_t>(world.file_reads);
  }
  // The test would prove little otherwise.
  EXPECT_GT(checkpoints, seeds);
  EXPECT_GT(recycled, seeds);
  EXPECT_GT(file_reads, seeds);
}

TEST(Group, every_acknowledged_batch_survives_power_cuts_at_random_points) {
  survive_crashes({sim::CrashKind::power}, kMiB);
}

TEST(Group, every_acknowledged_batch_survives_kills_at_random_points) {
  survive_crashes({sim::CrashKind::process}, kMiB);
}

// A kill leaves names visible that the power cut after it takes back.
TEST(Group, every_acknowledged_batch_survives_kills_and_power_cuts_with_a_small_ring) {
  survive_crashes({sim::CrashKind::power, sim::CrashKind::process}, 512 * kKiB);
}

// Appends until producers are refused for lack of space.
void fill_disk(World& world, PartitionId id) {
  world.fs.set_capacity(world.fs.used_bytes() + 300 * kKiB);
  Errc code = Errc::ok;
  ASSERT_TRUE(world.turn_until([&] { return (code = world.append(id, 1, 2000)) == Errc::no_space; }))
      << to_string(code);
}

// Back-pressure lasts as long as segment writes take, not until the next regular one.
TEST(Group, what_waits_for_the_files_never_keeps_the_ring_full) {
  GroupOptions options = small_options();
  options.wal.segment_bytes = 2 * kMiB;
  options.checkpoint_interval = 600 * kSecond;  // which would write all that waits
  options.checkpoint_bytes = 32 * kMiB;
  options.wal.bytes_max = 64 * kMiB;
  World world(5, options);
  world.open_and_lead();
  for (std::uint32_t id = 1; id <= 8; ++id) world.create(PartitionId{id});
  Nanos longest = 0;
  const auto append = [&](std::uint32_t partition, std::uint32_t records, std::size_t bytes) {
    const Nanos began = world.clock.now();
    world.append_eventually(PartitionId{partition}, records, bytes);
    longest = std::max(longest, world.clock.now() - began);
  };
  // A backlog of one partition, then others, which are written in turn.
  for (int round = 0; round < 8; ++round) {
    for (int i = 0; i < 30; ++i) append(1, 4, 1000);
    for (std::uint32_t i = 0; i < 100; ++i) append(2 + i % 7, 4, 1000);
  }
  EXPECT_LT(longest, 250 * kMillisecond) << "many bytes";
  longest = 0;
  for (std::uint32_t i = 0; i < 6000; ++i) append(1 + i % 8, 1, 1);
  EXPECT_LT(longest, 250 * kMillisecond) << "few bytes, all records";
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
}

TEST(Group, a_full_disk_refuses_producers_lets_deletes_through_and_resumes_when_space_returns) {
  World world(7);
  world.open_and_lead();
  for (const PartitionId id : {PartitionId(1), PartitionId(2)}) world.create(id);
  ASSERT_NO_FATAL_FAILURE(fill_disk(world, PartitionId(1)));
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }))
      << "what was accepted is still acknowledged";
  EXPECT_EQ(world.group->accepting(), Errc::no_space);
  ASSERT_EQ(world.propose_delete(PartitionId(2)), Errc::ok);
  ASSERT_TRUE(world.turn_until([&] { return world.models[PartitionId(2)].deleted; }));
  EXPECT_EQ(world.group->find(PartitionId(2)), nullptr);
  world.turn_for(kSecond);
  EXPECT_FALSE(world.group->failed()) << world.failures.front();
  EXPECT_EQ(world.group->accepting(), Errc::no_space);

  world.fs.set_capacity(UINT64_MAX);
  ASSERT_TRUE(world.turn_until([&] { return world.group->accepting() == Errc::ok; }));
  ASSERT_NO_FATAL_FAILURE(world.append_eventually(PartitionId(1), 1, 2000));
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  world.check_contents(PartitionId(1));
  EXPECT_TRUE(world.failures.empty());
}

TEST(Group, deleting_the_partition_that_filled_the_disk_ends_the_refusal) {
  World world(8);
  world.open_and_lead();
  for (const PartitionId id : {PartitionId(1), PartitionId(2)}) world.create(id);
  ASSERT_NO_FATAL_FAILURE(fill_disk(world, PartitionId(1)));
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  ASSERT_EQ(world.propose_delete(PartitionId(1)), Errc::ok);
  ASSERT_TRUE(world.turn_until([&] { return world.models[PartitionId(1)].deleted; }));
  world.fs.set_capacity(UINT64_MAX);
  ASSERT_TRUE(world.turn_until([&] { return world.group->accepting() == Errc::ok; }))
      << to_string(world.group->accepting());
  ASSERT_NO_FATAL_FAILURE(world.append_eventually(PartitionId(2), 1, 2000));
}

TEST(Group, files_of_a_deleted_partition_that_a_power_cut_brings_back_are_removed_at_the_next_start) {
  World world(8);
  world.open_and_lead();
  world.create(PartitionId(1));
  ASSERT_EQ(world.propose_delete(PartitionId(1)), Errc::ok);
  ASSERT_TRUE(world.turn_until([&] { return world.models[PartitionId(1)].deleted; }));
  world.turn_for(kSecond);  // a checkpoint
  world.close(sim::CrashKind::process);
  const std::string directory = "/data/partitions/1-orders-1";
  ASSERT_TRUE(world.files.make_directories(directory).has_value());
  ASSERT_TRUE(
      io::write_file_atomically(world.files, directory + "/0.log", world.make_batch(1, 9)).has_value());
  world.open_and_lead();
  EXPECT_TRUE(world.files.list(directory)->empty());
}

TEST(Group, a_failed_wal_write_ends_acknowledgement_and_what_was_acknowledged_survives) {
  World world(9);
  world.open_and_lead();
  const PartitionId id(1);
  world.create(id);
  for (int i = 0; i < 100; ++i) ASSERT_NO_FATAL_FAILURE(world.append_eventually(id, 1, 500));
  ASSERT_TRUE(world.turn_until([&] { return world.all_acknowledged(); }));
  const Offset acknowledged = world.models[id].end();

  world.fs.inject({.kind = io::DiskOp::Kind::write, .path_part = "/wal"});
  ASSERT_EQ(world.append(id, 1, 500), Errc::ok);
  Pending& waiter = world.wait(world.group->core().last_index().next());
  ASSERT_TRUE(world.turn_until([&] { return world.group->failed(); }));
  EXPECT_TRUE(waiter.ended);
  EXPECT_EQ(waiter.code, Errc::io_error);
  EXPECT_EQ(world.group->accepting(), Errc::io_error);
  EXPECT_EQ(world.append(id, 1, 500), Errc::io_error);
  EXPECT_EQ(world.propose_delete(id), Errc::io_error);
  EXPECT_EQ(world.wait(Index(1)).code, Errc::io_error) << "no answer is right any more";
  world.fs.clear_faults();
  world.turn_for(kSecond);
  EXPECT_EQ(world.group->find(id)->high_watermark(), acknowledged);
  EXPECT_FALSE(world.models[id].batches.back().acknowledged);
  ASSERT_EQ(world.failures.size(), 1u);
  EXPECT_NE(world.failures[0].find("/wal"), std::string::npos);

  world.close(sim::CrashKind::power);
  world.failures.clear();
  world.models[id].delete_proposed = false;
  world.open_and_lead();
  world.check_recovered();
}

Bytes sequenced_batch(std::int32_t first_sequence, std::int32_t records) {
  Bytes buffer(4096);
  wire::BatchBuilder builder(buffer,
                             {.producer_id = 42, .producer_epoch = 3, .base_sequence = first_sequence});
  for (std::int32_t i = 0; i < records; ++i)
    EXPECT_TRUE(builder.append(1, {}, wire::NullableBytes(as_bytes("value"))));
  buffer.resize(builder.finish().size());
  return buffer;
}

TEST(Group, what_is_known_of_producers_survives_checkpoints_and_power_cuts) {
  World world(11);
  world.open_and_lead();
  const PartitionId id(1);
  world.create(id);
  std::int32_t next = 0;
  for (int round = 0; round < 20; ++round) {
    for (int i = 0; i < 5; ++i, next += 3) {
      const auto appended = world.group->append_batch(*world.group->find(id), sequenced_batch(next, 3));
      ASSERT_TRUE(appended.has_value());
      ASSERT_EQ(appended->base_offset, Offset(next));
      world.wait(appended->index);
    }
    // With and without a checkpoint behind the batches, and in the middle of one.
    ASSERT_TRUE(world.turn_until([&] { return world.pending.back()->ended; }));
    world.turn_for(static_cast<Nanos>(world.prng.below(3)) * 60 * kMillisecond);
    world.close(sim::CrashKind::power);
    world.open_and_lead();
    Partition& partition = *world.group->find(id);
    EXPECT_EQ(world.group->append_batch(partition, sequenced_batch(next + 1, 3)).error(), Errc::out_of_order);
    for (std::int32_t before = next - 15; before < next; before += 3) {
      const auto repeated = world.group->append_batch(partition, sequenced_batch(before, 3));
      ASSERT_TRUE(repeated.has_value()) << round;
      EXPECT_TRUE(repeated->duplicate);
      EXPECT_EQ(repeated->base_offset, Offset(before));
    }
  }
  EXPECT_EQ(world.group->find(id)->high_watermark(), Offset(next));
}

TEST(Group, producer_ids_are_never_handed_out_twice) {
  World world(12);
  std::set<std::int64_t> ids;
  for (int round = 0; round < 4; ++round) {
    world.open_and_lead();
    for (int i = 0; i < 1500; ++i) {
      std::expected<std::int64_t, Errc> id = std::unexpected(Errc::busy);
      ASSERT_TRUE(world.turn_until([&] { return (id = world.group->take_producer_id()).has_value(); }));
      EXPECT_TRUE(ids.insert(*id).second);
    }
    world.turn_for(static_cast<Nanos>(round) * 100 * kMillisecond);
    world.close(sim::CrashKind::power);
  }
}

TEST(Group, steady_state_allocates_nothing) {
  GroupOptions options = small_options();
  options.wal = wal::Options{};
  options.wal.directory = "/wal";
  options.checkpoint_bytes = kGiB;
  options.checkpoint_interval = 3600 * kSecond;
  World world(10, options, 2 * kMiB);
  world.partition_segment_bytes = 256 * kMiB;
  world.open_and_lead();
  std::array<Partition*, 4> partitions{};
  for (std::uint32_t i = 0; i < partitions.size(); ++i) {
    world.create(PartitionId(i + 1));
    partitions[i] = world.group->find(PartitionId(i + 1));
  }
  const Bytes batch = world.make_batch(2, 500);
  Bytes into(64 * kKiB);
  Group& group = *world.group;
  struct Counter : CommitWaiter {
    int commits = 0;
  } waiter;
  waiter.done = [](CommitWaiter& self, Errc) { ++static_cast<Counter&>(self).commits; };
  const auto run = [&](int appends) {
    for (int i = 0; i < appends;) {
      {
        const CountAllocations on(true);
        Partition& partition = *partitions[static_cast<std::size_t>(i) % partitions.size()];
        if (const auto appended = group.append_batch(partition, batch)) {
          ++i;
          if (!waiter.linked()) {
            waiter.index = appended->index;
            group.wait_committed(waiter);
          }
        }
        group.do_work(world.clock.now());
        const Offset from(std::max<std::int64_t>(0, partition.high_watermark().value() - 10));
        (void)group.read_tail(partition, from, into);
      }
      world.disk.count_completions = true;
      world.step();
      world.disk.count_completions = false;
    }
  };
  run(3000);  // the ring wraps, files are open
  const int commits = waiter.commits;
  const std::uint64_t segment_writes = group.stats().segment_writes;
  allocations = 0;
  run(5000);
  EXPECT_EQ(allocations.load(), 0u);
  EXPECT_GT(waiter.commits - commits, 100);
  EXPECT_GT(group.stats().segment_writes - segment_writes, 10u);
  EXPECT_EQ(group.stats().checkpoints, 0u);
  if (waiter.linked()) waiter.unlink();
}

// Written all at once, a third of the ring would stand before every durable write.
TEST(Group, segment_writes_keep_pace_with_what_comes_in) {
  GroupOptions options = small_options();
  options.wal = wal::Options{};
  options.wal.directory = "/wal";
  options.checkpoint_bytes = kGiB;
  options.checkpoint_interval = 3600 * kSecond;
  World world(11, options, 8 * kMiB);
  world.partition_segment_bytes = 256 * kMiB;
  world.open_and_lead();
  constexpr std::uint32_t kPartitions = 16;
  for (std::uint32_t i = 1; i <= kPartitions; ++i) world.create(PartitionId(i));
  const Bytes batch = world.make_batch(2, 6000);
  Group& group = *world.group;
  std::uint64_t largest = 0;
  for (std::uint32_t i = 0; i < 4000;) {
    if (group.append_batch(*group.find(PartitionId(i % kPartitions + 1)), batch)) ++i;
    const std::uint64_t before = group.stats().segment_writes;
    group.do_work(world.clock.now());
    largest = std::max(largest, group.stats().segment_writes - before);
    world.step();
  }
  EXPECT_GT(group.stats().segment_writes, 2 * kPartitions);
  EXPECT_LE(largest, kPartitions / 2) << "partitions in one burst";
}

}  // namespace
}  // namespace esc::replica
