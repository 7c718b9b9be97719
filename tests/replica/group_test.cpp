// A group of one voter against a model of what was appended and acknowledged.
#include "esc/replica/group.h"

#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "group_world.h"

namespace esc::replica::test {
namespace {

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

}  // namespace
}  // namespace esc::replica::test
