#include "../../src/replica/file_saver.h"

#include <gtest/gtest.h>

#include <optional>

#include "esc/io/disk.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/file_system.h"

namespace esc::replica {
namespace {

TEST(FileSaver, a_longer_leftover_of_a_process_that_died_is_no_part_of_the_file) {
  Prng prng(3);
  sim::SimClock clock;
  sim::FileSystem fs(prng.fork(1));
  sim::SimDisk disk(clock, fs, prng.fork(2));
  sim::SimFiles files(fs);
  ASSERT_TRUE(files.make_directories("/data").has_value());
  const auto leftover = files.open("/data/state.new", {.write = true, .create = true});
  ASSERT_TRUE(leftover.has_value());
  ASSERT_TRUE(files.write(*leftover, 0, std::vector<std::byte>(10'000, std::byte{7})).has_value());
  files.close(*leftover);

  FileSaver saver(disk);
  for (const std::size_t bytes : {std::size_t{5000}, std::size_t{9000}, std::size_t{100}}) {
    saver.contents().assign(bytes, std::byte{1});
    std::optional<Errc> outcome;
    saver.save(
        "/data", "state", [](void* to, Errc code) { *static_cast<std::optional<Errc>*>(to) = code; },
        &outcome);
    while (!outcome.has_value()) ASSERT_TRUE(clock.step());
    EXPECT_EQ(outcome, Errc::ok);
    fs.crash(sim::CrashKind::power);
    const auto read = io::read_whole_file(files, "/data/state", kMiB);
    ASSERT_TRUE(read.has_value());
    EXPECT_EQ(*read, saver.contents());
  }
}

}  // namespace
}  // namespace esc::replica
