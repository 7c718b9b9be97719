// Damaged data are put aside, whole, and learned again from the peers (docs/decisions/0020).
#include <gtest/gtest.h>

#include "../../src/replica/quarantine.h"
#include "cluster_world.h"

namespace esc::replica::test {
namespace {

std::string text_of(sim::FileSystem& fs, const std::string& path) {
  sim::SimFiles files(fs);
  const auto bytes = io::read_whole_file(files, path, 1 * kMiB);
  return bytes ? std::string(as_text(*bytes)) : "no " + path;
}

// Content of all files below a directory, by their names in it.
std::map<std::string, std::string> contents_of(sim::FileSystem& fs, const std::string& directory) {
  std::map<std::string, std::string> all;
  std::vector<io::DirectoryEntry> entries;
  EXPECT_EQ(fs.list(directory, entries), 0) << directory;
  for (const io::DirectoryEntry& entry : entries) {
    const std::string path = directory + "/" + entry.name;
    if (!entry.is_directory) {
      all[entry.name] = text_of(fs, path);
      continue;
    }
    for (auto& [name, text] : contents_of(fs, path)) all[entry.name + "/" + name] = std::move(text);
  }
  return all;
}

// A frame that a later one calls durable.
void rot_log(ClusterNode& node) {
  std::vector<io::DirectoryEntry> entries;
  ASSERT_EQ(node.fs.list("/data/wal", entries), 0);
  ASSERT_FALSE(entries.empty());
  node.fs.corrupt("/data/wal/" + entries.front().name, 2 * kBlockBytes + 20, 0x10);
}

struct Rotting : ClusterWorld {
  explicit Rotting(std::uint32_t members, std::uint64_t seed = 1) : ClusterWorld(members, seed) {
    for (const auto& node : nodes) node->options.checkpoint_interval = 1000 * kSecond;
    boot_all();
    EXPECT_NE(wait_for_leader(), nullptr);
    EXPECT_TRUE(run_until([this] { return whole(); }));
    for (int i = 0; i < 10; ++i) EXPECT_EQ(commit_one(*leader()), Errc::ok);
    const Index end = leader()->group->commit_index();
    EXPECT_TRUE(run_until([&] {
      return std::ranges::all_of(nodes, [&](const auto& node) {
        return node->group->commit_index() == end && node->group->core().durable_index() == end;
      });
    }));
    run_for(200 * kMillisecond);  // idle logs write their watermark
  }
};

struct Directories {
  Directories() : files(fs) {
    for (const char* const directory : {"/data/group-0/partitions", "/log/group-0/wal"})
      EXPECT_TRUE(files.make_directories(directory).has_value());
    for (const char* const path : {"/data/group-0/checkpoint", "/log/group-0/wal/1"})
      EXPECT_TRUE(io::write_file_atomically(files, path, as_bytes(path)).has_value());
  }
  [[nodiscard]] auto put_aside() { return put_aside_if_marked(files, "/data/group-0", "/log/group-0/wal"); }

  sim::FileSystem fs{Prng(3)};
  sim::SimFiles files;
};

TEST(Quarantine, without_a_mark_nothing_is_moved) {
  Directories d;
  const auto moved = d.put_aside();
  ASSERT_TRUE(moved.has_value());
  EXPECT_FALSE(moved->has_value());
  EXPECT_TRUE(d.fs.exists("/data/group-0/checkpoint"));
  EXPECT_EQ(count_put_aside(d.files, "/data/group-0"), 0u);
}

TEST(Quarantine, everything_of_the_group_is_moved_under_one_free_number_and_the_reason_with_it) {
  Directories d;
  ASSERT_TRUE(d.files.make_directories("/log/group-0/wal.damaged-1").has_value());
  ASSERT_TRUE(mark_damaged(d.files, "/data/group-0", "a bad bit").has_value());
  const auto moved = d.put_aside();
  ASSERT_TRUE(moved.has_value()) << moved.error().message;
  ASSERT_TRUE(moved->has_value());
  EXPECT_EQ((*moved)->cause, "a bad bit");
  EXPECT_EQ((*moved)->data, "/data/group-0.damaged-2");
  EXPECT_EQ((*moved)->wal, "/log/group-0/wal.damaged-2");
  EXPECT_EQ(text_of(d.fs, "/data/group-0.damaged-2/checkpoint"), "/data/group-0/checkpoint");
  EXPECT_EQ(text_of(d.fs, "/data/group-0.damaged-2/damaged"), "a bad bit");
  EXPECT_EQ(text_of(d.fs, "/log/group-0/wal.damaged-2/1"), "/log/group-0/wal/1");
  EXPECT_FALSE(d.fs.exists("/data/group-0"));
  EXPECT_FALSE(d.fs.exists("/log/group-0/wal"));
  EXPECT_EQ(count_put_aside(d.files, "/data/group-0"), 1u);
  EXPECT_EQ(count_put_aside(d.files, "/data/group-1"), 0u);
}

// Whatever operation is the last one before the power cut: in the end all is aside, nothing in its place.
TEST(Quarantine, a_crash_in_the_middle_is_made_up_for) {
  for (std::uint64_t operations = 0; operations < 40; ++operations) {
    Directories d;
    ASSERT_TRUE(mark_damaged(d.files, "/data/group-0", "a bad bit").has_value());
    d.fs.break_after(operations);
    const bool done = d.put_aside().has_value();
    d.fs.mend();
    d.fs.crash(sim::CrashKind::power);
    const auto again = d.put_aside();
    ASSERT_TRUE(again.has_value()) << again.error().message;
    EXPECT_EQ(d.fs.exists("/data/group-0.damaged-1/checkpoint"),
              !d.fs.exists("/data/group-0.damaged-2/checkpoint"));
    EXPECT_TRUE(d.fs.exists("/log/group-0/wal.damaged-1/1"));
    EXPECT_FALSE(d.fs.exists("/data/group-0"));
    EXPECT_FALSE(d.fs.exists("/log/group-0/wal"));
    if (done && operations > 30) return;
  }
}

TEST(Quarantine, a_node_with_a_damaged_log_puts_it_aside_and_learns_all_of_it_again) {
  Rotting world(3);
  const std::uint32_t victim = world.leader()->number;
  const raft::Incarnation before = world.node(victim).group->incarnation();
  world.node(victim).crash();
  rot_log(world.node(victim));
  const auto rotten = contents_of(world.node(victim).fs, "/data");
  const Status refused = world.node(victim).boot();
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Errc::corruption);
  EXPECT_EQ(world.node(victim).damage, refused.error().message);
  world.boot(victim);
  EXPECT_NE(world.node(victim).group->incarnation(), before);
  EXPECT_EQ(world.node(victim).group->stats().put_aside, 1u);
  auto aside = contents_of(world.node(victim).fs, "/data.damaged-1");
  EXPECT_EQ(aside.extract("damaged").mapped(), refused.error().message);
  EXPECT_EQ(aside, rotten) << "not a byte has changed";
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  const Index end = world.leader()->group->commit_index();
  EXPECT_TRUE(world.run_until([&] { return world.node(victim).group->commit_index() >= end; }));
  EXPECT_EQ(world.commit_one(*world.leader()), Errc::ok);
}

TEST(Quarantine, a_damaged_checkpoint_or_incarnation_is_put_aside_likewise) {
  for (const char* const name : {"checkpoint", "incarnation"}) {
    ClusterWorld world(3);
    world.boot_all();
    ASSERT_NE(world.wait_for_leader(), nullptr);
    ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
    for (int i = 0; i < 10; ++i) ASSERT_EQ(world.commit_one(*world.leader()), Errc::ok);
    ASSERT_TRUE(world.run_until([&] { return world.node(2).fs.exists("/data/checkpoint"); }));
    world.run_for(300 * kMillisecond);
    world.node(2).crash();
    world.node(2).fs.corrupt("/data/" + std::string(name), 13, 0x01);
    ASSERT_FALSE(world.node(2).boot().has_value()) << name;
    EXPECT_NE(world.node(2).damage.find(name), std::string::npos) << world.node(2).damage;
    world.boot(2);
    EXPECT_TRUE(world.run_until([&] { return world.whole(); })) << name;
  }
}

// What is in the wrong place is no damage: an operator looks first.
TEST(Quarantine, a_log_that_is_gone_beside_a_checkpoint_is_refused_and_left_alone) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.node(2).fs.exists("/data/checkpoint"); }));
  world.run_for(300 * kMillisecond);  // its name is durable, too
  world.node(2).crash();
  std::vector<io::DirectoryEntry> entries;
  ASSERT_EQ(world.node(2).fs.list("/data/wal", entries), 0);
  for (const auto& entry : entries) ASSERT_EQ(world.node(2).fs.remove("/data/wal/" + entry.name), 0);
  const Status refused = world.node(2).boot();
  ASSERT_FALSE(refused.has_value());
  EXPECT_NE(refused.error().message.find("is gone"), std::string::npos) << refused.error().message;
  EXPECT_EQ(world.node(2).damage, "");
  EXPECT_FALSE(world.node(2).fs.exists("/data/damaged"));
}

TEST(Quarantine, a_node_alone_refuses_and_changes_nothing) {
  Rotting world(1);
  world.node(1).crash();
  rot_log(world.node(1));
  const auto before = contents_of(world.node(1).fs, "/data");
  for (int tries = 0; tries < 2; ++tries) {
    ASSERT_FALSE(world.node(1).boot().has_value());
    EXPECT_EQ(world.node(1).damage, "");
  }
  EXPECT_EQ(contents_of(world.node(1).fs, "/data"), before);
}

// Two copies are bad, the third may lack what they had acknowledged: nobody goes on.
TEST(Quarantine, with_a_majority_damaged_the_group_stops) {
  Rotting world(3);
  for (const std::uint32_t id : {1u, 2u, 3u}) world.node(id).crash();
  for (const std::uint32_t id : {1u, 2u}) {
    rot_log(world.node(id));
    ASSERT_FALSE(world.node(id).boot().has_value());
    world.boot(id);
  }
  world.boot(3);
  world.run_for(10 * kSecond);
  EXPECT_EQ(world.leader(), nullptr);
  for (const std::uint32_t id : {1u, 2u}) EXPECT_EQ(world.node(id).group->core().last_index(), Index(0));
}

// Blank nodes found a cluster, but not when each of them had data before.
TEST(Quarantine, nodes_that_have_all_put_their_data_aside_do_not_begin_anew) {
  Rotting world(3);
  for (const std::uint32_t id : {1u, 2u, 3u}) {
    world.node(id).crash();
    rot_log(world.node(id));
    ASSERT_FALSE(world.node(id).boot().has_value());
    world.boot(id);
  }
  world.run_for(3 * kSecond);
  // Also not when it crashes once more, or what was put aside is removed.
  for (const std::uint32_t id : {1u, 2u, 3u}) world.node(id).crash();
  for (const std::uint32_t id : {1u, 2u, 3u}) world.boot(id);
  world.run_for(10 * kSecond);
  EXPECT_EQ(world.leader(), nullptr);
  for (const std::uint32_t id : {1u, 2u, 3u}) EXPECT_EQ(world.node(id).group->term(), Term(0));
}

// --- found while it runs -----------------------------------------------------------------------------------

TEST(Repair, a_leader_leaves_at_once_when_all_others_follow_and_comes_back_as_a_voter) {
  Rotting world(3);
  ClusterNode& damaged = *world.leader();
  const raft::Incarnation before = damaged.group->incarnation();
  damaged.group->report_damage("segment 7 at byte 9");
  ASSERT_TRUE(world.run_until([&] { return damaged.group->failed(); }, kSecond));
  EXPECT_EQ(damaged.damage, "segment 7 at byte 9");
  EXPECT_EQ(damaged.failure, "") << "no failure of the device";
  damaged.crash();
  ASSERT_TRUE(world.run_until([&] { return world.leader() != nullptr; }, kSecond));
  world.boot(damaged.number);
  EXPECT_NE(damaged.group->incarnation(), before);
  EXPECT_EQ(text_of(damaged.fs, "/data.damaged-1/damaged"), "segment 7 at byte 9");
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

// Its data are the second copy of what the missing node lacks.
TEST(Repair, while_a_node_is_missing_nobody_leaves) {
  Rotting world(3);
  ClusterNode& damaged = *world.leader();
  ClusterNode& missing = world.node(damaged.number % 3 + 1);
  missing.crash();
  world.run_for(kSecond);  // until heartbeats are missed
  damaged.group->report_damage("segment 7 at byte 9");
  world.run_for(20 * kSecond);
  EXPECT_EQ(damaged.damage, "");
  EXPECT_FALSE(damaged.group->failed());
  EXPECT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok) << "two of three serve";
  world.boot(missing.number);
  EXPECT_TRUE(world.run_until([&] { return !damaged.damage.empty(); }, 20 * kSecond)) << "now it may leave";
  damaged.crash();
  world.boot(damaged.number);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

TEST(Repair, a_follower_asks_to_lead_and_leaves_as_a_leader) {
  Rotting world(3);
  ClusterNode& damaged = world.node(world.leader()->number % 3 + 1);
  damaged.group->report_damage("segment 7 at byte 9");
  ASSERT_TRUE(world.run_until([&] { return !damaged.damage.empty(); }, 20 * kSecond));
  damaged.crash();
  world.boot(damaged.number);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

TEST(Repair, of_two_damaged_nodes_the_second_waits_until_the_first_is_back) {
  Rotting world(3);
  ClusterNode& first = *world.leader();
  ClusterNode& second = world.node(first.number % 3 + 1);
  first.group->report_damage("a");
  second.group->report_damage("b");
  const auto left = [](const ClusterNode& node) { return !node.damage.empty(); };
  ASSERT_TRUE(world.run_until([&] { return left(first) || left(second); }, 20 * kSecond));
  EXPECT_NE(left(first), left(second));
  ClusterNode& gone = left(first) ? first : second;
  ClusterNode& waits = left(first) ? second : first;
  gone.crash();
  world.run_for(10 * kSecond);
  EXPECT_FALSE(left(waits));
  EXPECT_EQ(world.commit_one(*world.wait_for_leader()), Errc::ok);
  world.boot(gone.number);
  ASSERT_TRUE(world.run_until([&] { return left(waits); }, 30 * kSecond));
  waits.crash();
  world.boot(waits.number);
  EXPECT_TRUE(world.run_until([&] { return world.whole(); }));
}

TEST(Repair, a_node_alone_stays_as_it_is) {
  Rotting world(1);
  world.node(1).group->report_damage("segment 7 at byte 9");
  world.run_for(5 * kSecond);
  EXPECT_EQ(world.node(1).damage, "");
  EXPECT_EQ(world.commit_one(world.node(1)), Errc::ok);
}

// --- found by nobody but the node itself -------------------------------------------------------------------

// Three sealed segments and an open one on every node, and the checkpoints that say so.
void fill(ClusterWorld& world) {
  ClusterNode& leader = *world.leader();
  const PartitionIdentity identity{.id = PartitionId(1), .topic = "t", .segment_bytes = 16 * kKiB};
  ASSERT_TRUE(leader.group->create_partition(identity).has_value());
  ASSERT_TRUE(world.run_until([&] { return leader.group->find(identity.id) != nullptr; }));
  std::vector<std::byte> buffer(8 * kKiB);
  const std::string value(4000, 'v');
  for (int i = 0; i < 14; ++i) {
    wire::BatchBuilder builder(buffer);
    ASSERT_TRUE(builder.append(1'700'000'000'000 + i, {}, wire::NullableBytes(as_bytes(value))));
    const ByteView batch = builder.finish();
    ASSERT_TRUE(leader.group->append_batch(*leader.group->find(identity.id), batch).has_value());
    ASSERT_EQ(world.commit_one(leader), Errc::ok);
  }
  ASSERT_TRUE(world.run_until([&] {
    return std::ranges::all_of(world.nodes, [&](const auto& node) {
      const Partition* const partition = node->group->find(identity.id);
      return partition != nullptr && partition->log().next_offset() == Offset(14) &&
             !partition->log().needs_sync();
    });
  }));
  world.run_for(kSecond);
}

const std::string kFirstSegment = "/data/partitions/1-t-0/00000000000000000000.log";

void crash_a_full_follower(ClusterWorld& world, ClusterNode*& node) {
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  ASSERT_NO_FATAL_FAILURE(fill(world));
  node = &world.node(world.leader()->number % 3 + 1);
  node->crash();
}

void expect_learned_again(ClusterWorld& world, ClusterNode& node) {
  world.boot(node.number);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  EXPECT_EQ(text_of(node.fs, kFirstSegment), text_of(world.leader()->fs, kFirstSegment));
}

TEST(Scrub, damage_in_a_sealed_segment_of_a_follower_is_found_after_its_next_start) {
  ClusterWorld world(3);
  ClusterNode* crashed = nullptr;
  ASSERT_NO_FATAL_FAILURE(crash_a_full_follower(world, crashed));
  ClusterNode& node = *crashed;
  ASSERT_TRUE(node.fs.exists(kFirstSegment));
  world.boot(node.number);
  node.fs.corrupt(kFirstSegment, 9000,
                  0x40);  // now: without an index file the start reads the segment itself
  ASSERT_TRUE(world.run_until([&] { return node.group->stats().damage_found > 0; }, 5 * kSecond));
  ASSERT_TRUE(world.run_until([&] { return !node.damage.empty(); }, 20 * kSecond));
  EXPECT_NE(node.damage.find(kFirstSegment), std::string::npos) << node.damage;
  node.crash();
  expect_learned_again(world, node);
}

TEST(Scrub, a_sector_that_cannot_be_read_is_damage_and_is_learned_again) {
  ClusterWorld world(3);
  ClusterNode* crashed = nullptr;
  ASSERT_NO_FATAL_FAILURE(crash_a_full_follower(world, crashed));
  ClusterNode& node = *crashed;
  world.boot(node.number);
  node.fs.inject({.kind = io::DiskOp::Kind::read, .path_part = kFirstSegment});
  ASSERT_TRUE(world.run_until([&] { return !node.damage.empty(); }, 20 * kSecond));
  EXPECT_EQ(node.failure, "");
  EXPECT_NE(node.damage.find(kFirstSegment), std::string::npos) << node.damage;
  node.crash();
  node.fs.clear_faults();  // of the old file's sectors
  expect_learned_again(world, node);
}

TEST(Scrub, what_is_whole_is_read_through_without_a_word) {
  ClusterWorld world(3);
  world.boot_all();
  ASSERT_NE(world.wait_for_leader(), nullptr);
  ASSERT_TRUE(world.run_until([&] { return world.whole(); }));
  ASSERT_NO_FATAL_FAILURE(fill(world));
  world.run_for(5 * kSecond);
  for (const auto& node : world.nodes) {
    EXPECT_EQ(node->group->stats().damage_found, 0u);
    EXPECT_EQ(node->damage, "");
    EXPECT_EQ(node->failure, "");
  }
}

}  // namespace
}  // namespace esc::replica::test
