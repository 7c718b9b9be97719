#include "esc/logfmt/frame.h"

#include <cstring>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::logfmt {
namespace {

template <class Header>
std::uint32_t checksum_of(const Header& header) {
  static_assert(offsetof(Header, header_crc) + sizeof(std::uint32_t) == sizeof(Header));
  return crc32c({reinterpret_cast<const std::byte*>(&header), offsetof(Header, header_crc)});
}

// A frame without entries has no payload and, unless it is a reset, no indexes; one with entries has both.
bool fields_are_consistent(const FrameHeader& header) {
  if (header.lsn == 0 || header.durable_lsn >= header.lsn) return false;
  if (header.payload_bytes > kPayloadBytesMax) return false;
  if (header.version == 1 && (header.commit_index != 0 || header.kind == FrameKind::reset)) return false;
  switch (header.kind) {
    case FrameKind::entries:
      return header.payload_bytes > 0 && header.first_index > 0 && header.last_index >= header.first_index;
    case FrameKind::hard_state:
    case FrameKind::watermark:
      return header.payload_bytes == 0 && header.first_index == 0 && header.last_index == 0;
    case FrameKind::reset:
      return header.payload_bytes == 0 && header.last_index > 0 &&
             header.first_index == header.last_index + 1 && header.commit_index >= header.last_index;
    case FrameKind::none: return false;
  }
  return false;
}

bool is_readable(std::uint16_t version) {
  return version >= kFormatVersionMin && version <= kFormatVersion;
}

}  // namespace

std::string_view to_string(HeaderState state) {
  switch (state) {
    case HeaderState::valid: return "valid";
    case HeaderState::absent: return "absent";
    case HeaderState::damaged: return "damaged";
    case HeaderState::unsupported: return "unsupported version";
  }
  return "unknown";
}

HeaderState read_frame_header(ByteView bytes, FrameHeader& header) {
  ESC_ASSERT(bytes.size() >= kFrameHeaderBytes);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.magic != kFrameMagic) return HeaderState::absent;
  if (header.header_crc != checksum_of(header)) return HeaderState::damaged;
  if (!is_readable(header.version)) return HeaderState::unsupported;
  return fields_are_consistent(header) ? HeaderState::valid : HeaderState::damaged;
}

bool payload_matches(const FrameHeader& header, ByteView payload) {
  return payload.size() == header.payload_bytes && crc32c(payload) == header.payload_crc;
}

void seal_frame(std::byte* frame, FrameHeader& header) {
  ESC_ASSERT(fields_are_consistent(header));
  const std::uint32_t used = kFrameHeaderBytes + header.payload_bytes;
  header.payload_crc = crc32c({frame + kFrameHeaderBytes, header.payload_bytes});
  header.header_crc = checksum_of(header);
  std::memcpy(frame, &header, sizeof header);
  std::memset(frame + used, 0, frame_bytes(header.payload_bytes) - used);
}

void seal_segment_header(std::byte* block, SegmentHeader& header) {
  header.header_crc = checksum_of(header);
  std::memset(block, 0, kSegmentHeaderBytes);
  std::memcpy(block, &header, sizeof header);
}

HeaderState read_segment_header(ByteView block, SegmentHeader& header) {
  ESC_ASSERT(block.size() >= sizeof header);
  std::memcpy(&header, block.data(), sizeof header);
  if (header.magic != kSegmentMagic) return HeaderState::absent;
  if (header.header_crc != checksum_of(header)) return HeaderState::damaged;
  return is_readable(header.version) ? HeaderState::valid : HeaderState::unsupported;
}

}  // namespace esc::logfmt
