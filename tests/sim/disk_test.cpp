#include "esc/sim/disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace esc::sim {
namespace {

using Kind = io::DiskOp::Kind;

struct World {
  explicit World(std::uint64_t seed = 1) : fs(Prng(seed)), disk(clock, fs, Prng(seed).fork(1)), files(fs) {
    EXPECT_TRUE(files.make_directories("/d"));
  }
  // Runs one operation to its end.
  Errc run(io::DiskOp& op) {
    bool done = false;
    op.context = &done;
    op.done = [](io::DiskOp& finished) { *static_cast<bool*>(finished.context) = true; };
    disk.submit(op);
    EXPECT_FALSE(done) << "done from inside submit";
    while (!done && clock.step()) {
    }
    EXPECT_TRUE(done);
    return op.error;
  }
  void write_file(const std::string& path, const std::string& text, bool sync, bool sync_directory) {
    const auto file = files.open(path, {.write = true, .create = true});
    ASSERT_TRUE(file);
    ASSERT_TRUE(files.write(*file, 0, as_bytes(text)));
    if (sync) {
      ASSERT_TRUE(files.sync(*file));
    }
    files.close(*file);
    if (sync_directory) {
      ASSERT_TRUE(files.sync_directory("/d"));
    }
  }
  std::string read_file(const std::string& path) {
    const auto bytes = io::read_whole_file(files, path, 1 << 20);
    return bytes ? std::string(as_text(*bytes)) : "(" + bytes.error().message + ")";
  }

  SimClock clock;
  FileSystem fs;
  SimDisk disk;
  SimFiles files;
};

TEST(SimDisk, a_stall_of_some_files_holds_up_these_only) {
  World w;
  w.write_file("/d/wal", "a", true, true);
  w.write_file("/d/data", "b", true, true);
  const Nanos until = w.clock.now() + kSecond;
  w.disk.stall_until(until, "/wal");
  const auto sync = [&](const std::string& path) {
    const auto file = w.files.open(path, {.write = true});
    EXPECT_TRUE(file);
    io::DiskOp op;
    op.kind = Kind::sync_data;
    op.file = *file;
    EXPECT_EQ(w.run(op), Errc::ok);
    w.files.close(*file);
  };
  sync("/d/data");
  EXPECT_LT(w.clock.now(), until);
  sync("/d/wal");
  EXPECT_GE(w.clock.now(), until);
}

TEST(SimDisk, synced_file_with_synced_name_survives_every_power_cut) {
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    World w(seed);
    w.write_file("/d/a", "hello", true, true);
    w.disk.crash(CrashKind::power);
    EXPECT_EQ(w.read_file("/d/a"), "hello");
  }
}

TEST(SimDisk, an_unsynced_name_or_content_survives_only_by_luck) {
  int without_name = 0;
  int without_content = 0;
  for (std::uint64_t seed = 1; seed < 100; ++seed) {
    World w(seed);
    w.write_file("/d/name", "hello", true, false);
    w.disk.crash(CrashKind::power);
    without_name += w.fs.exists("/d/name") ? 0 : 1;
    World v(seed);
    v.write_file("/d/content", "hello", false, true);
    v.disk.crash(CrashKind::power);
    without_content += v.read_file("/d/content") == "hello" ? 0 : 1;
  }
  EXPECT_GT(without_name, 20);
  EXPECT_LT(without_name, 80);
  EXPECT_GT(without_content, 20);
  EXPECT_LT(without_content, 90);
}

TEST(SimDisk, a_kill_keeps_what_was_written) {
  World w;
  w.write_file("/d/a", "hello", false, false);
  w.disk.crash(CrashKind::process);
  EXPECT_EQ(w.read_file("/d/a"), "hello");
}

TEST(SimDisk, rename_is_all_or_nothing) {
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    World w(seed);
    w.write_file("/d/old", "content", true, true);
    ASSERT_TRUE(w.files.rename("/d/old", "/d/new"));
    w.disk.crash(CrashKind::power);
    EXPECT_NE(w.fs.exists("/d/old"), w.fs.exists("/d/new"));
  }
}

TEST(SimDisk, atomic_replacement_is_stable_when_it_returns) {
  for (std::uint64_t seed = 1; seed < 50; ++seed) {
    World w(seed);
    ASSERT_TRUE(io::write_file_atomically(w.files, "/d/a", as_bytes("old")));
    ASSERT_TRUE(io::write_file_atomically(w.files, "/d/a", as_bytes("new")));
    w.disk.crash(CrashKind::power);
    EXPECT_EQ(w.read_file("/d/a"), "new");
  }
}

TEST(SimDisk, an_interrupted_durable_write_scatters_by_sectors) {
  bool whole = false;
  bool none = false;
  bool mixed = false;
  for (std::uint64_t seed = 1; seed < 200; ++seed) {
    World w(seed);
    w.write_file("/d/a", std::string(2 * kBlockBytes, 'a'), true, true);
    io::DiskOp open;
    open.kind = Kind::open;
    open.path = "/d/a";
    open.flags = {.write = true, .direct_dsync = true};
    ASSERT_EQ(w.run(open), Errc::ok);
    void* memory = std::aligned_alloc(kBlockBytes, 2 * kBlockBytes);
    std::memset(memory, 'b', 2 * kBlockBytes);
    io::DiskOp write;
    write.kind = Kind::write;
    write.file = open.file;
    write.buffer = {static_cast<std::byte*>(memory), 2 * kBlockBytes};
    write.done = [](io::DiskOp&) { FAIL() << "completed after the crash"; };
    w.disk.submit(write);
    w.disk.crash(CrashKind::power);
    while (w.clock.step()) {
    }
    std::free(memory);
    const std::string after = w.read_file("/d/a");
    ASSERT_EQ(after.size(), 2 * kBlockBytes);
    const bool has_a = after.find('a') != std::string::npos;
    const bool has_b = after.find('b') != std::string::npos;
    whole |= !has_a;
    none |= !has_b;
    mixed |= has_a && has_b;
  }
  EXPECT_TRUE(whole && none && mixed);
}

TEST(SimDisk, faults_hit_the_named_operations_only) {
  World w;
  w.write_file("/d/a", "x", true, true);
  w.write_file("/d/b", "x", true, true);
  w.fs.inject({.kind = Kind::read, .path_part = "/d/a", .os_error = EIO, .skip = 1, .count = 1});
  const auto a = w.files.open("/d/a", {});
  const auto b = w.files.open("/d/b", {});
  std::byte byte{};
  EXPECT_TRUE(w.files.read(*b, 0, {&byte, 1}));
  EXPECT_TRUE(w.files.read(*a, 0, {&byte, 1}));
  const auto failed = w.files.read(*a, 0, {&byte, 1});
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, Errc::io_error);
  EXPECT_TRUE(w.files.read(*a, 0, {&byte, 1}));
}

TEST(SimDisk, a_full_disk_refuses_growth_and_recovers) {
  World w;
  w.fs.set_capacity(100);
  const auto file = w.files.open("/d/a", {.write = true, .create = true});
  const std::string text(80, 'x');
  ASSERT_TRUE(w.files.write(*file, 0, as_bytes(text)));
  ASSERT_TRUE(w.files.write(*file, 0, as_bytes(text))) << "overwriting needs no space";
  const auto refused = w.files.write(*file, 80, as_bytes(text));
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::no_space);
  w.fs.set_capacity(1000);
  EXPECT_TRUE(w.files.write(*file, 80, as_bytes(text)));
}

TEST(SimDisk, operations_may_overtake_each_other_and_equal_seeds_give_equal_runs) {
  const auto order_of = [](std::uint64_t seed) {
    World w(seed);
    w.write_file("/d/a", std::string(64, 'x'), true, true);
    const auto file = w.files.open("/d/a", {});
    std::vector<std::uint64_t> order;
    std::vector<io::DiskOp> ops(20);
    std::byte byte{};
    for (std::uint64_t i = 0; i < ops.size(); ++i) {
      ops[i].kind = Kind::read;
      ops[i].file = *file;
      ops[i].offset = i;
      ops[i].buffer = {&byte, 1};
      ops[i].context = &order;
      ops[i].done = [](io::DiskOp& op) {
        static_cast<std::vector<std::uint64_t>*>(op.context)->push_back(op.offset);
      };
      w.disk.submit(ops[i]);
    }
    while (w.clock.step()) {
    }
    return order;
  };
  EXPECT_EQ(order_of(3), order_of(3));
  EXPECT_NE(order_of(3), order_of(4));
  const auto order = order_of(3);
  EXPECT_FALSE(std::is_sorted(order.begin(), order.end()));
}

}  // namespace
}  // namespace esc::sim
