#include <algorithm>

#include "esc/logfmt/scan.h"

namespace esc::logfmt {
namespace {
constexpr std::uint64_t kChunkBytes = 1 * kMiB;
}

Result<ByteView> SegmentReader::view(std::uint64_t position, std::uint64_t length) {
  if (position >= bytes_) return ByteView{};
  length = std::min(length, bytes_ - position);
  const bool buffered = position >= buffer_start_ && position + length <= buffer_start_ + buffer_used_;
  if (!buffered) {
    const std::uint64_t wanted = std::min(std::max(length, kChunkBytes), bytes_ - position);
    if (buffer_.size() < wanted) buffer_.resize(wanted);
    buffer_used_ = 0;
    auto got = source_->read(position, ByteSpan(buffer_).first(wanted));
    if (!got) return std::unexpected(got.error());
    buffer_start_ = position;
    buffer_used_ = *got;
  }
  const std::uint64_t start = position - buffer_start_;
  return ByteView(buffer_).subspan(start, std::min(length, buffer_used_ - start));
}

Result<std::optional<FoundFrame>> SegmentReader::frame_at(std::uint64_t position) {
  auto bytes = view(position, kFrameHeaderBytes);
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->size() < kFrameHeaderBytes) return std::nullopt;
  FoundFrame found{.position = position};
  found.state = read_frame_header(*bytes, found.header);
  if (found.state == HeaderState::absent) return std::nullopt;
  if (found.state != HeaderState::valid) return found;
  const std::uint64_t whole = std::uint64_t{kFrameHeaderBytes} + found.header.payload_bytes;
  bytes = view(position, whole);
  if (!bytes) return std::unexpected(bytes.error());
  if (bytes->size() == whole && payload_matches(found.header, bytes->subspan(kFrameHeaderBytes))) {
    found.payload_ok = true;
    found.payload = bytes->subspan(kFrameHeaderBytes);
  }
  return found;
}

Result<std::optional<FoundFrame>> SegmentReader::next() {
  while (position_ < bytes_) {
    auto found = frame_at(position_);
    if (!found) return found;
    if (!found->has_value()) {
      position_ += kBlockBytes;
      continue;
    }
    position_ += (*found)->payload_ok ? frame_bytes((*found)->header.payload_bytes) : kBlockBytes;
    return found;
  }
  return std::nullopt;
}

}  // namespace esc::logfmt
