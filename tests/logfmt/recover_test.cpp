// Recovery of logs that were put together by hand, frame by frame.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "esc/logfmt/scan.h"

namespace esc::logfmt {
namespace {

class MemorySource final : public SegmentSource {
 public:
  explicit MemorySource(const std::vector<std::byte>& bytes) : bytes_(bytes) {}
  Result<std::uint64_t> read(std::uint64_t offset, ByteSpan into) override {
    if (offset >= bytes_.size()) return 0;
    const std::uint64_t length = std::min<std::uint64_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, length);
    return length;
  }

 private:
  const std::vector<std::byte>& bytes_;
};

constexpr LogIdentity kIdentity{.cluster_id = 7, .log_id = 42, .node = NodeId{1}, .group = GroupId{2}};
constexpr std::uint64_t kBytes = 16 * kBlockBytes;

// Segments under construction. Frames are one block of payload plus header unless said otherwise.
struct Files {
  std::vector<std::vector<std::byte>> segments;
  FrameHeader last;
  std::uint32_t epoch = 1;

  std::size_t add_segment(std::uint64_t generation, const LogIdentity& identity = kIdentity) {
    segments.emplace_back(kBytes);
    set_header(segments.size() - 1, generation, identity);
    return segments.size() - 1;
  }
  void set_header(std::size_t segment, std::uint64_t generation, const LogIdentity& identity = kIdentity) {
    SegmentHeader header;
    header.cluster_id = identity.cluster_id;
    header.log_id = identity.log_id;
    header.node = identity.node.value();
    header.group = identity.group.value();
    header.generation = generation;
    header.number = segment;
    header.segment_bytes = kBytes;
    header.epoch = epoch;
    seal_segment_header(segments[segment].data(), header);
  }
  // Continues the chain at `block`; returns the header. `durable_lag`: how far the watermark is behind.
  FrameHeader add_frame(std::size_t segment, std::uint32_t block, std::uint64_t durable_lag = 1,
                        std::uint32_t payload_bytes = 200, const LogIdentity& identity = kIdentity) {
    SegmentHeader owner;
    EXPECT_EQ(read_segment_header(segments[segment], owner), HeaderState::valid);
    FrameHeader h;
    h.kind = FrameKind::entries;
    h.cluster_id = identity.cluster_id;
    h.log_id = identity.log_id;
    h.node = identity.node.value();
    h.group = identity.group.value();
    h.generation = owner.generation;
    h.epoch = epoch;
    h.block = block;
    h.lsn = last.lsn + 1;
    h.term = 1;
    h.first_index = h.last_index = h.lsn;
    h.durable_lsn = h.lsn > durable_lag ? h.lsn - durable_lag : 0;
    h.payload_bytes = payload_bytes;
    h.previous_crc = last.header_crc;
    std::byte* at = segments[segment].data() + std::size_t{block} * kBlockBytes;
    std::memset(at + kFrameHeaderBytes, static_cast<int>(h.lsn), payload_bytes);
    seal_frame(at, h);
    last = h;
    return h;
  }
  void damage(std::size_t segment, std::uint32_t block, std::size_t byte = kFrameHeaderBytes + 5) {
    segments[segment][std::size_t{block} * kBlockBytes + byte] ^= std::byte{1};
  }

  Result<RecoveredLog> recover() {
    std::vector<std::unique_ptr<MemorySource>> sources;
    std::vector<SegmentFile> files;
    for (std::size_t i = 0; i < segments.size(); ++i) {
      sources.push_back(std::make_unique<MemorySource>(segments[i]));
      files.push_back({"segment-" + std::to_string(i), segments[i].size(), sources.back().get()});
    }
    LogIdentity wanted = kIdentity;
    wanted.log_id = 0;
    lsns.clear();
    return logfmt::recover(files, wanted, [this](const FrameHeader& header, ByteView payload) -> Status {
      for (const std::byte b : payload) EXPECT_EQ(b, static_cast<std::byte>(header.lsn));
      lsns.push_back(header.lsn);
      return {};
    });
  }
  void expect_lsns(std::uint64_t first, std::uint64_t last_lsn) {
    ASSERT_EQ(lsns.size(), last_lsn - first + 1);
    for (std::uint64_t i = 0; i < lsns.size(); ++i) EXPECT_EQ(lsns[i], first + i);
  }
  std::vector<std::uint64_t> lsns;
};

TEST(Recover, an_empty_log_is_empty) {
  Files f;
  f.add_segment(1);
  f.add_segment(2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->last.lsn, 0U);
  EXPECT_EQ(log->live, 1U);
  EXPECT_EQ(log->log_id, 42U);
  EXPECT_FALSE(log->torn_tail);
}

TEST(Recover, follows_the_chain_across_segments) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  f.add_segment(3);
  for (std::uint32_t block = 1; block < 16; ++block) f.add_frame(a, block);
  f.add_frame(b, 1);
  f.add_frame(b, 2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 17);
  EXPECT_EQ(log->live, 2U);
  EXPECT_EQ(log->segments[1].used_bytes, 3U * kBlockBytes);
  EXPECT_EQ(log->segments[2].role, SegmentRole::spare);
}

TEST(Recover, a_frame_may_leave_room_unused_at_the_end_of_a_segment) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  f.add_frame(a, 1);
  f.add_frame(b, 1, 1, 10 * kBlockBytes);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 2);
}

TEST(Recover, a_bad_last_frame_is_a_torn_tail) {
  for (const std::size_t byte : {std::size_t{50}, std::size_t{kFrameHeaderBytes + 5}}) {
    Files f;
    const auto a = f.add_segment(1);
    f.add_frame(a, 1);
    f.add_frame(a, 2);
    f.damage(a, 2, byte);
    const auto log = f.recover();
    ASSERT_TRUE(log) << log.error().message;
    f.expect_lsns(1, 1);
    EXPECT_TRUE(log->torn_tail);
    EXPECT_NE(log->torn_detail.find("segment-0 at byte 8192"), std::string::npos) << log->torn_detail;
  }
}

TEST(Recover, a_bad_frame_under_a_later_watermark_is_corruption) {
  Files f;
  const auto a = f.add_segment(1);
  for (std::uint32_t block = 1; block <= 4; ++block) f.add_frame(a, block);
  f.damage(a, 2);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::corruption);
  EXPECT_NE(log.error().message.find("segment-0 at byte 8192"), std::string::npos) << log.error().message;
}

TEST(Recover, a_torn_frame_with_a_complete_one_in_flight_behind_it_is_a_torn_tail) {
  Files f;
  const auto a = f.add_segment(1);
  f.add_frame(a, 1);
  f.add_frame(a, 2);
  f.add_frame(a, 3, 2);  // sealed while LSN 2 was in flight
  f.damage(a, 2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 1);
  EXPECT_TRUE(log->torn_tail);
}

TEST(Recover, a_torn_frame_with_a_complete_one_in_the_next_segment_is_a_torn_tail) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  f.add_frame(a, 1);
  f.add_frame(a, 2);
  f.add_frame(b, 1, 2);
  f.damage(a, 2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 1);
  EXPECT_EQ(log->live, 1U);
  EXPECT_EQ(log->segments[1].role, SegmentRole::spare);
}

TEST(Recover, a_stale_frame_behind_a_rewritten_tail_is_never_resurrected) {
  Files f;
  const auto a = f.add_segment(1);
  const FrameHeader first = f.add_frame(a, 1);
  f.add_frame(a, 2);
  f.add_frame(a, 3, 2);
  f.damage(a, 2);
  ASSERT_TRUE(f.recover());
  // The next life writes LSN 2 anew, byte for byte the same entries; LSN 3 of the last life follows it.
  f.last = first;
  f.epoch = 2;
  f.add_frame(a, 2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 2);
  EXPECT_FALSE(log->torn_tail) << log->torn_detail;
  EXPECT_EQ(log->epoch_max, 2U);
}

// Even if checksums collided: an older epoch cannot continue a newer one.
TEST(Recover, an_older_epoch_does_not_continue_a_newer_one) {
  Files f;
  const auto a = f.add_segment(1);
  f.epoch = 2;
  f.add_frame(a, 1);
  f.epoch = 1;
  f.add_frame(a, 2, 2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 1);
}

TEST(Recover, the_epoch_of_dropped_frames_is_remembered) {
  Files f;
  const auto a = f.add_segment(1);
  f.add_frame(a, 1);
  f.epoch = 5;
  f.add_frame(a, 2);
  f.add_frame(a, 3, 2);
  f.damage(a, 2);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  EXPECT_EQ(log->epoch_max, 5U);
}

TEST(Recover, frames_of_a_recycled_segments_former_life_are_ignored) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  for (std::uint32_t block = 1; block < 16; ++block) f.add_frame(a, block);
  f.add_frame(b, 1);
  f.set_header(a, 3);  // recycled: waits as a spare, full of valid old frames
  auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(16, 16);
  EXPECT_EQ(log->segments[1].role, SegmentRole::spare);
  for (std::uint32_t block = 2; block < 16; ++block) f.add_frame(b, block);
  f.add_frame(a, 1);  // in use again, old frames behind
  log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(16, 31);
  EXPECT_FALSE(log->torn_tail) << log->torn_detail;
}

TEST(Recover, a_header_torn_by_recycling_is_harmless) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  f.add_frame(a, 1);
  f.add_frame(b, 1);
  f.damage(a, 0, 40);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(2, 2);
  EXPECT_EQ(log->segments[1].role, SegmentRole::unknown);
}

TEST(Recover, a_damaged_header_of_a_live_segment_is_corruption) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  f.add_frame(a, 1);
  f.add_frame(b, 1);
  f.damage(b, 0, 40);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message.find("segment-1 at byte 0"), std::string::npos) << log.error().message;
}

TEST(Recover, a_damaged_header_of_the_only_segment_with_frames_is_named) {
  Files f;
  const auto a = f.add_segment(1);
  f.add_segment(2);
  f.add_frame(a, 1);
  f.damage(a, 0, 40);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::corruption);
  EXPECT_NE(log.error().message.find("segment-0 at byte 0"), std::string::npos) << log.error().message;
}

TEST(Recover, a_missing_middle_segment_is_corruption) {
  Files f;
  const auto a = f.add_segment(1);
  const auto b = f.add_segment(2);
  const auto c = f.add_segment(3);
  for (const auto segment : {a, b, c}) f.add_frame(segment, 1);
  f.segments.erase(f.segments.begin() + 1);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::corruption);
}

TEST(Recover, losing_the_only_frame_of_a_recycled_log_is_corruption) {
  Files f;
  f.last.lsn = 100;
  const auto a = f.add_segment(57);
  f.add_segment(58);
  f.add_frame(a, 1);
  ASSERT_TRUE(f.recover());
  f.damage(a, 1);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_NE(log.error().message.find("segment-0 at byte 4096"), std::string::npos) << log.error().message;
}

TEST(Recover, misdirected_writes_are_recognised) {
  // A frame of another group over a durable one.
  Files f;
  const auto a = f.add_segment(1);
  for (std::uint32_t block = 1; block <= 4; ++block) f.add_frame(a, block);
  LogIdentity other = kIdentity;
  other.group = GroupId{9};
  f.add_frame(a, 2, 1, 200, other);
  const auto foreign = f.recover();
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("group 9"), std::string::npos) << foreign.error().message;
  // Our own frame, at the wrong place.
  Files g;
  const auto b = g.add_segment(1);
  g.add_frame(b, 1);
  g.add_frame(b, 2);
  std::memcpy(g.segments[b].data() + 3 * kBlockBytes, g.segments[b].data() + 2 * kBlockBytes, kBlockBytes);
  const auto log = g.recover();
  ASSERT_TRUE(log) << log.error().message;
  g.expect_lsns(1, 2);
}

TEST(Recover, files_of_two_logs_are_refused) {
  Files f;
  f.add_segment(1);
  LogIdentity other = kIdentity;
  other.log_id = 43;
  f.add_segment(2, other);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::invalid_argument);
}

TEST(Recover, records_that_imitate_a_frame_are_not_believed) {
  Files f;
  const auto a = f.add_segment(1);
  f.add_frame(a, 1);
  // Inside the payload of LSN 2, on a block boundary: a frame that claims a high watermark, made by
  // someone who knows everything but the log's random id.
  Files forger;
  const auto b = forger.add_segment(1);
  forger.last.lsn = 50;
  LogIdentity guess = kIdentity;
  guess.log_id = 0;
  forger.add_frame(b, 3, 1, 200, guess);
  f.add_frame(a, 2, 1, 4 * kBlockBytes);
  std::memcpy(f.segments[a].data() + 3 * kBlockBytes, forger.segments[b].data() + 3 * kBlockBytes,
              kBlockBytes);
  const auto log = f.recover();
  ASSERT_TRUE(log) << log.error().message;
  f.expect_lsns(1, 1);
  EXPECT_TRUE(log->torn_tail);
}

TEST(Recover, a_newer_format_is_not_touched) {
  Files f;
  const auto a = f.add_segment(1);
  SegmentHeader header;
  ASSERT_EQ(read_segment_header(f.segments[a], header), HeaderState::valid);
  header.version = 3;
  seal_segment_header(f.segments[a].data(), header);
  const auto log = f.recover();
  ASSERT_FALSE(log);
  EXPECT_EQ(log.error().code, Errc::unsupported);
}

}  // namespace
}  // namespace esc::logfmt
