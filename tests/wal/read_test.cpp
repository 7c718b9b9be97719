// Reading entries back by index.
#include <gtest/gtest.h>

#include <cerrno>
#include <deque>

#include "../../src/wal/frame_index.h"
#include "raft_world.h"

namespace esc::wal {
namespace {

// A read under the test's control.
struct Reading {
  Reading(RaftWorld& world, Index first, Index last_max, std::size_t bytes = 128 * kKiB)
      : w(world), buffer(aligned_block(bytes)) {
    read.first = first;
    read.last_max = last_max;
    read.buffer = ByteSpan(buffer.get(), bytes);
    read.context = &result;
    read.done = [](EntryRead& done, Errc error) { *static_cast<std::optional<Errc>*>(done.context) = error; };
    w.log->read(read);
  }
  Errc wait() {
    for (int i = 0; i < 10'000 && !result; ++i) w.turn();
    EXPECT_TRUE(result);
    return result.value_or(Errc::timeout);
  }
  RaftWorld& w;
  Block buffer;
  EntryRead read;
  std::optional<Errc> result;
};

// Three terms over several segments, the second of which lost its end.
void build(RaftWorld& w) {
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 60; i += 3) w.write_and_drain(Index{i}, 3);
  w.term = Term{4};
  for (std::uint64_t i = 61; i <= 90; i += 3) w.write_and_drain(Index{i}, 3);
  w.term = Term{5};
  for (std::uint64_t i = 80; i <= 140; i += 3) w.write_and_drain(Index{i}, 3);
}

TEST(Read, gives_every_range_across_segments_and_terms_also_after_recovery) {
  RaftWorld w(301);
  ASSERT_NO_FATAL_FAILURE(build(w));
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(w.log->first_available(), Index{1});
    EXPECT_EQ(w.log->term_at(Index{79}), Term{4});
    EXPECT_EQ(w.log->term_at(Index{80}), Term{5});
    EXPECT_EQ(w.log->term_at(Index{1000}), Term{0});
    for (std::uint64_t first = 1; first <= w.end.value(); ++first)
      for (const std::uint64_t length : {1U, 2U, 7U, 200U})
        ASSERT_NO_FATAL_FAILURE(
            w.check_read(Index{first}, Index{first + length - 1}, (first % 5 + 3) * 16 * kKiB));
    w.log.reset();
    ASSERT_TRUE(w.open_raft(Index{0}));
  }
}

TEST(Read, takes_as_many_frames_as_fit_the_buffer) {
  RaftWorld w(302);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 8; ++i) w.write_and_drain(Index{i}, 1);
  Reading all(w, Index{1}, Index{100}, 64 * kKiB);
  ASSERT_EQ(all.wait(), Errc::ok);
  EXPECT_EQ(all.read.last, Index{8});
  Reading some(w, Index{1}, Index{100}, 3 * kBlockBytes);
  ASSERT_EQ(some.wait(), Errc::ok);
  EXPECT_EQ(some.read.last, Index{3});
}

TEST(Read, ends_before_another_term) {
  RaftWorld w(303);
  ASSERT_NO_FATAL_FAILURE(build(w));
  Reading read(w, Index{77}, Index{100});
  ASSERT_EQ(read.wait(), Errc::ok);
  EXPECT_EQ(read.read.last, Index{79});
  EXPECT_EQ(read.read.term, Term{4});
}

TEST(Read, of_what_is_not_durable_yet_finds_nothing) {
  RaftWorld w(304);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 1);
  w.disk.stall_until(w.clock.now() + kSecond);
  ASSERT_TRUE(w.write(Index{2}, 1));
  EXPECT_TRUE(w.log->has(Index{1}));
  EXPECT_FALSE(w.log->has(Index{2}));
  Reading read(w, Index{2}, Index{2});
  EXPECT_FALSE(w.log->idle());
  EXPECT_EQ(read.wait(), Errc::not_found);
  w.drain();
  EXPECT_TRUE(w.log->has(Index{2}));
}

TEST(Read, holds_its_segment_until_it_is_done) {
  RaftWorld w(305);
  ASSERT_NO_FATAL_FAILURE(build(w));
  w.log->set_commit(w.end);
  w.disk.stall_until(w.clock.now() + kSecond);
  Reading read(w, Index{1}, Index{9});
  w.log->release_through(w.end);
  for (int i = 0; i < 20; ++i) w.log->do_work(w.clock.now());
  EXPECT_EQ(w.log->first_available(), Index{1});
  EXPECT_FALSE(read.result);
  ASSERT_EQ(read.wait(), Errc::ok) << read.read.detail;
  const auto expected = RaftWorld::payload_of(Index{1}, Index{9}, Term{1});
  EXPECT_TRUE(
      std::equal(read.read.entries.begin(), read.read.entries.end(), expected.begin(), expected.end()));
  w.turn_for(kSecond);
  EXPECT_GT(w.log->first_available(), Index{9});
  Reading late(w, Index{1}, Index{9});
  EXPECT_EQ(late.wait(), Errc::not_found);
}

TEST(Read, gives_nothing_that_was_superseded_meanwhile) {
  RaftWorld w(306);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 4);
  w.write_and_drain(Index{5}, 4);
  Reading both(w, Index{3}, Index{8});
  Reading gone(w, Index{5}, Index{8});
  w.term = Term{2};
  w.log->discard_from(Index{4});
  ASSERT_EQ(both.wait(), Errc::ok);
  EXPECT_EQ(both.read.last, Index{3});
  EXPECT_EQ(gone.wait(), Errc::not_found);
  Reading reset(w, Index{1}, Index{3});
  w.reset_to(Index{9}, Term{2});
  EXPECT_EQ(reset.wait(), Errc::not_found);
}

TEST(Read, of_a_damaged_frame_is_corruption_with_file_and_position) {
  for (const std::uint64_t byte :
       {std::uint64_t{8}, std::uint64_t{48}, std::uint64_t{logfmt::kFrameHeaderBytes} + 50}) {
    RaftWorld w(307);
    ASSERT_TRUE(w.open_raft(Index{0}));
    for (std::uint64_t i = 1; i <= 3; ++i) w.write_and_drain(Index{i}, 1);
    w.fs.corrupt("/wal/wal-00000001.seg", 2 * kBlockBytes + byte, 4);
    Reading before(w, Index{1}, Index{3});
    ASSERT_EQ(before.wait(), Errc::ok) << "what is good is given";
    EXPECT_EQ(before.read.last, Index{1});
    Reading damaged(w, Index{2}, Index{3});
    EXPECT_EQ(damaged.wait(), Errc::corruption);
    EXPECT_NE(damaged.read.detail.find("wal-00000001.seg at byte 8192"), std::string::npos)
        << damaged.read.detail;
    ASSERT_NO_FATAL_FAILURE(w.check_read(Index{3}, Index{3}, 16 * kKiB));
  }
}

TEST(Read, a_whole_frame_in_the_wrong_place_is_corruption) {
  RaftWorld w(308);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 3; ++i) w.write_and_drain(Index{i}, 1);
  const io::FileHandle file = *w.files.open("/wal/wal-00000001.seg", {.write = true});
  std::vector<std::byte> frame(kBlockBytes);
  ASSERT_TRUE(w.files.read(file, 3 * kBlockBytes, frame));
  ASSERT_TRUE(w.files.write(file, 2 * kBlockBytes, frame));
  w.files.close(file);
  Reading read(w, Index{2}, Index{3});
  EXPECT_EQ(read.wait(), Errc::corruption);
}

TEST(Read, of_what_the_device_cannot_read_is_corruption_and_of_other_failures_an_io_error) {
  RaftWorld w(309);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 1);
  for (const int os_error : {EIO, ENODATA, ENOMEM}) {
    w.fs.inject(
        {.kind = io::DiskOp::Kind::read, .path_part = "wal-00000001", .os_error = os_error, .count = 1});
    Reading read(w, Index{1}, Index{1});
    EXPECT_EQ(read.wait(), os_error == ENOMEM ? Errc::io_error : Errc::corruption) << os_error;
    EXPECT_NE(read.read.detail.find("wal-00000001.seg"), std::string::npos);
    EXPECT_FALSE(w.log->failed());
  }
}

TEST(Read, of_a_frame_larger_than_the_buffer_is_refused) {
  RaftWorld w(310);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 12);
  Reading read(w, Index{1}, Index{2}, kBlockBytes);
  EXPECT_EQ(read.wait(), Errc::too_large);
  EXPECT_FALSE(read.read.detail.empty());
}

TEST(Read, works_without_o_direct) {
  RaftWorld w(311);
  w.fs.refuse_direct(true);
  ASSERT_NO_FATAL_FAILURE(build(w));
  for (std::uint64_t first = 1; first <= w.end.value(); first += 5)
    ASSERT_NO_FATAL_FAILURE(w.check_read(Index{first}, Index{first + 9}, 64 * kKiB));
}

TEST(FrameIndex, is_a_queue_with_two_ends_that_reuses_its_chunks) {
  Prng dice(1);
  FrameIndex index(5000);
  std::deque<std::uint64_t> naive;  // first indexes; each frame has ten entries
  std::uint64_t next = 1;
  std::uint64_t dropped = 0;
  for (int i = 0; i < 3000; ++i) {
    const std::uint64_t draw = dice.below(10);
    if (draw < 6) {
      for (std::uint64_t n = dice.below(300); n > 0 && naive.size() < 5000; --n) {
        index.push_back({.first_index = Index{next},
                         .lsn = Lsn{next},
                         .term = Term{1},
                         .generation = next / 1000,
                         .block = 1,
                         .payload_bytes = 1});
        naive.push_back(next);
        next += 10;
      }
    } else if (draw < 8 && !naive.empty()) {
      const std::uint64_t from = naive[dice.below(naive.size())] + dice.below(10);
      index.drop_from(Index{from});
      while (!naive.empty() && naive.back() >= from) naive.pop_back();
      next = naive.empty() ? from : naive.back() + 10;
    } else if (!naive.empty()) {
      const std::uint64_t generation = naive[dice.below(naive.size())] / 1000;
      index.drop_through_generation(generation);
      while (!naive.empty() && naive.front() / 1000 <= generation) {
        naive.pop_front();
        ++dropped;
      }
    }
    ASSERT_EQ(index.end() - index.begin(), naive.size());
    ASSERT_EQ(index.begin(), dropped);
    if (naive.empty()) continue;
    ASSERT_EQ(index.front().first_index, Index{naive.front()});
    ASSERT_EQ(index.back().first_index, Index{naive.back()});
    const std::uint64_t at = dice.below(naive.size());
    ASSERT_EQ(index.find(Index{naive[at] + dice.below(10)}), index.begin() + at);
    ASSERT_EQ(index.at(index.begin() + at).lsn, Lsn{naive[at]});
  }
}

}  // namespace
}  // namespace esc::wal
