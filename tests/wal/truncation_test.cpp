// Superseded suffixes, commit indexes and resets: written, recovered, recycled. ESC_LONG=1 runs many more
// seeds.
#include <gtest/gtest.h>

#include <functional>

#include "raft_world.h"

namespace esc::wal {
namespace {

// A life of a follower at random, with crashes; after each, the log is a prefix of what was written that
// holds everything durable, and reads give the right bytes.
void run_raft_life(std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  RaftWorld w(seed);
  Prng dice = Prng(seed).fork(7);
  w.options.depth = static_cast<std::uint32_t>(1 + dice.below(3));
  w.options.watermark_after = dice.chance(1, 2) ? kMillisecond : 50 * kMillisecond;
  Index commit{0};
  Index checkpoint{0};
  for (int life = 0; life < 5; ++life) {
    const auto opened = w.open_raft(checkpoint);
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_NO_FATAL_FAILURE(w.check_raft(checkpoint));
    ASSERT_LE(w.report.commit, std::max(commit, checkpoint));
    commit = std::max(w.report.commit, checkpoint);
    w.log->set_commit(commit);
    w.log->release_through(checkpoint);
    const std::uint64_t actions = 10 + dice.below(80);
    for (std::uint64_t i = 0; i < actions; ++i) {
      const std::uint64_t draw = dice.below(24);
      if (draw < 11) {
        ASSERT_TRUE(w.write(w.end.next(), 1 + dice.below(6)));
      } else if (draw < 14) {  // a new leader corrects the end
        w.term = w.term.next();
        const std::uint64_t open_entries = w.end - commit;
        const Index first = commit + 1 + dice.below(open_entries + 1);
        if (dice.chance(1, 2)) w.log->discard_from(first);
        ASSERT_TRUE(w.write(first, 1 + dice.below(4)));
      } else if (draw < 17) {
        const Index durable = std::min(w.durable_end(), w.end);
        if (durable > commit && w.in_flight.empty()) {
          commit = commit + 1 + dice.below(durable - commit);
          w.log->set_commit(commit);
        }
      } else if (draw < 19) {
        if (!w.reset_pending) checkpoint = std::max(checkpoint, commit);
        if (dice.chance(1, 2)) w.log->release_through(checkpoint);
      } else if (draw < 20 && dice.chance(1, 4)) {
        if (!w.reset_pending) {
          w.term = w.term.next();
          const Index snapshot =
              std::max(w.end, commit) + dice.below(20) + 1 - dice.below(2) * ((w.end - commit) / 2);
          checkpoint = commit = std::max(checkpoint, snapshot);
          w.reset_to(snapshot, w.term);
        }
      } else if (draw < 21) {
        w.turn_for(static_cast<Nanos>(dice.below(20)) * kMillisecond);
      } else if (draw < 23) {
        const Index from = w.log->first_available();
        if (w.end >= from) {
          const Index first = from + dice.below(w.end - from + 1);
          ASSERT_NO_FATAL_FAILURE(
              w.check_read(first, first + dice.below(40), (16 + dice.below(16)) * kBlockBytes));
        }
      } else {
        w.turn();
      }
    }
    for (std::uint64_t i = dice.below(30); i > 0; --i) w.turn();
    w.crash_raft(dice.chance(1, 3) ? sim::CrashKind::process : sim::CrashKind::power);
  }
}

TEST(Truncation, the_log_after_any_crash_is_what_a_naive_reader_makes_of_the_frames) {
  for (std::uint64_t seed = 1; seed <= (long_run() ? 20'000U : 300U); ++seed)
    ASSERT_NO_FATAL_FAILURE(run_raft_life(seed));
}

TEST(Commit, is_in_every_frame_sealed_after_it_was_told) {
  RaftWorld w(201);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 5);
  w.log->set_commit(Index{5});
  w.write_and_drain(Index{6}, 1);
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{0}));
  EXPECT_EQ(w.report.commit, Index{5});
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{0}));
}

TEST(Commit, is_recorded_after_a_quiet_period_and_then_no_more) {
  RaftWorld w(202);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 5);
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 1U);
  w.log->set_commit(Index{4});
  w.turn_for(2 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 1U) << "not quiet for long enough";
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 2U);
  w.log->set_commit(Index{3});
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 2U) << "a commit index never falls";
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{0}));
  EXPECT_EQ(w.report.commit, Index{4});
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 0U) << "what is recorded is not recorded again";
}

// A leader may know its entries committed by the others before it has written them itself.
TEST(Commit, is_not_recorded_beyond_what_is_written) {
  RaftWorld w(203);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.log->set_commit(Index{12});
  w.write_and_drain(Index{1}, 10);
  w.turn_for(100 * kMillisecond);
  EXPECT_EQ(w.log->stats().watermark_frames, 1U) << "nothing to wait for";
  w.crash_raft(sim::CrashKind::process);
  ASSERT_TRUE(w.open_raft(Index{0}));
  EXPECT_EQ(w.report.commit, Index{10});
  w.log->set_commit(Index{12});
  w.write_and_drain(Index{11}, 4);
  w.crash_raft(sim::CrashKind::process);
  ASSERT_TRUE(w.open_raft(Index{0}));
  EXPECT_EQ(w.report.commit, Index{12});
}

// The new leader's entries 11 to 20 are committed, but the disk still has the old ones.
TEST(Commit, is_not_recorded_for_entries_that_are_discarded_but_not_superseded_yet) {
  RaftWorld w(204);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 30);
  w.log->discard_from(Index{11});
  EXPECT_EQ(w.log->last_index(), Index{10});
  EXPECT_FALSE(w.log->has(Index{11}));
  EXPECT_TRUE(w.log->has(Index{10}));
  w.log->set_commit(Index{20});
  w.save_hard_state({Term{2}, NodeId{1}});
  w.drain();
  w.crash_raft(sim::CrashKind::process);
  ASSERT_TRUE(w.open_raft(Index{0}));
  EXPECT_EQ(w.report.commit, Index{10});
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{0}));
}

TEST(CommitDeath, committed_entries_cannot_be_superseded) {
  RaftWorld w(205);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 5);
  w.log->set_commit(Index{4});
  w.write_and_drain(Index{5}, 1);
  EXPECT_DEATH(w.write(Index{4}, 1), "supersedes a committed entry");
  EXPECT_DEATH(w.write(Index{7}, 1), "leaves a gap");
  EXPECT_DEATH(w.reset_to(Index{3}, Term{1}), "before a committed entry");
}

// Changes the header of the frame at `position` of the first segment and mends the chain behind it.
void rewrite_frame(RaftWorld& w, std::uint64_t position,
                   const std::function<void(logfmt::FrameHeader&)>& change) {
  const io::FileHandle file = *w.files.open("/wal/wal-00000001.seg", {.write = true});
  std::uint32_t previous_crc = 0;
  for (bool first = true;; first = false) {
    std::vector<std::byte> head(logfmt::kFrameHeaderBytes);
    ASSERT_TRUE(w.files.read(file, position, head));
    logfmt::FrameHeader h;
    if (logfmt::read_frame_header(head, h) != logfmt::HeaderState::valid) break;
    std::vector<std::byte> frame(logfmt::frame_bytes(h.payload_bytes));
    ASSERT_TRUE(w.files.read(file, position, frame));
    if (first) {
      change(h);
    } else {
      h.previous_crc = previous_crc;
    }
    logfmt::seal_frame(frame.data(), h);
    previous_crc = h.header_crc;
    ASSERT_TRUE(w.files.write(file, position, frame));
    position += frame.size();
  }
  ASSERT_TRUE(w.files.sync(file));
  w.files.close(file);
}

TEST(Commit, a_frame_over_committed_entries_is_corruption) {
  RaftWorld w(206);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 1);
  w.write_and_drain(Index{2}, 1);
  w.write_and_drain(Index{2}, 1);
  w.log.reset();
  ASSERT_NO_FATAL_FAILURE(rewrite_frame(w, kBlockBytes, [](logfmt::FrameHeader& h) { h.commit_index = 2; }));
  const auto opened = w.open_raft(Index{0});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::corruption);
  EXPECT_NE(opened.error().message.find("were committed"), std::string::npos) << opened.error().message;
  EXPECT_NE(opened.error().message.find("wal-00000001.seg at byte "), std::string::npos);
}

TEST(Commit, committed_entries_that_neither_log_nor_checkpoint_have_are_corruption) {
  RaftWorld w(207);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 40; ++i) w.write_and_drain(Index{i}, 1);
  w.log->set_commit(Index{40});
  for (std::uint32_t i = 0; i < 40; ++i) {
    w.save_hard_state({Term{2 + i}, NodeId{1}});
    w.drain();
  }
  w.log->release_through(Index{40});
  w.turn_for(kSecond);
  w.log.reset();
  EXPECT_FALSE(w.open_raft(Index{0})) << "the checkpoint was lost";
  const auto opened = w.open_raft(Index{40});
  ASSERT_TRUE(opened) << opened.error().message;
}

TEST(Commit, a_log_of_format_version_1_opens_and_goes_on) {
  RaftWorld w(208);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 2);
  w.write_and_drain(Index{3}, 2);
  w.log.reset();
  ASSERT_NO_FATAL_FAILURE(rewrite_frame(w, kBlockBytes, [](logfmt::FrameHeader& h) { h.version = 1; }));
  const auto opened = w.open_raft(Index{0});
  ASSERT_TRUE(opened) << opened.error().message;
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{0}));
  EXPECT_EQ(w.report.commit, Index{0});
  w.log->set_commit(Index{4});
  w.write_and_drain(Index{5}, 1);
  ASSERT_NO_FATAL_FAILURE(w.check_read(Index{1}, Index{9}, 64 * kKiB));
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{0}));
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{0}));
}

TEST(Truncation, segments_of_superseded_entries_are_recycled_although_their_indexes_were_higher) {
  RaftWorld w(211);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 100; ++i) w.write_and_drain(Index{i}, 1);
  w.term = Term{2};
  w.write_and_drain(Index{11}, 1);
  const std::uint64_t live = w.log->live_bytes();
  w.log->set_commit(Index{11});
  w.log->release_through(Index{10});
  w.turn_for(kSecond);
  EXPECT_EQ(w.log->first_available(), Index{11}) << "all other segments have left the log";
  EXPECT_LT(w.log->live_bytes(), live);
  w.write_and_drain(Index{12}, 1);
  w.crash_raft(sim::CrashKind::power);
  const auto opened = w.open_raft(Index{10});
  ASSERT_TRUE(opened) << opened.error().message;
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{10}));
  EXPECT_EQ(w.shown.size(), 2U);
}

TEST(Truncation, what_is_superseded_by_a_frame_in_flight_is_not_recycled) {
  RaftWorld w(212);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 60; ++i) w.write_and_drain(Index{i}, 1);
  w.log->set_commit(Index{5});
  w.log->release_through(Index{5});
  w.turn_for(kSecond);
  const std::uint64_t recycled = w.log->stats().segments_recycled;
  w.disk.stall_until(w.clock.now() + 10 * kSecond);
  w.term = Term{2};
  ASSERT_TRUE(w.write(Index{6}, 1));
  for (int i = 0; i < 10; ++i) w.log->do_work(w.clock.now());
  w.log->release_through(Index{5});
  EXPECT_EQ(w.log->first_available(), Index{1});
  EXPECT_EQ(w.log->stats().segments_recycled, recycled);
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{5}));
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{5}));
  EXPECT_GE(w.end, Index{6});
}

TEST(Truncation, is_shown_even_when_all_its_entries_are_in_the_checkpoint) {
  RaftWorld w(213);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 30);
  w.term = Term{2};
  w.write_and_drain(Index{5}, 4);
  w.log.reset();
  ASSERT_TRUE(w.open_raft(Index{10}));
  EXPECT_TRUE(w.shown.empty());
  EXPECT_EQ(w.report.last_index, Index{8});
  EXPECT_EQ(w.log->last_index(), Index{10});
}

TEST(Reset, voids_everything_before_and_goes_on_behind_the_snapshot) {
  RaftWorld w(221);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 40; ++i) w.write_and_drain(Index{i}, 1);
  w.term = Term{3};
  w.reset_to(Index{100}, Term{2});
  EXPECT_EQ(w.log->last_index(), Index{100});
  EXPECT_EQ(w.log->first_available(), Index{101});
  EXPECT_FALSE(w.log->has(Index{40}));
  w.drain();
  EXPECT_FALSE(w.reset_pending);
  EXPECT_EQ(w.log->live_bytes(), 0U);
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{100}));
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{100}));
  EXPECT_EQ(w.report.last_index, Index{100});
  EXPECT_EQ(w.report.last_term, Term{2});
  EXPECT_EQ(w.report.after_term, Term{2});
  EXPECT_EQ(w.report.commit, Index{100});
  EXPECT_DEATH(w.write(Index{99}, 1), "committed");
  w.write_and_drain(Index{101}, 3);
  w.crash_raft(sim::CrashKind::power);
  // The gap is explained by the reset alone, for who wants to look.
  ASSERT_TRUE(w.open_raft(Index{0}));
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{0}));
  EXPECT_EQ(w.report.reset_index, Index{100});
  EXPECT_EQ(w.shown.begin()->first, Index{101});
}

// The reset itself may be recycled: what is left starts behind it, and the checkpoint covers that.
TEST(Reset, is_recycled_with_its_segment) {
  RaftWorld w(222);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 20);
  w.reset_to(Index{100}, Term{1});
  w.drain();
  for (std::uint64_t i = 101; i <= 200; ++i) {
    w.write_and_drain(Index{i}, 1);
    w.log->release_through(Index{std::min<std::uint64_t>(i, 150)});
  }
  w.turn_for(kSecond);
  EXPECT_GE(w.log->stats().segments_recycled, 2U);
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{150}));
  EXPECT_EQ(w.report.reset_index, Index{0});
  EXPECT_EQ(w.report.last_index, Index{200});
  EXPECT_EQ(w.shown.size(), 50U);
}

TEST(Reset, waits_for_a_free_place_and_goes_before_the_next_frame) {
  RaftWorld w(223);
  w.options.depth = 2;
  ASSERT_TRUE(w.open_raft(Index{0}));
  ASSERT_TRUE(w.write(Index{1}, 2));
  ASSERT_TRUE(w.write(Index{3}, 2));
  w.reset_to(Index{9}, Term{1});
  EXPECT_FALSE(w.log->can_write(kBlockBytes));
  EXPECT_EQ(w.log->last_index(), Index{9});
  ASSERT_TRUE(w.write(Index{10}, 1));
  EXPECT_EQ(w.steps.back().lsn, Lsn{4});
  w.drain();
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{9}));
  ASSERT_NO_FATAL_FAILURE(w.check_raft(Index{9}));
}

TEST(Reset, of_a_failed_log_is_reported) {
  RaftWorld w(224);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.fs.inject({.kind = io::DiskOp::Kind::write, .path_part = "wal-00000001", .count = 1});
  ASSERT_TRUE(w.write(Index{1}, 1));
  ASSERT_TRUE(w.write(Index{2}, 1));
  w.reset_to(Index{9}, Term{1});
  w.drain();
  w.turn_for(kMillisecond);
  EXPECT_TRUE(w.log->failed());
  EXPECT_FALSE(w.reset_pending);
  EXPECT_FALSE(w.steps.back().durable);
}

// A crash between the durable checkpoint of a snapshot and the reset of the log.
TEST(Reset, missing_behind_a_newer_checkpoint_the_log_goes_on_after_the_checkpoint) {
  RaftWorld w(225);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 20);
  w.crash_raft(sim::CrashKind::power);
  ASSERT_TRUE(w.open_raft(Index{50}));
  EXPECT_EQ(w.report.last_index, Index{20});
  EXPECT_EQ(w.report.after_term, Term{0});
  EXPECT_EQ(w.log->first_available(), Index{51});
  w.write_and_drain(Index{51}, 2);
  w.crash_raft(sim::CrashKind::power);
  EXPECT_FALSE(w.open_raft(Index{0})) << "21 to 50 are nowhere";
  ASSERT_TRUE(w.open_raft(Index{50}));
  EXPECT_EQ(w.report.last_index, Index{52});
  EXPECT_EQ(w.report.first_index, Index{51});
  EXPECT_EQ(w.shown.size(), 2U);
}

}  // namespace
}  // namespace esc::wal
