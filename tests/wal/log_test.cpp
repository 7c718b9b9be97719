#include "esc/wal/log.h"

#include <gtest/gtest.h>

#include "world.h"

namespace esc::wal {
namespace {

TEST(Log, a_new_directory_gets_two_small_segments) {
  World w(1);
  ASSERT_TRUE(w.open());
  EXPECT_TRUE(w.report.created);
  EXPECT_EQ(w.report.last_lsn, Lsn{0});
  EXPECT_EQ(w.report.first_index, Index{1});
  EXPECT_EQ(w.log->stats().bytes_on_disk, 2 * 64 * kKiB);
  EXPECT_TRUE(w.log->can_write(kBlockBytes));
}

TEST(Log, written_frames_are_recovered_exactly) {
  World w(2);
  ASSERT_TRUE(w.open());
  for (std::uint32_t i = 0; i < 40; ++i) w.append_and_drain(1 + i % 3, i * 37 % 9000);
  w.log.reset();
  const auto reopened = w.open();
  ASSERT_TRUE(reopened) << reopened.error().message;
  EXPECT_FALSE(w.report.torn_tail) << w.report.torn_detail;
  EXPECT_EQ(w.recovered.size(), 40U);
  w.check_recovered(Index{0});
  EXPECT_EQ(w.report.last_index, w.written.back().last_index);
  EXPECT_EQ(w.report.last_term, Term{1});
}

TEST(Log, recovery_shows_only_frames_that_the_checkpoint_does_not_cover) {
  World w(3);
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 10; ++i) w.append_and_drain(2, 100);
  w.log.reset();
  ASSERT_TRUE(w.open(Index{11}));
  ASSERT_EQ(w.recovered.size(), 5U);
  EXPECT_EQ(w.recovered[0].first_index, Index{11});
}

TEST(Log, appending_continues_after_recovery) {
  World w(4);
  ASSERT_TRUE(w.open());
  for (int round = 0; round < 10; ++round) {
    for (int i = 0; i < 7; ++i) w.append_and_drain(1, 3000);
    w.log.reset();
    const auto reopened = w.open();
    ASSERT_TRUE(reopened) << reopened.error().message;
    EXPECT_EQ(w.recovered.size(), static_cast<std::size_t>(7 * (round + 1)));
    w.check_recovered(Index{0});
  }
}

TEST(Log, completions_arrive_in_order_of_lsn) {
  World w(5);
  w.options.depth = 4;
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(w.append(1, 500));
  w.drain();
  ASSERT_EQ(w.acknowledgements.size(), 100U);
  EXPECT_TRUE(std::is_sorted(w.acknowledgements.begin(), w.acknowledgements.end()));
  EXPECT_EQ(w.log->durable_lsn(), w.written.back().lsn);
}

TEST(Log, no_more_frames_than_depth_are_in_flight) {
  World w(6);
  ASSERT_TRUE(w.open());
  ASSERT_TRUE(w.append(1, 10));
  ASSERT_TRUE(w.append(1, 10));
  EXPECT_EQ(w.log->in_flight(), 2U);
  EXPECT_FALSE(w.log->can_write(kBlockBytes));
  w.drain();
  EXPECT_TRUE(w.log->can_write(kBlockBytes));
}

TEST(Log, hard_state_survives) {
  World w(7);
  ASSERT_TRUE(w.open());
  w.append_and_drain(1, 10);
  w.save_hard_state({Term{4}, NodeId{2}});
  EXPECT_TRUE(w.hard_state_pending);
  w.drain();
  EXPECT_FALSE(w.hard_state_pending);
  w.term = Term{4};
  w.append_and_drain(1, 10);
  w.crash(sim::CrashKind::power);
  ASSERT_TRUE(w.open());
  EXPECT_EQ(w.report.hard_state, (HardState{Term{4}, NodeId{2}}));
}

TEST(Log, hard_state_survives_the_recycling_of_the_segment_it_was_written_in) {
  World w(8);
  ASSERT_TRUE(w.open());
  w.save_hard_state({Term{9}, NodeId{1}});
  w.drain();
  for (int i = 0; i < 200; ++i) {
    w.append_and_drain(1, 6000);
    w.log->release_through(w.written.back().last_index);
  }
  EXPECT_GT(w.log->stats().segments_recycled, 2U);
  w.crash(sim::CrashKind::power);
  const auto reopened = w.open(w.written.back().last_index);
  ASSERT_TRUE(reopened) << reopened.error().message;
  EXPECT_EQ(w.report.hard_state, (HardState{Term{9}, NodeId{1}}));
}

TEST(Log, hard_state_waits_for_a_free_place_and_goes_before_the_next_frame) {
  World w(9);
  ASSERT_TRUE(w.open());
  ASSERT_TRUE(w.append(1, 10));
  ASSERT_TRUE(w.append(1, 10));
  w.save_hard_state({Term{2}, NodeId{2}});
  EXPECT_FALSE(w.log->can_write(kBlockBytes));
  w.drain();
  EXPECT_FALSE(w.hard_state_pending);
  EXPECT_EQ(w.log->durable_lsn(), Lsn{3});
}

TEST(Log, segments_are_recycled_when_released) {
  World w(10);
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 500; ++i) {
    w.append_and_drain(1, 6000);
    w.log->release_through(w.written.back().last_index);
  }
  w.turn_for(10 * kMillisecond);
  EXPECT_GT(w.log->stats().segments_recycled, 10U);
  EXPECT_LE(w.log->stats().bytes_on_disk, 64 * kKiB * 2 + 128 * kKiB * 4);
  EXPECT_EQ(w.log->live_bytes(), 0U);
  w.log.reset();
  const auto reopened = w.open(w.written.back().last_index);
  ASSERT_TRUE(reopened) << reopened.error().message;
  EXPECT_TRUE(w.recovered.empty());
}

TEST(Log, live_bytes_fall_with_the_checkpoint) {
  World w(11);
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 100; ++i) w.append_and_drain(1, 8000);
  const std::uint64_t before = w.log->live_bytes();
  EXPECT_EQ(before, 100 * 2 * kBlockBytes);
  w.log->release_through(Index{50});
  EXPECT_LE(w.log->live_bytes(), before);
  w.log->release_through(Index{100});
  EXPECT_EQ(w.log->live_bytes(), 0U);
}

TEST(Log, bytes_max_is_respected_and_reported_as_low_space) {
  World w(12);
  ASSERT_TRUE(w.open());
  while (w.append(1, 7000, 2000)) {
  }
  EXPECT_EQ(w.log->space(), Space::low);
  EXPECT_LE(w.fs.used_bytes(), w.options.bytes_max);
  // Votes still fit.
  w.drain();
  w.save_hard_state({Term{3}, NodeId{1}});
  w.drain();
  EXPECT_FALSE(w.hard_state_pending);
  // The checkpoint makes room.
  w.log->release_through(w.written.back().last_index);
  EXPECT_TRUE(w.append(1, 7000));
  EXPECT_EQ(w.log->space(), Space::ok);
  w.drain();
}

TEST(Log, an_idle_log_writes_one_watermark) {
  World w(13);
  ASSERT_TRUE(w.open());
  w.append_and_drain(1, 10);
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 1U);
  EXPECT_EQ(w.log->durable_lsn(), Lsn{2});
  w.log.reset();
  ASSERT_TRUE(w.open());
  EXPECT_EQ(w.recovered.size(), 1U);
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 0U) << "nothing new to cover";
}

TEST(Log, notifies_when_writable_again) {
  World w(14);
  ASSERT_TRUE(w.open());
  int notified = 0;
  w.log->on_writable([](void* context) { ++*static_cast<int*>(context); }, &notified);
  ASSERT_TRUE(w.append(1, 10));
  ASSERT_TRUE(w.append(1, 10));
  w.drain();
  EXPECT_GE(notified, 1);
}

// A checkpoint releases several segments at once. To drop what is too much, and to write it anew before the
// next checkpoint, would keep the device busy for nothing.
TEST(Log, segments_in_use_are_neither_dropped_nor_created_between_checkpoints) {
  World w(20);
  ASSERT_TRUE(w.open());
  const auto checkpoints = [&](int count) {
    for (int i = 0; i < count * 60; ++i) {
      w.append_and_drain(1, 6000);
      if (i % 60 == 59) w.log->release_through(w.written.back().last_index);
    }
  };
  checkpoints(5);
  const Stats before = w.log->stats();
  checkpoints(20);
  EXPECT_EQ(w.log->stats().segments_created, before.segments_created);
  EXPECT_GT(w.log->stats().segments_recycled, before.segments_recycled + 20);
  EXPECT_EQ(w.log->stats().bytes_on_disk, before.bytes_on_disk);
  w.turn_for(60 * kSecond);
  EXPECT_LT(w.log->stats().bytes_on_disk, before.bytes_on_disk) << "unused, they cost space";
}

TEST(Log, the_largest_frame_fits_any_segment) {
  World w(15);
  ASSERT_TRUE(w.open());
  const std::uint32_t bytes = w.log->frame_bytes_max();
  EXPECT_GT(bytes, 40 * kKiB);
  for (int i = 0; i < 6; ++i) {
    w.append_and_drain(1, bytes - logfmt::kFrameHeaderBytes - logfmt::kEntryHeaderBytes);
    w.append_and_drain(1, 10);
  }
  EXPECT_FALSE(w.log->can_write(bytes + kBlockBytes));
  w.log.reset();
  ASSERT_TRUE(w.open());
  EXPECT_EQ(w.recovered.size(), 12U);
}

Options two_segments() {
  Options options = World::small_options();
  options.initial_segment_bytes = options.segment_bytes = 64 * kKiB;
  options.bytes_max = 128 * kKiB;
  return options;
}

void use_less_than_half_of_the_second(World& w) {
  ASSERT_TRUE(w.open());
  w.append_and_drain(1, 45 * kKiB);
  w.append_and_drain(1, 16 * kKiB);
}

TEST(Log, a_frame_that_the_rest_of_a_segment_cannot_hold_gets_a_new_one_although_half_of_it_is_unused) {
  World w(18, two_segments());
  ASSERT_NO_FATAL_FAILURE(use_less_than_half_of_the_second(w));
  w.log.reset();
  w.options.bytes_max = 2 * kMiB;
  ASSERT_TRUE(w.open()) << "now it may have spares, and is in no hurry to";
  w.turn_for(kSecond);
  EXPECT_FALSE(w.log->can_write(32 * kKiB)) << "or the sizes of this test mean nothing";
  w.turn_for(kSecond);
  EXPECT_TRUE(w.log->can_write(32 * kKiB));
}

TEST(Log, space_is_low_when_the_frame_that_waits_fits_neither_the_segment_nor_the_disk) {
  World w(19, two_segments());
  ASSERT_NO_FATAL_FAILURE(use_less_than_half_of_the_second(w));
  w.turn_for(kSecond);
  EXPECT_EQ(w.log->space(), Space::ok) << "a small frame fits";
  EXPECT_FALSE(w.log->can_write(32 * kKiB));
  EXPECT_EQ(w.log->space(), Space::low) << "only a checkpoint can help";
  w.log->release_through(Index{1});
  w.turn_for(kSecond);
  EXPECT_TRUE(w.log->can_write(32 * kKiB));
  EXPECT_EQ(w.log->space(), Space::ok);
}

TEST(Log, superseded_entries_are_replayed_in_the_order_of_writing) {
  World w(16);
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 3; ++i) w.append_and_drain(5, 100);
  w.term = Term{2};
  w.next_index = Index{8};
  w.append_and_drain(2, 100);
  w.log.reset();
  ASSERT_TRUE(w.open());
  ASSERT_EQ(w.recovered.size(), 4U);
  EXPECT_EQ(w.recovered[3].first_index, Index{8});
  EXPECT_EQ(w.report.last_index, Index{9});
  EXPECT_EQ(w.report.last_term, Term{2});
}

TEST(Log, becomes_idle_by_itself_wherever_background_work_stands) {
  for (int turns = 0; turns < 120; ++turns) {
    World w(100 + static_cast<std::uint64_t>(turns));
    ASSERT_TRUE(w.open());
    for (int i = 0; i < 24; ++i) ASSERT_TRUE(w.append(1, 3000));
    for (int i = 0; i < turns; ++i) w.turn();
    for (int i = 0; i < 1000 && !w.log->idle(); ++i) w.clock.step();  // nobody calls do_work any more
    ASSERT_TRUE(w.log->idle()) << "after " << turns << " turns";
    w.log.reset();
    ASSERT_EQ(w.fs.open_handles(), 0U) << "after " << turns << " turns";
    ASSERT_TRUE(w.open());
    EXPECT_EQ(w.recovered.size(), 24U);
  }
}

TEST(Log, impossible_options_are_refused_with_a_sentence) {
  World w(17);
  w.options.segment_bytes = 5000;
  const auto opened = w.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::invalid_argument);
  EXPECT_NE(opened.error().message.find("5000"), std::string::npos);
}

TEST(Log, another_groups_directory_is_refused) {
  World w(18);
  ASSERT_TRUE(w.open());
  w.log.reset();
  w.options.group = GroupId{6};
  const auto opened = w.open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::invalid_argument);
}

TEST(Log, without_o_direct_it_syncs_after_each_write_and_warns) {
  World w(19);
  w.fs.refuse_direct(true);
  ASSERT_TRUE(w.open());
  EXPECT_FALSE(w.report.warning.empty());
  for (int i = 0; i < 60; ++i) w.append_and_drain(1, 3000);
  w.crash(sim::CrashKind::power);
  const auto reopened = w.open();
  ASSERT_TRUE(reopened) << reopened.error().message;
  EXPECT_EQ(w.recovered.size(), 60U);
}

}  // namespace
}  // namespace esc::wal
