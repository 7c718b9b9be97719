#include "esc/wal/dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "directory.h"

namespace esc::wal {
namespace {

struct OpenSegment {
  DumpedSegment segment;
  std::unique_ptr<FileSource> source;
};

Result<OpenSegment> open_segment(io::Files& files, const SegmentPath& path) {
  auto source = FileSource::open(files, path.path);
  if (!source) return std::unexpected(source.error());
  OpenSegment opened{.segment = {.path = path.path, .bytes = path.bytes, .header = {}, .problem = {}},
                     .source = std::move(*source)};
  DumpedSegment& segment = opened.segment;
  logfmt::SegmentReader reader(*opened.source, path.bytes);
  auto block = reader.view(0, logfmt::kSegmentHeaderBytes);
  if (!block) return std::unexpected(block.error());
  if (block->size() < sizeof(logfmt::SegmentHeader)) {
    segment.state = logfmt::HeaderState::damaged;
    segment.problem = "shorter than a segment header";
    return opened;
  }
  segment.state = logfmt::read_segment_header(*block, segment.header);
  if (segment.state != logfmt::HeaderState::valid) {
    segment.problem = fmt::format("segment header {}", logfmt::to_string(segment.state));
  } else if (segment.header.segment_bytes != path.bytes) {
    segment.problem = fmt::format("the file has {} bytes but was created with {}", path.bytes,
                                  segment.header.segment_bytes);
  }
  return opened;
}

// Follows the frames of one segment as far as they chain, to tell the present ones from the stale.
class FrameJudge {
 public:
  explicit FrameJudge(const DumpedSegment& segment) : segment_(segment) {}

  DumpedFrame judge(const logfmt::FoundFrame& found) {
    DumpedFrame frame{
        .segment = &segment_, .position = found.position, .header = found.header, .problem = {}};
    const logfmt::FrameHeader& h = found.header;
    const auto verdict = [&frame](FrameState state, std::string problem) {
      frame.state = state;
      frame.problem = std::move(problem);
      return frame;
    };
    if (found.state == logfmt::HeaderState::unsupported)
      return verdict(FrameState::unsupported, fmt::format("format version {}", h.version));
    if (found.state != logfmt::HeaderState::valid)
      return verdict(FrameState::damaged_header, "the header checksum is wrong");
    frame.frame_bytes = logfmt::frame_bytes(h.payload_bytes);
    const bool known = segment_.state == logfmt::HeaderState::valid;
    if (known && h.identity() != segment_.header.identity())
      return verdict(FrameState::foreign,
                     fmt::format("belongs to cluster {:016x} log {:016x} node {} group {}", h.cluster_id,
                                 h.log_id, h.node, h.group));
    if (known && h.generation != segment_.header.generation)
      return verdict(FrameState::stale,
                     fmt::format("of generation {}, before the segment was recycled", h.generation));
    if (std::uint64_t{h.block} * kBlockBytes != found.position)
      return verdict(FrameState::misplaced,
                     fmt::format("was written for byte {}", std::uint64_t{h.block} * kBlockBytes));
    if (last_.lsn != 0 && (h.lsn <= last_.lsn || h.epoch < last_.epoch))
      return verdict(FrameState::stale, "of a tail that was dropped by recovery");
    if (!found.payload_ok) return verdict(FrameState::damaged_payload, "the payload checksum is wrong");
    if (last_.lsn != 0 && h.lsn == last_.lsn + 1 && h.previous_crc != last_.header_crc)
      frame.problem =
          fmt::format("does not continue LSN {} (checksum of the previous frame differs)", last_.lsn);
    if (last_.lsn != 0 && h.lsn != last_.lsn + 1)
      frame.problem = fmt::format("LSN {} to {} missing before it", last_.lsn + 1, h.lsn - 1);
    last_ = h;
    return frame;
  }

 private:
  const DumpedSegment& segment_;
  logfmt::FrameHeader last_;
};

// Which entries later frames void: needs the frames behind, hence a pass of its own.
class Superseded final : public DumpVisitor {
 public:
  void on_segment(const DumpedSegment&) override {}
  void on_frame(const DumpedFrame& frame) override {
    const logfmt::FrameHeader& h = frame.header;
    const bool entries = h.kind == logfmt::FrameKind::entries;
    if (frame.state != FrameState::ok || (!entries && h.kind != logfmt::FrameKind::reset)) return;
    frames_.push_back({.lsn = h.lsn, .first = entries ? h.first_index : 0, .last = h.last_index});
  }
  void on_entry(const DumpedFrame&, const logfmt::EntryView&) override {}
  void on_malformed_entry(const DumpedFrame&, std::size_t) override {}

  void finish() {
    std::sort(frames_.begin(), frames_.end(), [](const Range& a, const Range& b) { return a.lsn < b.lsn; });
    std::uint64_t lowest = UINT64_MAX;  // first index of all frames behind
    for (auto frame = frames_.rbegin(); frame != frames_.rend(); ++frame) {
      frame->void_from = lowest <= frame->last ? std::max(lowest, frame->first) : 0;
      lowest = std::min(lowest, frame->first);
    }
  }
  [[nodiscard]] std::uint64_t from(const DumpedFrame& frame) const {
    const auto at = std::lower_bound(frames_.begin(), frames_.end(), frame.header.lsn,
                                     [](const Range& range, std::uint64_t lsn) { return range.lsn < lsn; });
    const bool found = at != frames_.end() && at->lsn == frame.header.lsn && frame.state == FrameState::ok;
    return found ? at->void_from : 0;
  }

 private:
  struct Range {
    std::uint64_t lsn;
    std::uint64_t first;  // 0 for a reset: it voids everything
    std::uint64_t last;
    std::uint64_t void_from = 0;
  };
  std::vector<Range> frames_;
};

Status scan_segment(const OpenSegment& opened, DumpVisitor& visitor, const Superseded* superseded) {
  visitor.on_segment(opened.segment);
  logfmt::SegmentReader reader(*opened.source, opened.segment.bytes);
  FrameJudge judge(opened.segment);
  for (;;) {
    auto found = reader.next();
    if (!found) return std::unexpected(found.error());
    if (!found->has_value()) return {};
    DumpedFrame frame = judge.judge(**found);
    if (superseded != nullptr) frame.superseded_from = superseded->from(frame);
    visitor.on_frame(frame);
    if (!(*found)->payload_ok || frame.header.kind != logfmt::FrameKind::entries) continue;
    logfmt::EntryReader entries((*found)->payload);
    while (const auto entry = entries.next()) visitor.on_entry(frame, *entry);
    if (entries.malformed()) visitor.on_malformed_entry(frame, entries.position());
  }
}

}  // namespace

std::string_view to_string(FrameState state) {
  switch (state) {
    case FrameState::ok: return "ok";
    case FrameState::stale: return "stale";
    case FrameState::damaged_header: return "damaged header";
    case FrameState::damaged_payload: return "damaged payload";
    case FrameState::foreign: return "foreign";
    case FrameState::misplaced: return "misplaced";
    case FrameState::unsupported: return "unsupported";
  }
  return "unknown";
}

Status scan_directory(io::Files& files, const std::string& directory, DumpVisitor& visitor) {
  auto listing = list_segments(files, directory);
  if (!listing) return std::unexpected(listing.error());
  std::vector<OpenSegment> segments;
  for (const SegmentPath& path : listing->segments) {
    auto opened = open_segment(files, path);
    if (!opened) return std::unexpected(opened.error());
    segments.push_back(std::move(*opened));
  }
  const auto order = [](const OpenSegment& opened) {
    const DumpedSegment& segment = opened.segment;
    const bool readable = segment.state == logfmt::HeaderState::valid;
    return std::pair(readable ? segment.header.generation : UINT64_MAX, std::string_view(segment.path));
  };
  std::sort(segments.begin(), segments.end(),
            [&order](const OpenSegment& a, const OpenSegment& b) { return order(a) < order(b); });
  Superseded superseded;
  for (const OpenSegment& opened : segments)
    if (Status s = scan_segment(opened, superseded, nullptr); !s) return s;
  superseded.finish();
  for (const OpenSegment& opened : segments)
    if (Status s = scan_segment(opened, visitor, &superseded); !s) return s;
  return {};
}

}  // namespace esc::wal
