// A group of one voter on a simulated disk and clock, with a model of what was appended and acknowledged. The
// group's own allocations can be counted: steady_state_test.cpp replaces the program's operator new.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/replica/group.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/file_system.h"
#include "esc/store/resources.h"
#include "esc/wire/record_batch.h"

namespace esc::replica::test {

using Bytes = std::vector<std::byte>;

inline std::atomic<std::uint64_t> allocations{0};
inline std::atomic<bool> counting{false};  // only while the group's own code runs, not the simulator's

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
  static inline CountingDisk* current = nullptr;  // an operation's context is its owner's
  io::Disk& disk_;
  std::map<io::DiskOp*, io::DiskOp::Done> originals_;
};

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

inline GroupOptions small_options() {
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

}  // namespace esc::replica::test
