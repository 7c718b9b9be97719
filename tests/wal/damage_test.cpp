// Bit flips and cuts anywhere in the files of a log: never a wrong byte, never a silent loss.
#include <gtest/gtest.h>

#include "esc/wal/dump.h"
#include "raft_world.h"

namespace esc::wal {
namespace {

// A log over three segments whose last frame is a watermark, so that every entry is covered.
void build(World& w) {
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 24; ++i) w.append_and_drain(2, 2500);
  w.turn_for(50 * kMillisecond);
  ASSERT_GE(w.log->stats().watermark_frames, 1U);
  w.log.reset();
}

struct Place {
  std::string path;
  std::uint64_t bytes = 0;
};
std::vector<Place> segment_files(World& w) {
  std::vector<Place> places;
  const auto entries = w.files.list("/wal");
  for (const io::DirectoryEntry& entry : *entries) places.push_back({"/wal/" + entry.name, entry.bytes});
  return places;
}

// Opens; either everything acknowledged is there, byte for byte, or corruption with file and position.
void expect_honest(World& w, std::uint64_t& complete, std::uint64_t& reported) {
  const auto opened = w.open();
  if (!opened) {
    ASSERT_EQ(opened.error().code, Errc::corruption) << opened.error().message;
    ASSERT_NE(opened.error().message.find("at byte "), std::string::npos) << opened.error().message;
    ASSERT_NE(opened.error().message.find(".seg"), std::string::npos) << opened.error().message;
    ++reported;
    return;
  }
  ASSERT_EQ(w.recovered.size(), w.written.size());
  for (std::size_t i = 0; i < w.written.size(); ++i) ASSERT_TRUE(w.recovered[i] == w.written[i]);
  w.log.reset();
  ++complete;
}

TEST(Damage, flipped_bits_are_found_or_harmless) {
  World w(51);
  ASSERT_NO_FATAL_FAILURE(build(w));
  Prng dice(1);
  std::uint64_t complete = 0;
  std::uint64_t reported = 0;
  for (const Place& place : segment_files(w)) {
    const std::uint64_t stride = long_run() ? 1 : 311;
    for (std::uint64_t offset = 0; offset < place.bytes; offset += stride) {
      SCOPED_TRACE(place.path + " byte " + std::to_string(offset));
      const auto mask = static_cast<std::uint8_t>(1U << dice.below(8));
      w.fs.corrupt(place.path, offset, mask);
      ASSERT_NO_FATAL_FAILURE(expect_honest(w, complete, reported));
      w.fs.corrupt(place.path, offset, mask);
    }
  }
  EXPECT_GT(complete, 0U);  // padding, unused room
  EXPECT_GT(reported, complete / 10);
}

TEST(Damage, cut_files_are_reported) {
  World w(52);
  ASSERT_NO_FATAL_FAILURE(build(w));
  std::uint64_t complete = 0;
  std::uint64_t reported = 0;
  for (const Place& place : segment_files(w)) {
    const std::uint64_t stride = long_run() ? 1 : 997;
    for (std::uint64_t length = 0; length < place.bytes; length += stride) {
      SCOPED_TRACE(place.path + " cut to " + std::to_string(length));
      const io::FileHandle file = *w.files.open(place.path, {.write = true});
      std::vector<std::byte> whole(place.bytes);
      ASSERT_EQ(*w.files.read(file, 0, whole), place.bytes);
      ASSERT_TRUE(w.files.truncate(file, length));
      ASSERT_TRUE(w.files.sync(file));
      ASSERT_NO_FATAL_FAILURE(expect_honest(w, complete, reported));
      ASSERT_TRUE(w.files.write(file, 0, whole));
      ASSERT_TRUE(w.files.sync(file));
      w.files.close(file);
    }
  }
  EXPECT_EQ(complete, 0U);
}

TEST(Damage, a_missing_segment_is_reported) {
  for (const char* name : {"/wal/wal-00000001.seg", "/wal/wal-00000002.seg"}) {
    World w(53);
    ASSERT_NO_FATAL_FAILURE(build(w));
    ASSERT_TRUE(w.files.remove(name));
    const auto opened = w.open();
    ASSERT_FALSE(opened) << name;
    EXPECT_EQ(opened.error().code, Errc::corruption);
  }
}

TEST(Damage, refusal_changes_nothing_on_disk) {
  World w(54);
  ASSERT_NO_FATAL_FAILURE(build(w));
  w.fs.corrupt("/wal/wal-00000001.seg", 2 * kBlockBytes + 50, 1);
  ASSERT_FALSE(w.open());
  w.fs.corrupt("/wal/wal-00000001.seg", 2 * kBlockBytes + 50, 1);
  const auto opened = w.open();
  ASSERT_TRUE(opened) << opened.error().message;
  w.check_recovered(Index{0});
}

TEST(Damage, a_hole_is_described_for_whoever_refetches_it) {
  RaftWorld w(56);
  ASSERT_TRUE(w.open_raft(Index{0}));
  for (std::uint64_t i = 1; i <= 9; i += 3) w.write_and_drain(Index{i}, 3);
  w.write_and_drain(Index{10}, 1);
  w.log.reset();
  // The second frame; it takes two or three blocks.
  std::uint64_t position = 2 * kBlockBytes;
  std::vector<std::byte> head(logfmt::kFrameHeaderBytes);
  logfmt::FrameHeader header;
  const io::FileHandle file = *w.files.open("/wal/wal-00000001.seg", {});
  for (;; position += kBlockBytes) {
    ASSERT_TRUE(w.files.read(file, position, head));
    if (logfmt::read_frame_header(head, header) == logfmt::HeaderState::valid) break;
  }
  w.files.close(file);
  ASSERT_EQ(header.lsn, 2U);
  w.fs.corrupt("/wal/wal-00000001.seg", position + 200, 1);
  const auto opened = w.open_raft(Index{0});
  ASSERT_FALSE(opened);
  ASSERT_EQ(opened.error().code, Errc::corruption);
  ASSERT_TRUE(w.report.damage);
  EXPECT_EQ(w.report.damage->segment, "/wal/wal-00000001.seg");
  EXPECT_EQ(w.report.damage->position, position);
  EXPECT_EQ(w.report.damage->index_before, Index{3});
  EXPECT_EQ(w.report.damage->index_next, Index{7});
  EXPECT_EQ(w.report.damage->lsn_first_missing, Lsn{2});
  EXPECT_EQ(w.report.damage->lsn_next_good, Lsn{3});
  w.fs.corrupt("/wal/wal-00000001.seg", position + 200, 1);
  ASSERT_TRUE(w.open_raft(Index{0}));
  EXPECT_FALSE(w.report.damage);
}

TEST(Damage, an_uncovered_last_frame_counts_as_torn) {
  World w(55);
  ASSERT_TRUE(w.open());
  for (int i = 0; i < 3; ++i) w.append_and_drain(1, 100);
  w.log.reset();
  w.fs.corrupt("/wal/wal-00000001.seg", 3 * kBlockBytes + logfmt::kFrameHeaderBytes + 40, 4);
  ASSERT_TRUE(w.open());
  EXPECT_EQ(w.recovered.size(), 2U);
  EXPECT_TRUE(w.report.torn_tail);
  EXPECT_NE(w.report.torn_detail.find("wal-00000001.seg at byte 12288"), std::string::npos)
      << w.report.torn_detail;
}

struct Counting final : DumpVisitor {
  void on_segment(const DumpedSegment& segment) override { bad_segments += segment.problem.empty() ? 0 : 1; }
  void on_frame(const DumpedFrame& frame) override {
    frames += 1;
    if (frame.state != FrameState::ok)
      states.push_back(std::string(to_string(frame.state)) + ": " + frame.problem);
  }
  void on_entry(const DumpedFrame&, const logfmt::EntryView& entry) override {
    body_bytes += entry.body.size();
  }
  void on_malformed_entry(const DumpedFrame&, std::size_t) override { malformed += 1; }
  std::uint64_t frames = 0;
  std::uint64_t body_bytes = 0;
  std::uint64_t bad_segments = 0;
  std::uint64_t malformed = 0;
  std::vector<std::string> states;
};

TEST(Dump, shows_every_frame_and_entry_of_a_healthy_log) {
  World w(61);
  ASSERT_NO_FATAL_FAILURE(build(w));
  Counting dump;
  ASSERT_TRUE(scan_directory(w.files, "/wal", dump));
  EXPECT_EQ(dump.frames, 25U);
  EXPECT_EQ(dump.body_bytes, 24U * 2 * 2500);
  EXPECT_EQ(dump.bad_segments, 0U);
  EXPECT_TRUE(dump.states.empty()) << dump.states.front();
}

struct SupersededFrames final : DumpVisitor {
  void on_segment(const DumpedSegment&) override {}
  void on_frame(const DumpedFrame& frame) override {
    if (frame.header.kind == logfmt::FrameKind::entries) from.push_back(frame.superseded_from);
    resets += frame.header.kind == logfmt::FrameKind::reset ? 1 : 0;
    commit = std::max(commit, frame.header.commit_index);
  }
  void on_entry(const DumpedFrame&, const logfmt::EntryView&) override {}
  void on_malformed_entry(const DumpedFrame&, std::size_t) override {}
  std::vector<std::uint64_t> from;
  std::uint64_t resets = 0;
  std::uint64_t commit = 0;
};

TEST(Dump, shows_commit_indexes_superseded_frames_and_resets) {
  RaftWorld w(63);
  ASSERT_TRUE(w.open_raft(Index{0}));
  w.write_and_drain(Index{1}, 5);
  w.write_and_drain(Index{6}, 5);
  w.write_and_drain(Index{4}, 1);
  w.log->set_commit(Index{3});
  w.write_and_drain(Index{5}, 3);
  SupersededFrames before;
  ASSERT_TRUE(scan_directory(w.files, "/wal", before));
  EXPECT_EQ(before.from, (std::vector<std::uint64_t>{4, 6, 0, 0}));
  EXPECT_EQ(before.commit, 3U);
  w.reset_to(Index{20}, Term{1});
  w.drain();
  w.write_and_drain(Index{21}, 2);
  SupersededFrames after;
  ASSERT_TRUE(scan_directory(w.files, "/wal", after));
  EXPECT_EQ(after.from, (std::vector<std::uint64_t>{1, 6, 4, 5, 0}));
  EXPECT_EQ(after.resets, 1U);
  EXPECT_EQ(after.commit, 20U);
}

TEST(Dump, goes_on_behind_damage_and_names_it) {
  World w(62);
  ASSERT_NO_FATAL_FAILURE(build(w));
  w.fs.corrupt("/wal/wal-00000001.seg", kBlockBytes + 16, 1);
  w.fs.corrupt("/wal/wal-00000001.seg", 5 * kBlockBytes + 300, 1);
  w.fs.corrupt("/wal/wal-00000002.seg", 20, 1);
  Counting dump;
  ASSERT_TRUE(scan_directory(w.files, "/wal", dump));
  EXPECT_EQ(dump.frames, 25U);
  EXPECT_EQ(dump.body_bytes, 22U * 2 * 2500);
  EXPECT_EQ(dump.bad_segments, 1U);
  ASSERT_EQ(dump.states.size(), 2U);
  EXPECT_NE(dump.states[0].find("damaged header"), std::string::npos);
  EXPECT_NE(dump.states[1].find("damaged payload"), std::string::npos);
}

}  // namespace
}  // namespace esc::wal
