#include "esc/logfmt/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "esc/base/crc32c.h"
#include "esc/logfmt/entry.h"

namespace esc::logfmt {
namespace {

FrameHeader sample_header(std::uint32_t payload_bytes) {
  FrameHeader header;
  header.kind = FrameKind::entries;
  header.cluster_id = 0x1122334455667788;
  header.log_id = 9;
  header.node = 1;
  header.group = 2;
  header.generation = 3;
  header.epoch = 4;
  header.block = 5;
  header.lsn = 6;
  header.term = 7;
  header.first_index = 8;
  header.last_index = 9;
  header.durable_lsn = 5;
  header.commit_index = 4;
  header.payload_bytes = payload_bytes;
  return header;
}

std::vector<std::byte> sealed_frame(std::uint32_t payload_bytes) {
  std::vector<std::byte> frame(frame_bytes(payload_bytes), std::byte{0xEE});
  FrameHeader header = sample_header(payload_bytes);
  seal_frame(frame.data(), header);
  return frame;
}

TEST(Frame, a_sealed_frame_reads_back) {
  const auto frame = sealed_frame(1000);
  FrameHeader header;
  ASSERT_EQ(read_frame_header(frame, header), HeaderState::valid);
  EXPECT_EQ(header.lsn, 6U);
  EXPECT_EQ(header.payload_bytes, 1000U);
  EXPECT_TRUE(payload_matches(header, ByteView(frame).subspan(kFrameHeaderBytes, 1000)));
}

TEST(Frame, padding_is_zeroed) {
  const auto frame = sealed_frame(1000);
  for (std::size_t i = kFrameHeaderBytes + 1000; i < frame.size(); ++i) ASSERT_EQ(frame[i], std::byte{0});
}

// The layout is a promise to files that exist: a change here needs a new format version.
TEST(Frame, bytes_are_where_the_document_says) {
  const auto frame = sealed_frame(8);
  EXPECT_EQ(load_le<std::uint32_t>(frame.data()), 0x46435345U);
  EXPECT_EQ(load_le<std::uint16_t>(frame.data() + 4), 2U);
  EXPECT_EQ(load_le<std::uint8_t>(frame.data() + 6), 1U);
  EXPECT_EQ(load_le<std::uint64_t>(frame.data() + 8), 0x1122334455667788U);
  EXPECT_EQ(load_le<std::uint64_t>(frame.data() + 32), 3U);
  EXPECT_EQ(load_le<std::uint32_t>(frame.data() + 44), 5U);
  EXPECT_EQ(load_le<std::uint64_t>(frame.data() + 48), 6U);
  EXPECT_EQ(load_le<std::uint64_t>(frame.data() + 80), 5U);
  EXPECT_EQ(load_le<std::uint32_t>(frame.data() + 100), 8U);
  EXPECT_EQ(load_le<std::uint64_t>(frame.data() + 112), 4U);
}

TEST(Frame, every_bit_of_header_and_payload_is_protected) {
  auto frame = sealed_frame(40);
  for (std::size_t bit = 0; bit < (kFrameHeaderBytes + 40) * 8; ++bit) {
    frame[bit / 8] ^= std::byte{1} << (bit % 8);
    FrameHeader header;
    const HeaderState state = read_frame_header(frame, header);
    const bool good = state == HeaderState::valid &&
                      payload_matches(header, ByteView(frame).subspan(kFrameHeaderBytes, 40));
    ASSERT_FALSE(good) << "bit " << bit;
    frame[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

TEST(Frame, an_impossible_header_with_a_right_checksum_is_damaged) {
  const auto state_with = [](auto change) {
    FrameHeader header = sample_header(40);
    change(header);
    header.header_crc =
        crc32c({reinterpret_cast<const std::byte*>(&header), offsetof(FrameHeader, header_crc)});
    std::vector<std::byte> bytes(kFrameHeaderBytes);
    std::memcpy(bytes.data(), &header, sizeof header);
    FrameHeader read;
    return read_frame_header(bytes, read);
  };
  EXPECT_EQ(state_with([](FrameHeader&) {}), HeaderState::valid);
  EXPECT_EQ(state_with([](FrameHeader& h) { h.version = 3; }), HeaderState::unsupported);
  EXPECT_EQ(state_with([](FrameHeader& h) { h.payload_bytes = UINT32_MAX; }), HeaderState::damaged);
  EXPECT_EQ(state_with([](FrameHeader& h) { h.durable_lsn = h.lsn; }), HeaderState::damaged);
  EXPECT_EQ(state_with([](FrameHeader& h) { h.last_index = 0; }), HeaderState::damaged);
  EXPECT_EQ(state_with([](FrameHeader& h) { h.kind = FrameKind{77}; }), HeaderState::damaged);
  EXPECT_EQ(state_with([](FrameHeader& h) { h.kind = FrameKind::watermark; }), HeaderState::damaged);
}

TEST(Frame, zeroes_are_no_frame) {
  const std::vector<std::byte> zeros(kBlockBytes);
  FrameHeader header;
  EXPECT_EQ(read_frame_header(zeros, header), HeaderState::absent);
  SegmentHeader segment;
  EXPECT_EQ(read_segment_header(zeros, segment), HeaderState::absent);
}

TEST(SegmentHeader, reads_back_and_is_protected) {
  std::vector<std::byte> block(kSegmentHeaderBytes);
  SegmentHeader header;
  header.generation = 12;
  header.segment_bytes = 1 * kMiB;
  seal_segment_header(block.data(), header);
  SegmentHeader read;
  ASSERT_EQ(read_segment_header(block, read), HeaderState::valid);
  EXPECT_EQ(read.generation, 12U);
  for (std::size_t bit = 0; bit < sizeof header * 8; ++bit) {
    block[bit / 8] ^= std::byte{1} << (bit % 8);
    ASSERT_NE(read_segment_header(block, read), HeaderState::valid) << "bit " << bit;
    block[bit / 8] ^= std::byte{1} << (bit % 8);
  }
}

std::vector<std::byte> payload_of(std::initializer_list<std::uint32_t> bodies) {
  std::vector<std::byte> payload;
  std::uint64_t index = 1;
  for (const std::uint32_t body : bodies) {
    const std::size_t at = payload.size();
    payload.resize(at + entry_bytes(body), std::byte{0xAB});
    EntryHeader header;
    header.size = body;
    header.kind = EntryKind::batch;
    header.index = index++;
    store_entry_header(payload.data() + at, header);
    zero_entry_padding(payload.data() + at, body);
  }
  return payload;
}

TEST(EntryReader, reads_what_was_stored) {
  const auto payload = payload_of({0, 1, 8, 100});
  EntryReader reader(payload);
  for (std::uint32_t expected : {0U, 1U, 8U, 100U}) {
    const auto entry = reader.next();
    ASSERT_TRUE(entry);
    EXPECT_EQ(entry->body.size(), expected);
    EXPECT_TRUE(is_aligned(entry->position, kEntryAlignment));
  }
  EXPECT_FALSE(reader.next());
  EXPECT_FALSE(reader.malformed());
}

TEST(EntryReader, malformed_bytes_end_it_without_reading_outside) {
  const auto good = payload_of({16, 16});
  for (std::size_t length = 0; length < good.size(); ++length) {
    // Exactly sized, so that a sanitizer sees a read past the end.
    const std::vector<std::byte> cut(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(length));
    EntryReader reader(cut);
    while (reader.next()) {
    }
    EXPECT_EQ(reader.malformed(), length % entry_bytes(16) != 0) << length;
  }
  auto huge = good;
  store_le<std::uint32_t>(huge.data(), UINT32_MAX);
  EntryReader reader(huge);
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.malformed());
  EXPECT_EQ(reader.position(), 0U);
}

}  // namespace
}  // namespace esc::logfmt
