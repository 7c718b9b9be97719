#include <algorithm>
#include <cerrno>

#include "compaction.h"
#include "esc/base/assert.h"
#include "segmented_log.h"

namespace esc::store {
namespace {

// Enough for one log on its own.
constexpr ResourceLimits kOwnLimits{
    .open_files_max = 64, .appends_max = 1, .opens_max = 4, .read_positions = 64};

void check_options(const std::string& directory, const Options& options) {
  ESC_ASSERT(options.segment_bytes > 0);
  ESC_ASSERT(options.segment_bytes <= kSegmentBytesMax);
  ESC_ASSERT(directory.size() <= kDirectoryBytesMax);
}

}  // namespace

Result<std::unique_ptr<PartitionLog>> PartitionLog::open(io::Files& files, io::Disk& disk,
                                                         const std::string& directory, const Options& options,
                                                         const PartitionState& state) {
  if (directory.size() > kDirectoryBytesMax) {
    return fail(Errc::invalid_argument, "the data directory's path is too long (" + directory +
                                            "); at most " + std::to_string(kDirectoryBytesMax) +
                                            " bytes are supported");
  }
  check_options(directory, options);
  auto log = std::make_unique<SegmentedLog>(&files, disk, directory, options);
  if (auto recovered = log->recover(files, state); !recovered) return std::unexpected(recovered.error());
  return log;
}

std::unique_ptr<PartitionLog> PartitionLog::create(io::Disk& disk, const std::string& directory,
                                                   const Options& options) {
  check_options(directory, options);
  return std::make_unique<SegmentedLog>(nullptr, disk, directory, options);
}

SegmentedLog::SegmentedLog(io::Files* files, io::Disk& disk, const std::string& directory,
                           const Options& options)
    : disk_(disk),
      directory_(directory),
      options_(options),
      own_resources_(options.resources == nullptr ? std::make_unique<CoreResources>(disk, files, kOwnLimits)
                                                  : nullptr),
      resources_(options.resources == nullptr ? *own_resources_
                                              : static_cast<CoreResources&>(*options.resources)) {
  set_rolling(Offset(0), {options.segment_bytes, options.segment_ms});
  resources_.resume = [](AppendOp& op) { op.state.log->append_start(); };
}

SegmentedLog::~SegmentedLog() {
  // idle(), or the disk is gone with everything that was in flight on it (a simulated crash).
  for (auto* row : {&segments_, &rolled_, &removed_, &aside_.segments}) {
    for (auto& segment : *row) resources_.files().forget(segment->file);
  }
  if (compaction_ != nullptr) compaction_->forget_files();
}

bool SegmentedLog::idle() const {
  if (append_ != nullptr || readers_ > 0 || sync_ != nullptr || removing_ != nullptr) return false;
  if (compaction_ != nullptr) return false;
  if (write_back_segment_ != nullptr || destroy_ != nullptr) return false;
  for (const auto* row : {&segments_, &rolled_, &removed_}) {
    for (const auto& segment : *row) {
      // The cache may be closing a file of ours.
      const auto state = segment->file.state;
      if (state != CachedFile::State::open && state != CachedFile::State::closed) return false;
    }
  }
  return true;
}

WallMs SegmentedLog::max_timestamp() const {
  WallMs newest = -1;
  for (const auto& segment : segments_) newest = std::max(newest, segment->max_timestamp);
  return newest;
}

void SegmentedLog::snapshot(PartitionState& into) const {
  into.log_start_offset = log_start_;
  into.next_offset = next_;
  into.compacted_until = compacted_until_;
  into.tombstones_until = tombstones_until_;
  into.segments.clear();
  into.segments.reserve(segments_.size());
  for (const auto& segment : segments_) {
    into.segments.push_back({segment->base, segment->bytes, segment->generation(), segment->first_timestamp});
  }
}

void SegmentedLog::leave(Segment& segment) {
  ESC_ASSERT(segment.users > 0);
  --segment.users;
  if (segment.users == 0 && segment.released) remove_next();
}

void SegmentedLog::describe(const Segment& segment, std::uint64_t position, const std::string& what) {
  last_error_ = segment.path(".log") + " at byte " + std::to_string(position) + ": " + what;
}

Errc SegmentedLog::open_error(const Segment& segment, Errc error, int os_error, bool for_append) {
  if (os_error == EMFILE || os_error == ENFILE) {
    describe(segment, 0, "too many open files; raise the limit (LimitNOFILE, ulimit -n)");
    return for_append ? Errc::no_space : Errc::busy;
  }
  describe(segment, 0, "cannot be opened: " + std::string(to_string(error)));
  if (error == Errc::not_found) return Errc::corruption;  // the state names it, so it must exist
  return error == Errc::no_space ? Errc::no_space : Errc::io_error;
}

}  // namespace esc::store
