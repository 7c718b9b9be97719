#include "wal_verdict.h"

#include <fmt/format.h>

#include <algorithm>

namespace esc::esctl {

void WalVerdict::on_segment(const wal::DumpedSegment& segment) {
  if (!segment.problem.empty()) findings_.push_back({segment.path, 0, segment.problem});
}

void WalVerdict::on_frame(const wal::DumpedFrame& frame) {
  if (frame.state == wal::FrameState::stale) return;
  if (frame.state != wal::FrameState::ok) {
    findings_.push_back({frame.segment->path, frame.position, frame.problem});
    return;
  }
  const std::uint64_t lsn = frame.header.lsn;
  if (frames_ == 0) first_lsn_ = lsn;
  if (frames_ > 0 && lsn > last_lsn_ + 1) {
    gaps_.push_back({last_lsn_ + 1, lsn - 1, {frame.segment->path, frame.position, "the next good frame"}});
  }
  ++frames_;
  last_lsn_ = std::max(last_lsn_, lsn);
  durable_lsn_ = std::max(durable_lsn_, frame.header.durable_lsn);
}

void WalVerdict::on_malformed_entry(const wal::DumpedFrame& frame, std::size_t position) {
  if (!malformed_.empty()) return;
  malformed_ =
      fmt::format("{} at byte {}: the frame's checksum is right, but its payload is no entry from byte {} on",
                  frame.segment->path, frame.position, position);
}

std::vector<WalVerdict::Gap> WalVerdict::corrupt_gaps() const {
  std::vector<Gap> corrupt;
  std::ranges::copy_if(gaps_, std::back_inserter(corrupt),
                       [this](const Gap& gap) { return gap.first_lsn <= durable_lsn_; });
  return corrupt;
}

std::string WalVerdict::corruption() const {
  const auto gaps = corrupt_gaps();
  if (gaps.empty()) return malformed_;
  const Gap& gap = gaps.front();
  std::string text = fmt::format(
      "frames {} to {} are missing or damaged, although everything up to {} was durable; "
      "they belong before {} at byte {}",
      gap.first_lsn, gap.last_lsn, durable_lsn_, gap.before.path, gap.before.position);
  if (!findings_.empty()) {
    const Damage& damage = findings_.front();
    text += fmt::format(". First damage: {} at byte {}: {}", damage.path, damage.position, damage.problem);
  }
  return text;
}

}  // namespace esc::esctl
