// Reading segment files back: a tolerant walk over one segment, and the recovery of a whole log.
//
// Recovery accepts the longest chain of frames (LSN + 1, checksum of the previous frame, epoch not
// older) and then explains its end. An unacknowledged tail is dropped; a hole below a watermark that
// says "durable" is corruption. It never writes. docs/formats/wal.md has the argument.
//
// Pure: bytes come through SegmentSource. Cold path: allocates and returns Result.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/logfmt/frame.h"

namespace esc::logfmt {

class SegmentSource {
 public:
  virtual ~SegmentSource() = default;
  // Bytes read; fewer than asked only at the end of the segment.
  [[nodiscard]] virtual Result<std::uint64_t> read(std::uint64_t offset, ByteSpan into) = 0;
};

// Something with a frame's magic, found at a block boundary.
struct FoundFrame {
  std::uint64_t position = 0;
  HeaderState state = HeaderState::absent;  // never absent
  FrameHeader header{};                     // meaningful when state is valid
  bool payload_ok = false;
  ByteView payload{};  // until the next call; empty unless payload_ok
};

// Reads a segment in chunks and hands out contiguous views of it.
class SegmentReader {
 public:
  SegmentReader(SegmentSource& source, std::uint64_t bytes) : source_(&source), bytes_(bytes) {}
  // [position, position + length), or fewer bytes at the end of the segment. Valid until the next call.
  [[nodiscard]] Result<ByteView> view(std::uint64_t position, std::uint64_t length);
  // What is at `position`; nothing when there is no magic or not enough bytes for a header.
  [[nodiscard]] Result<std::optional<FoundFrame>> frame_at(std::uint64_t position);
  // The next thing with a magic at or after the walk's position. A good frame is stepped over as a
  // whole, anything else block by block: what a lost or torn write hides is still found.
  [[nodiscard]] Result<std::optional<FoundFrame>> next();
  void seek(std::uint64_t position) { position_ = position; }
  [[nodiscard]] std::uint64_t bytes() const { return bytes_; }

 private:
  SegmentSource* source_;
  std::uint64_t bytes_;
  std::uint64_t position_ = kSegmentHeaderBytes;
  std::vector<std::byte> buffer_;
  std::uint64_t buffer_start_ = 0;
  std::uint64_t buffer_used_ = 0;
};

// One file given to recovery.
struct SegmentFile {
  std::string name;  // for messages
  std::uint64_t bytes = 0;
  SegmentSource* source = nullptr;
};

enum class SegmentRole : std::uint8_t {
  live,     // holds frames of the log
  spare,    // valid header, no frame yet: next in order of generation
  unknown,  // unreadable header, but nothing in it that the log needs: may be given a new header
};

struct RecoveredSegment {
  std::size_t file = 0;  // position in the input
  SegmentRole role = SegmentRole::unknown;
  std::uint64_t generation = 0;
  std::uint64_t number = 0;
  std::uint64_t used_bytes = kSegmentHeaderBytes;  // end of its last accepted frame
  Lsn last_lsn{};
  Index last_index_max{};  // highest index of any entry in it that no later frame supersedes
};

struct RecoveredLog {
  std::vector<RecoveredSegment> segments;  // live ones, then spares, by generation; then unknown ones
  std::size_t live = 0;                    // how many of them are live
  FrameHeader last;                        // last accepted frame; lsn 0 when there is none
  std::uint64_t log_id = 0;
  std::uint32_t epoch_max = 0;  // of anything seen, stale frames included
  std::uint64_t generation_max = 0;
  std::uint64_t frames = 0;
  std::uint64_t bytes_scanned = 0;
  bool torn_tail = false;
  std::string torn_detail;
};

// A hole in the log below a watermark: what is missing, and where whole frames begin again.
struct Damage {
  std::size_t file = 0;        // position in the input of the place where the next frame should be
  std::uint64_t position = 0;  // in that file
  Lsn first_missing;
  Lsn next_good;     // of the first whole frame behind the hole
  Index index_next;  // first index of the first whole frame with entries behind the hole; 0 when none was met
};

// Sees each accepted frame in LSN order; `payload` is valid during the call. An error stops recovery.
using FrameVisitor = std::function<Status(const FrameHeader& header, ByteView payload)>;

// `files` is every segment file of the directory, at least one. `identity.log_id` is ignored: it is
// read from the files. Errors: corruption with file and position; whatever the source returned. `damage`,
// when given, is set if the corruption is a hole.
[[nodiscard]] Result<RecoveredLog> recover(std::span<const SegmentFile> files, const LogIdentity& identity,
                                           const FrameVisitor& visitor,
                                           std::optional<Damage>* damage = nullptr,
                                           bool plant_damage_is_tail = false);

}  // namespace esc::logfmt
