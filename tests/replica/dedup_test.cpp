// Event ids in a group of one voter: what is dropped and how it is answered, across restarts, power cuts and
// checkpoints.
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "esc/base/prng.h"
#include "esc/dedup/id.h"
#include "esc/replica/group.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/file_system.h"
#include "esc/store/resources.h"
#include "esc/wire/compression.h"
#include "esc/wire/record_batch.h"

namespace esc::replica {
namespace {

using Bytes = std::vector<std::byte>;
using Numbers = std::vector<std::uint64_t>;  // of events; 0: no id

constexpr PartitionId kPartition{1};
constexpr std::size_t kRingBytes = 1 * kMiB;

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

struct Read {
  std::uint64_t number = 0;
  WallMs time = 0;
};

struct World final : GroupListener {
  explicit World(std::uint64_t seed)
      : prng(seed),
        fs(prng.fork(1)),
        disk(clock, fs, prng.fork(2)),
        files(fs),
        group_prng(prng.fork(3)),
        ring(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kRingBytes))) {
    options.data_directory = "/data";
    options.wal.directory = "/wal";
    options.wal.segment_bytes = 256 * kKiB;
    options.wal.initial_segment_bytes = 256 * kKiB;
    options.wal.bytes_max = 4 * kMiB;
    options.frame_bytes_max = 64 * kKiB;
    options.checkpoint_bytes = 64 * kKiB;
    options.checkpoint_interval = 300 * kMillisecond;
    options.ring_memory = {ring, kRingBytes};
    EXPECT_TRUE(files.make_directories("/wal").has_value());
    open();
    const auto created =
        group->create_partition({.id = kPartition, .topic = "orders", .segment_bytes = 256 * kKiB});
    EXPECT_TRUE(created.has_value() && turn_until([&] { return group->find(kPartition) != nullptr; }));
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
  void on_partition(GroupId, Partition&) override {}
  void on_leader_changed(GroupId, NodeId, Term) override {}
  void on_service(GroupId, NodeId, peer::Service, ByteView) override {}
  void on_leading(GroupId, Term) override {}
  void on_failed(GroupId, const std::string& what) override { ADD_FAILURE() << what; }

  void open() {
    resources = store::Resources::create(disk, &files);
    options.store.resources = resources.get();
    auto opened = Group::open({disk, files, net, clock, group_prng}, {}, options, *this, [this] { step(); });
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    group = std::move(*opened);
    ASSERT_TRUE(turn_until([&] { return group->leading(); }));
  }
  void close(sim::CrashKind kind) {
    disk.crash(kind);
    group.reset();
    resources.reset();
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
  template <class F>
  [[nodiscard]] bool turn_until(F&& reached, int turns = 200'000) {
    for (; !reached(); --turns) {
      if (turns == 0) return false;
      turn();
    }
    return true;
  }
  Partition& partition() { return *group->find(kPartition); }

  Bytes batch_of(const Numbers& numbers, wire::Codec codec = wire::Codec::none,
                 const wire::BatchOptions& batch_options = {}) {
    Bytes buffer(wire::kBatchHeaderBytes + numbers.size() * 100);
    wire::BatchBuilder builder(buffer, batch_options);
    for (const std::uint64_t number : numbers) {
      std::array<std::byte, 40> value{};
      store_le(value.data(), number);
      EXPECT_TRUE(builder.append(clock.wall_ms(), {}, wire::NullableBytes(ByteView(value))));
    }
    const ByteView plain = builder.finish();
    if (codec == wire::Codec::none) return {plain.begin(), plain.end()};
    Bytes packed(wire::compressed_bytes_max(codec, plain.size()) + wire::kBatchHeaderBytes);
    const auto result = wire::compress_batch(codec, *wire::BatchView::parse(plain), packed);
    return {result->begin(), result->end()};
  }
  std::expected<Appended, Errc> try_append(const Numbers& numbers, ByteView batch) {
    ids.clear();
    for (const std::uint64_t number : numbers) {
      std::array<std::byte, 8> text;
      store_le(text.data(), number);
      ids.push_back(number == 0 ? dedup::Id{} : dedup::make_id({1, 2}, text));
    }
    return group->append_batch(partition(), batch, {.ids = ids, .limits = limits});
  }
  // Turns while the ring is full or ids are looked up in files.
  Appended append(const Numbers& numbers, wire::Codec codec = wire::Codec::none,
                  const wire::BatchOptions& batch_options = {}) {
    const Bytes batch = batch_of(numbers, codec, batch_options);
    std::expected<Appended, Errc> appended = std::unexpected(Errc::busy);
    EXPECT_TRUE(turn_until([&] {
      appended = try_append(numbers, batch);
      return appended.has_value() || appended.error() != Errc::busy;
    }));
    EXPECT_TRUE(appended.has_value()) << (appended ? "" : to_string(appended.error()));
    return appended.value_or(Appended{});
  }
  void commit(const Appended& appended) {
    ASSERT_TRUE(turn_until([&] { return group->commit_index() >= appended.index; }));
  }
  // All committed events, by offset.
  std::map<std::int64_t, Read> contents() {
    std::map<std::int64_t, Read> events;
    Offset at = partition().log_start_offset();
    Bytes buffer(128 * kKiB);
    Bytes plain(128 * kKiB);
    while (at < partition().high_watermark()) {
      const Bytes bytes = read(at, buffer);
      wire::BatchIterator batches(bytes);
      while (const auto batch = batches.next()) {
        EXPECT_TRUE(batch->crc_valid());
        wire::RecordIterator records(*wire::batch_records(*batch, plain), batch->record_count());
        while (const auto record = records.next()) {
          events[batch->base_offset() + record->offset_delta] = {
              load_le<std::uint64_t>(record->value->data()),
              batch->base_timestamp() + record->timestamp_delta};
        }
        EXPECT_FALSE(records.failed());
        EXPECT_EQ(Offset(batch->base_offset()), at);
        at = Offset(batch->next_offset());
      }
      if (bytes.empty()) break;
    }
    EXPECT_EQ(at, partition().high_watermark());
    return events;
  }
  Bytes read(Offset offset, Bytes& buffer) {
    if (group->in_tail(partition(), offset)) {
      const auto got = group->read_tail(partition(), offset, buffer);
      return {buffer.begin(), buffer.begin() + got.bytes};
    }
    bool ended = false;
    store::ReadOp op;
    op.offset = offset;
    op.buffer = buffer;
    op.context = &ended;
    op.done = [](store::ReadOp& done, Errc) { *static_cast<bool*>(done.context) = true; };
    partition().log().read(op);
    EXPECT_TRUE(turn_until([&] { return ended; }));
    return {op.bytes.begin(), op.bytes.end()};
  }

  Prng prng;
  sim::SimClock clock;
  sim::FileSystem fs;
  sim::SimDisk disk;
  sim::SimFiles files;
  NoNet net;
  Prng group_prng;
  GroupOptions options;
  std::byte* ring;
  dedup::Limits limits{.window_ms = 8000, .bytes_max = 64 * kMiB};
  std::vector<dedup::Id> ids;
  std::unique_ptr<store::Resources> resources;
  std::unique_ptr<Group> group;
};

Numbers numbers_in(const std::map<std::int64_t, Read>& events) {
  Numbers numbers;
  for (const auto& [offset, event] : events) numbers.push_back(event.number);
  return numbers;
}

TEST(EventIds, a_duplicate_is_answered_with_its_original_and_waits_for_its_commit) {
  World world(1);
  const Appended first = world.append({11, 12, 13});
  const Appended again = world.append({12, 13});
  EXPECT_LT(world.group->commit_index(), first.index);
  EXPECT_TRUE(again.duplicate);
  EXPECT_EQ(again.dropped, 2U);
  EXPECT_EQ(again.base_offset, Offset(1));
  EXPECT_EQ(again.index, first.index);
  world.commit(first);
  const Appended late = world.append({13});
  EXPECT_TRUE(late.duplicate);
  EXPECT_EQ(late.base_offset, Offset(2));
  EXPECT_LE(late.index, world.group->commit_index());
  EXPECT_EQ(numbers_in(world.contents()), (Numbers{11, 12, 13}));
}

TEST(EventIds, a_batch_with_some_duplicates_keeps_the_rest_in_every_codec) {
  World world(2);
  std::uint64_t next = 100;
  Numbers expected;
  for (const auto codec :
       {wire::Codec::none, wire::Codec::gzip, wire::Codec::snappy, wire::Codec::lz4, wire::Codec::zstd}) {
    const Numbers first = {next, next + 1, next + 2};
    const Numbers second = {next + 1, next + 3, next + 3, 0, next + 2, 0, next + 4};
    world.commit(world.append(first, codec));
    const Appended some = world.append(second, codec);
    EXPECT_FALSE(some.duplicate);
    EXPECT_EQ(some.dropped, 3U);
    world.commit(some);
    for (const std::uint64_t number :
         {next, next + 1, next + 2, next + 3, std::uint64_t{0}, std::uint64_t{0}, next + 4})
      expected.push_back(number);
    next += 10;
  }
  EXPECT_EQ(numbers_in(world.contents()), expected);
}

TEST(EventIds, what_cannot_be_appended_is_not_seen) {
  World world(3);
  const Numbers numbers = {21, 22};
  const Bytes batch = world.batch_of(numbers);
  // Until the ring is full; the last ones are no larger than the batch that is tried then.
  std::uint64_t next = 1000;
  for (const int records : {300, 2}) {
    for (bool fits = true; fits;) {
      Numbers filler;
      for (int i = 0; i < records; ++i) filler.push_back(next++);
      fits = world.try_append(filler, world.batch_of(filler)).has_value();
    }
  }
  ASSERT_EQ(world.try_append(numbers, batch).error(), Errc::busy);
  const Appended appended = world.append(numbers);
  EXPECT_FALSE(appended.duplicate);
}

TEST(EventIds, an_idempotent_producers_sequence_advances_over_dropped_batches_also_after_a_restart) {
  for (const bool restart : {false, true}) {
    World world(4);
    const auto batch = [&](const Numbers& numbers, std::int32_t sequence) {
      return world.append(numbers, wire::Codec::none,
                          {.producer_id = 7, .producer_epoch = 0, .base_sequence = sequence});
    };
    world.commit(world.append({1, 2, 3}));
    world.commit(batch({4, 5}, 0));
    const Appended dropped = batch({1, 2, 3}, 2);
    EXPECT_TRUE(dropped.duplicate);
    EXPECT_EQ(dropped.base_offset, Offset(0));
    world.commit(dropped);
    const Appended some = batch({6, 2, 7}, 5);
    EXPECT_EQ(some.dropped, 1U);
    world.commit(some);
    if (restart) {
      world.close(sim::CrashKind::power);
      world.open();
    }
    const Appended next = batch({8}, 8);
    EXPECT_FALSE(next.duplicate);
    world.commit(next);
    EXPECT_EQ(numbers_in(world.contents()), (Numbers{1, 2, 3, 4, 5, 6, 7, 8}));
  }
}

// Events are sent again and again, within the window and after it, while the node is killed at random points.
void send_again_through_crashes(std::uint64_t seed, sim::CrashKind kind, bool memory_only) {
  World world(seed);
  std::uint64_t next = 1;
  std::uint64_t file_reads = 0;
  std::uint64_t duplicates = 0;
  std::map<std::uint64_t, bool> acknowledged;
  for (int round = 0; round < 60; ++round) {
    for (int step = 0; step < 25; ++step) {
      Numbers numbers;
      for (std::uint64_t i = 0, n = 1 + world.prng.below(20); i < n; ++i) {
        const std::uint64_t reach = std::min<std::uint64_t>(next - 1, world.prng.chance(1, 4) ? 3000 : 60);
        numbers.push_back(reach == 0 || world.prng.chance(1, 2) ? next++
                                                                : next - 1 - world.prng.below(reach));
      }
      const auto codec = static_cast<wire::Codec>(world.prng.below(wire::kCodecMax + 1));
      const Appended appended = world.append(numbers, codec);
      if (::testing::Test::HasFailure()) return;
      duplicates += appended.dropped;
      if (step + 1 == 25 && world.prng.chance(1, 2)) break;  // its outcome stays open
      world.commit(appended);
      for (const std::uint64_t number : numbers) acknowledged[number] = true;
      if (world.prng.chance(1, 3)) world.turn_for(world.prng.between(0, 60) * kMillisecond);
    }
    file_reads += world.group->event_id_stats().file_reads;
    if (memory_only || world.prng.chance(1, 2)) continue;
    world.close(kind);
    world.open();
    if (::testing::Test::HasFatalFailure()) return;
  }
  std::map<std::uint64_t, WallMs> seen;
  for (const auto& [offset, event] : world.contents()) {
    const auto before = seen.find(event.number);
    if (before != seen.end()) {
      ASSERT_GE(event.time - before->second, world.limits.window_ms)
          << "event " << event.number << " at offset " << offset << ", seed " << seed;
    }
    seen[event.number] = event.time;
  }
  for (const auto& [number, yes] : acknowledged) ASSERT_TRUE(seen.contains(number)) << number;
  EXPECT_GT(duplicates, 1000U);
  EXPECT_GT(file_reads, 0U);
}

TEST(EventIds, each_event_is_there_once_per_window_through_kills) {
  for (std::uint64_t seed = 1; seed <= 8; ++seed)
    send_again_through_crashes(seed, sim::CrashKind::process, false);
}

TEST(EventIds, each_event_is_there_once_per_window_through_power_cuts) {
  for (std::uint64_t seed = 11; seed <= 18; ++seed)
    send_again_through_crashes(seed, sim::CrashKind::power, false);
}

TEST(EventIds, each_event_is_there_once_per_window_without_crashes) {
  for (std::uint64_t seed = 21; seed <= 24; ++seed)
    send_again_through_crashes(seed, sim::CrashKind::power, true);
}

// The node was away for longer than the window: what it replays is as old as the log says.
TEST(EventIds, a_window_is_measured_in_the_logs_time_and_not_in_that_of_the_replay) {
  for (const Plant plant : {Plant::none, Plant::event_ids_by_local_clock}) {
    World world(7);
    world.options.replica_plant = plant;
    world.commit(world.append({1}));
    world.close(sim::CrashKind::process);
    world.clock.run_for(world.limits.window_ms * kMillisecond + kSecond);
    world.open();
    EXPECT_EQ(world.append({1}).duplicate, plant != Plant::none) << "the planted bug would be seen";
  }
}

TEST(EventIds, files_of_forgotten_ids_go_away_and_those_of_deleted_partitions_too) {
  World world(5);
  std::uint64_t next = 1;
  for (int i = 0; i < 400; ++i) {
    world.commit(world.append({next, next + 1}));
    next += 2;
    world.turn_for(100 * kMillisecond);
  }
  EXPECT_LE(world.files.list("/data/ids")->size(), 8U);
  EXPECT_GT(world.group->event_id_stats().expired, 0U);
  EXPECT_LT(world.group->event_id_stats().ids, 250U);
  ASSERT_TRUE(world.group->delete_partition(kPartition).has_value());
  ASSERT_TRUE(world.turn_until([&] { return world.files.list("/data/ids")->empty(); }));
}

TEST(EventIds, a_damaged_file_of_ids_is_named_at_the_start_and_nothing_is_changed) {
  World world(6);
  for (std::uint64_t i = 1; i < 200; ++i) world.commit(world.append({i}));
  world.turn_for(kSecond);
  world.close(sim::CrashKind::process);
  const auto names = world.files.list("/data/ids");
  ASSERT_FALSE(names->empty());
  const std::string path = "/data/ids/" + names->front().name;
  auto file = world.files.open(path, {.write = true});
  const std::array<std::byte, 1> wrong = {std::byte{0xff}};
  ASSERT_TRUE(world.files.write(*file, 5, wrong).has_value());
  world.files.close(*file);
  world.resources = store::Resources::create(world.disk, &world.files);
  world.options.store.resources = world.resources.get();
  auto opened = Group::open({world.disk, world.files, world.net, world.clock, world.group_prng}, {},
                            world.options, world, [&] { world.step(); });
  ASSERT_FALSE(opened.has_value());
  EXPECT_NE(opened.error().message.find(path), std::string::npos) << opened.error().message;
}

}  // namespace
}  // namespace esc::replica
