// Reads the segment files of a directory as they are, damage included, for `esctl wal dump`.
// Nothing is written, no log needs to be running or readable as a whole.
#pragma once

#include <cstdint>
#include <string>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/io/disk.h"
#include "esc/logfmt/entry.h"
#include "esc/logfmt/frame.h"

namespace esc::wal {

// What a frame found in a segment is to the log. `stale` frames are remains of the segment's former
// life, or of a tail that an earlier recovery dropped: normal.
enum class FrameState : std::uint8_t {
  ok,
  stale,
  damaged_header,
  damaged_payload,
  foreign,
  misplaced,
  unsupported
};
[[nodiscard]] std::string_view to_string(FrameState state);

struct DumpedSegment {
  std::string path;
  std::uint64_t bytes = 0;
  logfmt::HeaderState state = logfmt::HeaderState::absent;
  logfmt::SegmentHeader header;  // meaningful when state is valid
  std::string problem;           // empty when all is well
};

struct DumpedFrame {
  const DumpedSegment* segment = nullptr;
  std::uint64_t position = 0;  // in the file
  FrameState state = FrameState::ok;
  logfmt::FrameHeader header;  // as read; to be trusted unless damaged_header
  std::uint64_t frame_bytes = 0;
  std::string problem;  // what is wrong, in words
  // Entries from here on are void: a later frame superseded them, or a reset came. 0 when none are.
  std::uint64_t superseded_from = 0;
};

class DumpVisitor {
 public:
  virtual ~DumpVisitor() = default;
  virtual void on_segment(const DumpedSegment& segment) = 0;
  virtual void on_frame(const DumpedFrame& frame) = 0;
  // Entries of frames with a good payload; `position` is the entry's place in the payload.
  virtual void on_entry(const DumpedFrame& frame, const logfmt::EntryView& entry) = 0;
  // The payload passed its checksum, but is not a sequence of entries from `position` on.
  virtual void on_malformed_entry(const DumpedFrame& frame, std::size_t position) = 0;
};

// Segments in order of generation, unreadable ones last; frames by position. Errors: the directory or a
// file cannot be read. Damage is not an error here, it is told to the visitor.
[[nodiscard]] Status scan_directory(io::Files& files, const std::string& directory, DumpVisitor& visitor);

}  // namespace esc::wal
