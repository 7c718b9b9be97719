#include "fixture.h"

namespace esc::store::testing {
namespace {

class RetentionTest : public StoreTest {
 protected:
  void fill(std::size_t count, std::size_t value_bytes = 200) {
    for (std::size_t i = 0; i < count; ++i) {
      const WallMs timestamp = 1'000'000 + 1000 * static_cast<WallMs>(batches_.size());
      batches_.push_back(make_batch(log_->next_offset(), 4, timestamp, value_bytes));
      ASSERT_EQ(append(batches_.back()), Errc::ok) << log_->last_error();
    }
  }
  std::size_t files() const {
    std::size_t count = 0;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      if (entry.path().extension() == ".log") ++count;
    }
    return count;
  }
  std::vector<TestBatch> batches_;
};

TEST_F(RetentionTest, old_segments_go_and_the_active_one_stays) {
  fill(60);
  const PartitionState now = state();
  EXPECT_EQ(log_->retention_point(-1, -1, 9'000'000), Offset(0));
  EXPECT_EQ(log_->retention_point(1000, -1, 9'000'000), now.segments.back().base_offset);
  EXPECT_EQ(log_->retention_point(-1, 0, 0), now.segments.back().base_offset);
  EXPECT_EQ(log_->retention_point(-1, static_cast<std::int64_t>(log_->bytes() - now.segments[0].bytes), 0),
            now.segments[1].base_offset);
  EXPECT_EQ(
      log_->retention_point(-1, static_cast<std::int64_t>(log_->bytes() - now.segments[0].bytes + 1), 0),
      Offset(0));
  EXPECT_EQ(log_->log_start_offset(), Offset(0));  // asking changes nothing
}

TEST_F(RetentionTest, dropped_segments_vanish_at_once_and_their_files_after_the_next_checkpoint) {
  fill(60);
  const std::size_t before = files();
  const PartitionState old = state();
  log_->set_log_start(old.segments[2].base_offset);
  EXPECT_EQ(state().segments.size(), before - 2);
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(Offset(0), 4096, bytes), Errc::out_of_range);
  log_->release_removed();  // of a checkpoint that began before
  disk_.run();
  EXPECT_EQ(files(), before);
  EXPECT_TRUE(log_->needs_sync());
  ASSERT_EQ(sync(), Errc::ok);
  log_->release_removed();
  disk_.run();
  EXPECT_EQ(files(), before - 2);
  EXPECT_FALSE(log_->needs_sync());
  EXPECT_TRUE(log_->idle());
}

TEST_F(RetentionTest, a_log_start_inside_a_segment_hides_what_is_below) {
  fill(5);
  log_->set_log_start(Offset(6));
  std::vector<std::byte> bytes;
  EXPECT_EQ(read(Offset(5), 4096, bytes), Errc::out_of_range);
  ASSERT_EQ(read(Offset(6), 4096, bytes), Errc::ok);
  Offset found;
  WallMs time = 0;
  ASSERT_EQ(find_time(0, found, time), Errc::ok);
  EXPECT_EQ(found, Offset(6));
  ASSERT_EQ(sync(), Errc::ok);
  ASSERT_TRUE(reopen(state()));
  EXPECT_EQ(log_->log_start_offset(), Offset(6));
}

TEST_F(RetentionTest, a_reader_of_a_dropped_segment_finishes_before_the_file_goes) {
  fill(60);
  const PartitionState old = state();
  const std::size_t before = files();
  std::vector<std::byte> buffer(8192);
  ReadOp op;
  op.offset = Offset(4);
  op.buffer = buffer;
  bool done = false;
  op.context = &done;
  op.done = [](ReadOp& r, Errc error) {
    EXPECT_EQ(error, Errc::ok);
    EXPECT_FALSE(r.bytes.empty());
    *static_cast<bool*>(r.context) = true;
  };
  log_->read(op);
  log_->set_log_start(old.segments[2].base_offset);
  SyncOp sync_op;
  sync_op.done = [](SyncOp&, Errc) {};
  log_->sync(sync_op);
  log_->release_removed();
  EXPECT_FALSE(done);
  disk_.run();
  EXPECT_TRUE(done);
  log_->release_removed();
  disk_.run();
  EXPECT_EQ(files(), before - 2);
  EXPECT_TRUE(std::equal(batches_[1].bytes.begin(), batches_[1].bytes.end(), op.bytes.begin()));
}

TEST_F(RetentionTest, files_that_retention_left_behind_at_a_crash_are_removed_later) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  log_->set_log_start(state().segments[2].base_offset);
  ASSERT_EQ(sync(), Errc::ok);
  const std::size_t before = files();
  ASSERT_TRUE(reopen(state()));
  EXPECT_TRUE(log_->notes().empty());
  log_->release_removed();
  disk_.run();
  EXPECT_EQ(files(), before - 2);
}

TEST_F(RetentionTest, destroy_removes_every_file_after_what_is_in_flight) {
  fill(60);
  ASSERT_EQ(sync(), Errc::ok);
  log_->set_log_start(state().segments[1].base_offset);
  const TestBatch next = make_batch(log_->next_offset(), 1, 5, 10);
  const BatchRef ref = next.ref();
  AppendOp append_op;
  append_op.batches = std::span(&ref, 1);
  append_op.done = [](AppendOp&, Errc error) { EXPECT_EQ(error, Errc::ok); };
  std::vector<std::byte> buffer(8192);
  ReadOp read_op;
  read_op.offset = log_->log_start_offset();
  read_op.buffer = buffer;
  read_op.done = [](ReadOp&, Errc error) { EXPECT_EQ(error, Errc::ok); };
  log_->append(append_op);
  log_->read(read_op);
  SyncOp op;
  EXPECT_EQ(finish(disk_, op, [&] { log_->destroy(op); }), Errc::ok);
  EXPECT_TRUE(std::filesystem::is_empty(directory_));
  EXPECT_TRUE(log_->idle());
  EXPECT_EQ(resources_->stats().files_open, 0u);
}

TEST_F(RetentionTest, a_file_gives_its_space_back_piece_by_piece_before_it_goes) {
  fill(60);
  const std::uint64_t bytes = state().segments[0].bytes;
  log_->set_log_start(state().segments[1].base_offset);
  ASSERT_EQ(sync(), Errc::ok);
  std::vector<std::uint64_t> punched;
  bool removed = false;
  disk_.fault = [&](const io::DiskOp& op) {
    if (op.kind == io::DiskOp::Kind::punch) {
      EXPECT_FALSE(removed);
      EXPECT_EQ(op.length, options_.punch_bytes);
      punched.push_back(op.offset);
    }
    removed = removed || op.kind == io::DiskOp::Kind::remove;
    return 0;
  };
  log_->release_removed();
  disk_.run();
  disk_.fault = nullptr;
  ASSERT_EQ(punched.size(), (bytes + options_.punch_bytes - 1) / options_.punch_bytes);
  for (std::size_t i = 0; i < punched.size(); ++i) EXPECT_EQ(punched[i], i * options_.punch_bytes);
  EXPECT_TRUE(removed);
  EXPECT_TRUE(log_->idle());
}

TEST_F(RetentionTest, a_file_goes_although_its_file_system_knows_no_holes) {
  fill(60);
  const std::size_t before = files();
  for (const auto refused : {io::DiskOp::Kind::punch, io::DiskOp::Kind::open}) {
    log_->set_log_start(state().segments[1].base_offset);
    ASSERT_EQ(sync(), Errc::ok);
    disk_.fault = [&](const io::DiskOp& op) { return op.kind == refused ? EOPNOTSUPP : 0; };
    log_->release_removed();
    disk_.run();
    disk_.fault = nullptr;
  }
  EXPECT_EQ(files(), before - 2);
  EXPECT_TRUE(log_->idle());
}

TEST_F(RetentionTest, a_file_that_cannot_be_removed_costs_space_only) {
  fill(60);
  log_->set_log_start(state().segments[2].base_offset);
  ASSERT_EQ(sync(), Errc::ok);
  disk_.fault = [](const io::DiskOp& op) { return op.kind == io::DiskOp::Kind::remove ? EACCES : 0; };
  log_->release_removed();
  disk_.run();
  disk_.fault = nullptr;
  EXPECT_NE(log_->last_error().find("cannot be removed"), std::string::npos);
  fill(3);
}

}  // namespace
}  // namespace esc::store::testing
