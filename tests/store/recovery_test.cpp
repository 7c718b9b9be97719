#include <fstream>
#include <iterator>
#include <set>

#include "fixture.h"

namespace esc::store::testing {
namespace {

class RecoveryTest : public StoreTest {
 protected:
  void fill(std::size_t count, std::size_t value_bytes = 200) {
    for (std::size_t i = 0; i < count; ++i) {
      const WallMs timestamp = 1'000'000 + 1000 * static_cast<WallMs>(batches_.size());
      batches_.push_back(make_batch(log_->next_offset(), 4, timestamp, value_bytes));
      ASSERT_EQ(append(batches_.back()), Errc::ok) << log_->last_error();
    }
  }
  void expect_readable(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      std::vector<std::byte> bytes;
      ASSERT_EQ(read(batches_[i].base_offset, batches_[i].bytes.size(), bytes), Errc::ok)
          << log_->last_error();
      ASSERT_EQ(bytes, batches_[i].bytes);
    }
  }
  std::string path(std::int64_t base, const char* suffix) const {
    char name[40];
    std::snprintf(name, sizeof name, "/%020lld", static_cast<long long>(base));
    return directory_ + name + suffix;
  }
  static void flip(const std::string& file_path, std::streamoff at) {
    std::fstream file(file_path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(at);
    const int byte = file.get();
    ASSERT_NE(byte, EOF);
    file.seekp(at);
    file.put(static_cast<char>(byte ^ 1));
  }
  static std::string contents(const std::string& file_path) {
    std::ifstream file(file_path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  std::vector<TestBatch> batches_;
};

TEST_F(RecoveryTest, a_log_opens_as_its_checkpoint_says) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState before = state();
  ASSERT_TRUE(reopen(before));
  const PartitionState after = state();
  EXPECT_EQ(after.next_offset, before.next_offset);
  EXPECT_EQ(after.segments.size(), before.segments.size());
  EXPECT_EQ(log_->max_timestamp(), 1'059'000);
  EXPECT_TRUE(log_->notes().empty());
  expect_readable(60);
  fill(10);
  expect_readable(70);
}

TEST_F(RecoveryTest, what_came_after_the_checkpoint_is_not_served_until_it_is_replayed) {
  fill(30);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState checkpoint = state();
  fill(30);
  const std::string last = contents(path(state().segments.back().base_offset.value(), ".log"));
  const PartitionState end = state();
  ASSERT_TRUE(reopen(checkpoint));
  EXPECT_EQ(log_->next_offset(), checkpoint.next_offset);
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(checkpoint.next_offset.next(), 4096, bytes), Errc::out_of_range);
  // Nothing was cut or deleted.
  EXPECT_EQ(contents(path(end.segments.back().base_offset.value(), ".log")), last);
  const auto again = std::span(batches_).subspan(30);
  ASSERT_EQ(append(again), Errc::ok);
  expect_readable(60);
  EXPECT_EQ(state().segments.back().base_offset, end.segments.back().base_offset);
  EXPECT_EQ(contents(path(end.segments.back().base_offset.value(), ".log")), last);
}

TEST_F(RecoveryTest, a_sealed_segment_is_cut_to_its_length_when_an_old_tail_lay_behind_it) {
  fill(10);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState checkpoint = state();
  {
    std::ofstream tail(path(0, ".log"), std::ios::binary | std::ios::app);
    tail << std::string(30'000, 'x');
  }
  ASSERT_TRUE(reopen(checkpoint));
  fill(30);
  const PartitionState now = state();
  ASSERT_GT(now.segments.size(), 1u);
  EXPECT_EQ(std::filesystem::file_size(path(0, ".log")), now.segments[0].bytes);
  expect_readable(40);
}

TEST_F(RecoveryTest, a_partition_created_after_the_checkpoint_writes_over_its_old_files) {
  fill(30);
  const PartitionState before = state();
  disk_.run();
  log_ = PartitionLog::create(disk_, directory_, options_);
  ASSERT_EQ(append(batches_), Errc::ok);
  expect_readable(30);
  EXPECT_EQ(state().segments.size(), before.segments.size());
  for (std::size_t i = 0; i + 1 < before.segments.size(); ++i) {
    EXPECT_EQ(std::filesystem::file_size(path(before.segments[i].base_offset.value(), ".log")),
              before.segments[i].bytes);
  }
}

TEST_F(RecoveryTest, a_damaged_or_missing_index_is_rebuilt) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState before = state();
  ASSERT_GT(before.segments.size(), 3u);
  ASSERT_TRUE(std::filesystem::exists(path(0, ".index")));
  flip(path(0, ".index"), 90);
  std::filesystem::resize_file(path(before.segments[1].base_offset.value(), ".index"), 80);
  std::filesystem::remove(path(before.segments[2].base_offset.value(), ".index"));
  ASSERT_TRUE(reopen(before));
  expect_readable(60);
  // And saved again.
  ASSERT_EQ(sync(), Errc::ok);
  const auto size = std::filesystem::file_size(path(before.segments[1].base_offset.value(), ".index"));
  EXPECT_GT(size, 80u);
}

TEST_F(RecoveryTest, opening_with_good_indexes_does_not_read_sealed_segments) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState before = state();
  flip(path(0, ".log"), 100);
  ASSERT_TRUE(reopen(before));
  // The damage is found by whoever reads there.
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(Offset(0), 4096, bytes), Errc::corruption);
  EXPECT_NE(log_->last_error().find(path(0, ".log") + " at byte 0"), std::string::npos) << log_->last_error();
  EXPECT_EQ(read(before.segments[1].base_offset, 4096, bytes), Errc::ok);
}

TEST_F(RecoveryTest, damage_in_a_segment_that_must_be_scanned_is_reported_with_file_and_position) {
  fill(5);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState before = state();
  const auto size = std::filesystem::file_size(path(0, ".log"));
  flip(path(0, ".log"), static_cast<std::streamoff>(batches_[0].bytes.size() + 100));
  const Status opened = reopen(before);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::corruption);
  EXPECT_NE(opened.error().message.find(path(0, ".log")), std::string::npos);
  EXPECT_NE(opened.error().message.find("byte " + std::to_string(batches_[0].bytes.size())),
            std::string::npos)
      << opened.error().message;
  EXPECT_EQ(std::filesystem::file_size(path(0, ".log")), size);
}

TEST_F(RecoveryTest, a_short_or_missing_segment_is_corruption_and_names_the_file) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState before = state();
  const std::string second = path(before.segments[1].base_offset.value(), ".log");
  std::filesystem::resize_file(second, before.segments[1].bytes - 1);
  Status opened = reopen(before);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::corruption);
  EXPECT_NE(opened.error().message.find(second), std::string::npos);
  std::filesystem::remove(second);
  opened = reopen(before);
  ASSERT_FALSE(opened);
  EXPECT_NE(opened.error().message.find("missing"), std::string::npos);
}

TEST_F(RecoveryTest, a_checkpoint_that_contradicts_itself_is_refused) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState good = state();
  PartitionState bad = good;
  std::swap(bad.segments[0], bad.segments[1]);
  EXPECT_FALSE(reopen(bad));
  bad = good;
  bad.log_start_offset = good.next_offset.next();
  EXPECT_FALSE(reopen(bad));
  bad = good;
  bad.segments[0].bytes -= 5;
  EXPECT_FALSE(reopen(bad));
  bad = good;
  bad.next_offset = bad.next_offset.next();
  EXPECT_FALSE(reopen(bad));
  EXPECT_TRUE(reopen(good));
}

TEST_F(RecoveryTest, unknown_files_are_told_and_left_alone) {
  fill(30);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState before = state();
  {
    std::ofstream(directory_ + "/notes.txt") << "hello";
  }
  {
    std::ofstream(path(2, ".log")) << "what is this";
  }
  ASSERT_TRUE(reopen(before));
  ASSERT_EQ(log_->notes().size(), 2u);
  log_->release_removed();
  disk_.run();
  EXPECT_TRUE(std::filesystem::exists(directory_ + "/notes.txt"));
  EXPECT_TRUE(std::filesystem::exists(path(2, ".log")));
}

// A replay ends the segments where the earlier life did, but for the rules: with a snapshot come those of
// now.
TEST_F(RecoveryTest, files_of_an_earlier_life_with_other_rules_go_when_the_log_has_passed_them) {
  fill(10);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState checkpoint = state();
  fill(200);
  const PartitionState lost = state();
  ASSERT_GE(lost.segments.size(), checkpoint.segments.size() + 3);
  ASSERT_TRUE(reopen(checkpoint));
  EXPECT_TRUE(log_->notes().empty());
  log_->set_rolling(log_->next_offset(), {.bytes = options_.segment_bytes * 2, .ms = -1});
  fill(200);
  disk_.run();
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(directory_))
    if (entry.path().extension() == ".log") names.insert(entry.path().filename());
  std::set<std::string> expected;
  for (const auto& segment : state().segments)
    expected.insert(std::filesystem::path(path(segment.base_offset.value(), ".log")).filename());
  EXPECT_EQ(names, expected);
  ASSERT_EQ(sync(), Errc::ok);
  ASSERT_TRUE(reopen(state()));
  EXPECT_TRUE(log_->notes().empty());
}

TEST_F(RecoveryTest, a_large_active_segment_is_scanned_only_behind_its_saved_index) {
  options_.segment_bytes = 64 * kMiB;
  options_.index_interval_bytes = 32 * 1024;
  log_ = PartitionLog::create(disk_, directory_, options_);
  fill(40, 64 * 1024);  // 10 MiB
  ASSERT_EQ(sync(), Errc::ok);
  ASSERT_TRUE(std::filesystem::exists(path(0, ".index")));
  const PartitionState early = state();
  fill(4, 64 * 1024);
  ASSERT_EQ(sync(), Errc::ok);
  const PartitionState late = state();
  // Damage before what the index covers is not met by open().
  flip(path(0, ".log"), 5000);
  EXPECT_TRUE(reopen(late));
  EXPECT_TRUE(reopen(early));
  PartitionState cut = early;  // a checkpoint older than the index file
  cut.next_offset = batches_[29].last_offset.next();
  cut.segments[0].bytes = 30 * batches_[0].bytes.size();
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < 30; ++i) bytes += batches_[i].bytes.size();
  cut.segments[0].bytes = bytes;
  ASSERT_TRUE(reopen(cut));
  EXPECT_EQ(log_->max_timestamp(), 1'029'000);
  std::vector<std::byte> got;
  ASSERT_EQ(read(batches_[29].base_offset, 512 * 1024, got), Errc::ok);
  EXPECT_EQ(got, batches_[29].bytes);
}

}  // namespace
}  // namespace esc::store::testing
