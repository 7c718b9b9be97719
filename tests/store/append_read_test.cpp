#include <array>
#include <fstream>

#include "fixture.h"

namespace esc::store::testing {
namespace {

std::vector<std::byte> joined(std::span<const TestBatch> batches) {
  std::vector<std::byte> all;
  for (const auto& batch : batches) all.insert(all.end(), batch.bytes.begin(), batch.bytes.end());
  return all;
}

class AppendReadTest : public StoreTest {
 protected:
  // `count` batches of `records` records each, one append per batch, a second apart from 1,000,000.
  void fill(std::size_t count, std::uint32_t records = 4, std::size_t value_bytes = 100) {
    for (std::size_t i = 0; i < count; ++i) {
      const WallMs timestamp = 1'000'000 + 1000 * static_cast<WallMs>(batches_.size());
      batches_.push_back(make_batch(log_->next_offset(), records, timestamp, value_bytes));
      ASSERT_EQ(append(batches_.back()), Errc::ok) << log_->last_error();
    }
  }
  std::vector<TestBatch> batches_;
};

TEST_F(AppendReadTest, a_fresh_log_touches_no_file) {
  EXPECT_EQ(log_->next_offset(), Offset(0));
  EXPECT_EQ(sync(), Errc::ok);
  EXPECT_EQ(disk_.operations, 0u);
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(Offset(0), 1000, bytes), Errc::ok);
  EXPECT_TRUE(bytes.empty());
  EXPECT_EQ(read(Offset(1), 1000, bytes), Errc::out_of_range);
  EXPECT_FALSE(std::filesystem::exists(directory_));
}

TEST_F(AppendReadTest, what_was_appended_is_read_back) {
  fill(3);
  std::vector<std::byte> bytes;
  ASSERT_EQ(read(Offset(0), 64 * kKiB, bytes), Errc::ok);
  EXPECT_EQ(bytes, joined(batches_));
  EXPECT_EQ(log_->next_offset(), Offset(12));
  EXPECT_EQ(log_->max_timestamp(), 1'002'000);
}

TEST_F(AppendReadTest, a_read_in_the_middle_of_a_batch_begins_with_that_batch) {
  fill(3);
  std::vector<std::byte> bytes;
  ASSERT_EQ(read(Offset(6), 64 * kKiB, bytes), Errc::ok);
  EXPECT_EQ(bytes, joined(std::span(batches_).subspan(1)));
}

TEST_F(AppendReadTest, a_read_returns_only_whole_batches) {
  fill(3);
  std::vector<std::byte> bytes;
  ASSERT_EQ(read(Offset(0), batches_[0].bytes.size() + batches_[1].bytes.size() + 5, bytes), Errc::ok);
  EXPECT_EQ(bytes, joined(std::span(batches_).first(2)));
}

TEST_F(AppendReadTest, a_batch_that_does_not_fit_is_not_cut_and_its_size_is_told) {
  fill(3);
  std::vector<std::byte> bytes;
  std::uint32_t needed = 0;
  for (const std::size_t size : {std::size_t{100}, batches_[1].bytes.size() - 1}) {
    ASSERT_EQ(read(Offset(5), size, bytes, &needed), Errc::ok);
    EXPECT_TRUE(bytes.empty());
    EXPECT_EQ(needed, batches_[1].bytes.size());
  }
  ASSERT_EQ(read(Offset(5), 10, bytes, &needed), Errc::ok);
  EXPECT_GT(needed, 10u);
  ASSERT_EQ(read(Offset(5), batches_[1].bytes.size(), bytes, &needed), Errc::ok);
  EXPECT_EQ(bytes, batches_[1].bytes);
}

TEST_F(AppendReadTest, many_batches_in_one_append_fill_several_segments) {
  Offset next(0);
  for (int i = 0; i < 256; ++i) {
    batches_.push_back(make_batch(next, 2, 1000 + i, 200));
    next = batches_.back().last_offset.next();
  }
  ASSERT_EQ(append(batches_), Errc::ok);
  const PartitionState now = state();
  ASSERT_GT(now.segments.size(), 5u);
  std::uint64_t total = 0;
  for (const auto& segment : now.segments) {
    EXPECT_LE(segment.bytes, options_.segment_bytes);
    total += segment.bytes;
  }
  EXPECT_EQ(total, log_->bytes());
  for (const auto& batch : batches_) {
    std::vector<std::byte> bytes;
    ASSERT_EQ(read(batch.last_offset, batch.bytes.size(), bytes), Errc::ok);
    EXPECT_EQ(bytes, batch.bytes);
  }
}

TEST_F(AppendReadTest, segments_do_not_depend_on_how_batches_were_grouped) {
  Offset next(0);
  for (int i = 0; i < 200; ++i) {
    batches_.push_back(make_batch(next, 1, 1000 + i, 50 + static_cast<std::size_t>(i) * 7));
    next = batches_.back().last_offset.next();
  }
  ASSERT_EQ(append(batches_), Errc::ok);
  const PartitionState together = state();
  disk_.run();
  log_ = PartitionLog::create(disk_, root_ + "/q", options_);
  for (const auto& batch : batches_) ASSERT_EQ(append(batch), Errc::ok);
  const PartitionState alone = state();
  ASSERT_EQ(together.segments.size(), alone.segments.size());
  for (std::size_t i = 0; i < alone.segments.size(); ++i) {
    EXPECT_EQ(together.segments[i].base_offset, alone.segments[i].base_offset);
    EXPECT_EQ(together.segments[i].bytes, alone.segments[i].bytes);
  }
}

TEST_F(AppendReadTest, other_rules_of_rolling_hold_from_their_offset_on) {
  for (int i = 0; i < 12; ++i) batches_.push_back(make_batch(Offset(i), 1, 1000 + i, 900));
  const std::size_t bytes = batches_[0].bytes.size();
  log_->set_rolling(Offset(5), {.bytes = 2 * bytes});
  log_->set_rolling(Offset(9), {.bytes = 10 * bytes});
  ASSERT_EQ(append(std::span(batches_).first(3)), Errc::ok);
  EXPECT_EQ(log_->rolling().bytes, options_.segment_bytes) << "its turn has not come";
  ASSERT_EQ(append(std::span(batches_).subspan(3)), Errc::ok);
  EXPECT_EQ(log_->rolling().bytes, 10 * bytes);
  std::vector<std::int64_t> bases;
  for (const auto& segment : state().segments) bases.push_back(segment.base_offset.value());
  EXPECT_EQ(bases, (std::vector<std::int64_t>{0, 5, 7}));
}

TEST_F(AppendReadTest, a_segment_ends_before_a_batch_that_is_too_much_newer_than_its_first_one) {
  log_->set_rolling(Offset(0), {.bytes = options_.segment_bytes, .ms = 1000});
  for (const WallMs time : {5000, 5900, 6000, 6001, 100, 7001, 7002}) {
    const Offset next = log_->next_offset();
    ASSERT_EQ(append(make_batch(next, 1, time, 10)), Errc::ok);
    // A start in between remembers when the segment began.
    ASSERT_EQ(sync(), Errc::ok);
    options_.segment_ms = 1000;
    ASSERT_TRUE(reopen(state()));
  }
  std::vector<std::int64_t> bases;
  for (const auto& segment : state().segments) bases.push_back(segment.base_offset.value());
  EXPECT_EQ(bases, (std::vector<std::int64_t>{0, 3, 6}));
}

TEST_F(AppendReadTest, records_without_a_time_end_no_segment) {
  log_->set_rolling(Offset(0), {.bytes = options_.segment_bytes, .ms = 0});
  for (const WallMs time : {-1, 5, 10})
    ASSERT_EQ(append(make_batch(log_->next_offset(), 1, time, 10)), Errc::ok);
  EXPECT_EQ(state().segments.size(), 1u);
}

TEST_F(AppendReadTest, a_batch_larger_than_a_segment_gets_its_own) {
  fill(2);
  fill(1, 1, 40 * 1024);
  fill(2);
  EXPECT_EQ(state().segments.size(), 3u);
  std::vector<std::byte> bytes;
  ASSERT_EQ(read(Offset(8), 64 * kKiB, bytes), Errc::ok);
  EXPECT_EQ(bytes, batches_[2].bytes);
}

TEST_F(AppendReadTest, a_reader_that_reads_on_needs_one_disk_read_each_time) {
  fill(30);
  Offset at(0);
  std::vector<std::byte> bytes;
  const std::size_t one = batches_[0].bytes.size();
  ASSERT_EQ(read(at, one, bytes), Errc::ok);
  const std::uint64_t misses = resources_->stats().position_misses;
  for (int i = 1; i < 20; ++i) {
    const std::uint64_t before = disk_.operations;
    ASSERT_EQ(read(Offset(4 * i), one, bytes), Errc::ok);
    EXPECT_EQ(bytes, batches_[static_cast<std::size_t>(i)].bytes);
    EXPECT_EQ(disk_.operations - before, 1u);
  }
  EXPECT_EQ(resources_->stats().position_misses, misses);
}

TEST_F(AppendReadTest, an_append_is_invisible_until_all_of_it_is_written) {
  fill(2);
  const TestBatch next = make_batch(log_->next_offset(), 1, 5, 10);
  const BatchRef ref = next.ref();
  AppendOp op;
  op.batches = std::span(&ref, 1);
  bool done = false;
  op.context = &done;
  op.done = [](AppendOp& o, Errc) { *static_cast<bool*>(o.context) = true; };
  log_->append(op);
  EXPECT_TRUE(log_->append_in_progress());
  EXPECT_EQ(log_->next_offset(), Offset(8));
  EXPECT_EQ(state().next_offset, Offset(8));
  disk_.run();
  EXPECT_TRUE(done);
  EXPECT_EQ(log_->next_offset(), Offset(9));
}

// Whoever reads has looked at the high watermark before: what is appended meanwhile may lie above it.
TEST_F(AppendReadTest, a_read_returns_nothing_that_was_appended_after_it_began) {
  options_.index_interval_bytes = 16 * kKiB;  // the read has a long way from the segment's beginning
  log_ = PartitionLog::create(disk_, directory_, options_);
  fill(11);
  std::vector<std::byte> buffer(2 * batches_[0].bytes.size());
  ReadOp read;
  read.offset = batches_[10].base_offset;
  read.buffer = buffer;
  Errc outcome = Errc::closed;
  read.context = &outcome;
  read.done = [](ReadOp& op, Errc code) { *static_cast<Errc*>(op.context) = code; };
  log_->read(read);
  fill(1);
  disk_.run();
  EXPECT_EQ(outcome, Errc::ok);
  EXPECT_TRUE(std::ranges::equal(read.bytes, batches_[10].bytes));
}

TEST_F(AppendReadTest, times_are_found_to_the_record) {
  std::vector<WallMs> times = {10, 20, 15, 40};
  batches_.push_back(make_batch(Offset(0), times, 10));
  times = {35, 50, 70};
  batches_.push_back(make_batch(Offset(4), times, 3000));  // larger than the scratch
  ASSERT_EQ(append(batches_), Errc::ok);
  const std::vector<std::array<WallMs, 3>> expected = {{-5, 0, 10}, {10, 0, 10}, {11, 1, 20}, {21, 3, 40},
                                                       {41, 5, 50}, {51, 6, 70}, {71, -1, -1}};
  for (const auto& [wanted, offset, timestamp] : expected) {
    Offset got;
    WallMs found = 0;
    ASSERT_EQ(find_time(wanted, got, found), Errc::ok) << log_->last_error();
    EXPECT_EQ(got, Offset(offset)) << wanted;
    EXPECT_EQ(found, timestamp) << wanted;
  }
}

TEST_F(AppendReadTest, a_full_disk_leaves_the_log_as_it_was_and_the_append_can_be_repeated) {
  fill(20);
  const PartitionState before = state();
  std::vector<TestBatch> more;
  Offset next = log_->next_offset();
  for (int i = 0; i < 100; ++i) {
    more.push_back(make_batch(next, 4, 5000 + i, 150));
    next = more.back().last_offset.next();
  }
  // Fails at each of the append's operations in turn: writes, and opens of new segments.
  for (int fail_at = 0;; ++fail_at) {
    int count = 0;
    disk_.fault = [&](const io::DiskOp& op) {
      const bool counts = op.kind == io::DiskOp::Kind::write || op.kind == io::DiskOp::Kind::open;
      return counts && count++ == fail_at ? ENOSPC : 0;
    };
    const Errc error = append(more);
    disk_.fault = nullptr;
    if (error == Errc::ok) {
      EXPECT_GT(fail_at, 4);
      break;
    }
    ASSERT_EQ(error, Errc::no_space);
    const PartitionState after = state();
    ASSERT_EQ(after.next_offset, before.next_offset);
    ASSERT_EQ(after.segments.size(), before.segments.size());
    ASSERT_EQ(after.segments.back().bytes, before.segments.back().bytes);
    std::vector<std::byte> bytes;
    ASSERT_EQ(read(before.next_offset, 1000, bytes), Errc::ok);
    EXPECT_TRUE(bytes.empty());
    ASSERT_EQ(sync(), Errc::ok);
  }
  for (const auto& batch : more) {
    std::vector<std::byte> bytes;
    ASSERT_EQ(read(batch.base_offset, batch.bytes.size(), bytes), Errc::ok);
    EXPECT_EQ(bytes, batch.bytes);
  }
}

TEST_F(AppendReadTest, after_a_failed_write_nothing_is_written_any_more) {
  fill(2);
  disk_.fault = [](const io::DiskOp& op) { return op.kind == io::DiskOp::Kind::write ? EIO : 0; };
  const TestBatch next = make_batch(log_->next_offset(), 1, 5, 10);
  EXPECT_EQ(append(next), Errc::io_error);
  EXPECT_NE(log_->last_error().find(directory_), std::string::npos);
  disk_.fault = nullptr;
  EXPECT_EQ(append(next), Errc::io_error);
  EXPECT_EQ(sync(), Errc::io_error);
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(Offset(0), 64 * kKiB, bytes), Errc::ok);
  EXPECT_EQ(bytes, joined(batches_));
}

TEST_F(AppendReadTest, a_failed_sync_is_an_error_even_when_it_says_no_space) {
  fill(2);
  disk_.fault = [](const io::DiskOp& op) { return op.kind == io::DiskOp::Kind::sync_data ? ENOSPC : 0; };
  EXPECT_EQ(sync(), Errc::io_error);
}

TEST_F(AppendReadTest, what_the_device_cannot_read_is_damage_and_the_message_says_where) {
  fill(2);
  for (const int os_error : {EIO, ENODATA, EBADMSG, ENOMEM}) {
    disk_.fault = [=](const io::DiskOp& op) { return op.kind == io::DiskOp::Kind::read ? os_error : 0; };
    const Errc expected = os_error == ENOMEM ? Errc::io_error : Errc::corruption;
    std::vector<std::byte> bytes;
    EXPECT_EQ(read(Offset(0), 1000, bytes), expected) << os_error;
    EXPECT_NE(log_->last_error().find(".log at byte 0"), std::string::npos) << log_->last_error();
    Offset found;
    WallMs time = 0;
    EXPECT_EQ(find_time(1, found, time), expected) << os_error;
  }
  disk_.fault = nullptr;
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(Offset(0), 1000, bytes), Errc::ok) << "nothing was given up";
}

TEST_F(AppendReadTest, every_flipped_byte_is_reported_and_never_served) {
  fill(4, 2, 30);
  const std::string path = directory_ + "/00000000000000000000.log";
  const std::vector<std::byte> good = joined(batches_);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto put = [&](std::byte byte) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(byte));
      file.flush();
    };
    put(good[at] ^ std::byte{0x10});
    std::size_t served = 0;
    Errc error = Errc::ok;
    for (Offset offset(0); offset < log_->next_offset() && error == Errc::ok;) {
      std::vector<std::byte> bytes;
      std::uint32_t needed = 0;
      error = read(offset, 64 * kKiB, bytes, &needed);
      ASSERT_LE(served + bytes.size(), good.size());
      ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), good.begin() + static_cast<std::ptrdiff_t>(served)))
          << at;
      served += bytes.size();
      if (error == Errc::ok) {
        ASSERT_FALSE(bytes.empty()) << at;
      }
      for (const auto& batch : batches_) {
        if (served > 0 && batch.base_offset == offset && !bytes.empty()) break;
      }
      std::size_t sum = 0;
      for (const auto& batch : batches_) {
        sum += batch.bytes.size();
        if (sum == served) offset = batch.last_offset.next();
      }
    }
    EXPECT_EQ(error, Errc::corruption) << at;
    EXPECT_NE(log_->last_error().find(path), std::string::npos);
    put(good[at]);
  }
}

TEST_F(AppendReadTest, files_beyond_the_limit_are_closed_and_opened_again) {
  for (int i = 0; i < 20; ++i) fill(1, 1, 10 * 1024);
  ASSERT_GT(state().segments.size(), 10u);
  ASSERT_EQ(sync(), Errc::ok);
  disk_.run();
  EXPECT_LE(resources_->stats().files_open, 4u);
  for (int round = 0; round < 2; ++round) {
    for (const auto& batch : batches_) {
      std::vector<std::byte> bytes;
      ASSERT_EQ(read(batch.base_offset, 32 * kKiB, bytes), Errc::ok);
      EXPECT_EQ(bytes, batch.bytes);
    }
  }
  disk_.run();
  EXPECT_LE(resources_->stats().files_open, 4u);
}

TEST_F(AppendReadTest, more_appends_than_gather_arrays_wait_their_turn) {
  constexpr int kLogs = 10;
  std::vector<std::unique_ptr<PartitionLog>> logs;
  std::vector<TestBatch> batches;
  std::vector<BatchRef> refs;
  std::vector<AppendOp> ops(kLogs);
  int done = 0;
  for (int i = 0; i < kLogs; ++i) {
    logs.push_back(PartitionLog::create(disk_, root_ + "/many" + std::to_string(i), options_));
    batches.push_back(make_batch(Offset(0), 3, 77, 100));
  }
  for (const auto& batch : batches) refs.push_back(batch.ref());
  for (std::size_t i = 0; i < kLogs; ++i) {
    ops[i].batches = std::span(&refs[i], 1);
    ops[i].context = &done;
    ops[i].done = [](AppendOp& op, Errc error) {
      EXPECT_EQ(error, Errc::ok);
      ++*static_cast<int*>(op.context);
    };
    logs[i]->append(ops[i]);
  }
  disk_.run();
  EXPECT_EQ(done, kLogs);
  EXPECT_GT(resources_->stats().appends_waited, 0u);
  for (auto& log : logs) EXPECT_EQ(log->next_offset(), Offset(3));
}

TEST_F(AppendReadTest, appends_of_several_logs_together_write_no_more_at_once_than_they_may) {
  const auto resources =
      Resources::create(disk_, &files_, {.open_files_max = 8, .appends_max = 4, .append_bytes_max = 10'000});
  options_.resources = resources.get();
  std::array<std::unique_ptr<PartitionLog>, 4> logs;
  std::array<TestBatch, 4> batches;
  std::array<BatchRef, 4> refs;
  std::array<AppendOp, 4> ops;
  // Two fit, the third waits although there is room for the fourth, which waits behind it.
  constexpr std::array<std::size_t, 4> kValueBytes = {3'000, 3'000, 12'000, 100};
  static std::vector<std::size_t> order;
  order.clear();
  for (std::size_t i = 0; i < logs.size(); ++i) {
    logs[i] = PartitionLog::create(disk_, directory_ + "-" + std::to_string(i), options_);
    batches[i] = make_batch(Offset(0), 1, 1'000'000, kValueBytes[i]);
    refs[i] = batches[i].ref();
    ops[i].batches = std::span(&refs[i], 1);
    ops[i].done = [](AppendOp& op, Errc error) {
      EXPECT_EQ(error, Errc::ok);
      order.push_back(op.batches[0].bytes.size());
    };
    logs[i]->append(ops[i]);
  }
  EXPECT_EQ(resources->stats().appends_waited, 2u);
  while (order.size() < 2) ASSERT_TRUE(disk_.run_one());
  EXPECT_TRUE(logs[2]->append_in_progress());
  disk_.run();
  ASSERT_EQ(order.size(), 4u);
  EXPECT_EQ(order[2], refs[2].bytes.size()) << "one alone may be larger";
  EXPECT_EQ(order[3], refs[3].bytes.size());
}

}  // namespace
}  // namespace esc::store::testing
