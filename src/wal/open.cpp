// Opening a log: a new directory gets its first segments, an existing one is recovered.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "direct_io.h"
#include "directory.h"
#include "esc/base/prng.h"
#include "log_file.h"

namespace esc::wal {
namespace {

constexpr std::uint32_t kFirstSegments = 2;

Status check_options(const Options& options) {
  const auto refuse = [](std::string message) { return fail(Errc::invalid_argument, std::move(message)); };
  if (options.directory.empty()) return refuse("the directory of the write-ahead log is empty");
  if (options.depth < 1 || options.depth > kDepthMax)
    return refuse(fmt::format("write-ahead log: depth {} is not in 1..{}", options.depth, kDepthMax));
  for (const std::uint64_t bytes : {options.segment_bytes, options.initial_segment_bytes})
    if (bytes < kSegmentBytesMin || !is_aligned(bytes, kBlockBytes) || bytes > 1 * kGiB)
      return refuse(
          fmt::format("write-ahead log: segments of {} bytes; accepted are multiples of {} from {} to {}",
                      bytes, kBlockBytes, kSegmentBytesMin, 1 * kGiB));
  if (options.bytes_max < 2 * options.segment_bytes)
    return refuse(fmt::format("write-ahead log: bytes_max {} is less than two segments of {} bytes",
                              options.bytes_max, options.segment_bytes));
  if (options.spares_min < 1 || options.spares_min > 16)
    return refuse(fmt::format("write-ahead log: spares_min {} is not in 1..16", options.spares_min));
  return {};
}

class Opener {
 public:
  Opener(io::Files& files, io::Disk& disk, io::Clock& clock, const Options& options, RecoveryReport& report)
      : files_(files), disk_(disk), clock_(clock), options_(options), report_(report) {}

  Result<std::unique_ptr<Log>> run(Index after, const std::function<Status(const RecoveredFrame&)>& on_frame);

 private:
  Status create();
  Status recover(const DirectoryListing& listing, Index after,
                 const std::function<Status(const RecoveredFrame&)>& on_frame);
  Status see_frame(const logfmt::FrameHeader& header, ByteView payload,
                   const std::function<Status(const RecoveredFrame&)>& on_frame);
  Status check_commit(const logfmt::FrameHeader& header) const;
  void note_entries(const logfmt::FrameHeader& header);
  void note_reset(const logfmt::FrameHeader& header);
  Status report_end(const logfmt::RecoveredLog& log);
  [[nodiscard]] std::string explain_gap(const logfmt::RecoveredLog& log) const;
  Status take_over(const logfmt::RecoveredLog& log);
  Status open_for_writing(Segment& segment);
  [[nodiscard]] std::string path_of(std::uint64_t number) const {
    return options_.directory + "/" + segment_name(number);
  }

  io::Files& files_;
  io::Disk& disk_;
  io::Clock& clock_;
  const Options& options_;
  RecoveryReport& report_;
  LogFile::Start start_{.live_bytes =
                            LiveBytes(std::max<std::uint64_t>(options_.bytes_max / 256, 64 * kKiB))};
  std::vector<std::uint64_t> numbers_;  // of the files given to recovery, in its order
  std::vector<std::uint64_t> sizes_;
  Index end_;     // last index of the log as of the last frame seen; 0 when it holds nothing
  Index commit_;  // highest commit index seen
  Index after_;   // what the checkpoint covers
  Term reset_term_;
  Index known_;       // the log without gap goes to here, what the checkpoint covers included
  Index frames_end_;  // last index in start_.frames
  // Frames behind missing entries: damage, unless a later frame supersedes them. Then the missing entries
  // were superseded too, and their segment was recycled.
  struct Gap {
    logfmt::FrameHeader frame;
    Index missing;
  };
  std::optional<Gap> gap_;
};

// The log's own id makes its frames recognisable among the remains of other logs, and unguessable for
// whoever writes records that look like frames.
std::uint64_t draw_log_id(const io::Clock& clock, const Options& options) {
  const auto wall = static_cast<std::uint64_t>(clock.wall_ms());
  const auto now = static_cast<std::uint64_t>(clock.now());
  Prng prng(wall * 0x9E3779B97F4A7C15ULL ^ now ^ options.cluster_id);
  return prng.fork(std::uint64_t{options.node.value()} << 32 | options.group.value()).next() | 1;
}

Status Opener::create() {
  start_.pool.identity.log_id = draw_log_id(clock_, options_);
  start_.pool.epoch = 1;
  report_.created = true;
  for (std::uint64_t i = 1; i <= kFirstSegments; ++i) {
    Segment segment{.number = i,
                    .generation = i,
                    .bytes = std::min(options_.initial_segment_bytes, options_.segment_bytes)};
    logfmt::SegmentHeader header;
    header.cluster_id = options_.cluster_id;
    header.log_id = start_.pool.identity.log_id;
    header.node = options_.node.value();
    header.group = options_.group.value();
    header.generation = segment.generation;
    header.number = segment.number;
    header.segment_bytes = segment.bytes;
    header.epoch = start_.pool.epoch;
    Status created = create_segment(files_, options_.directory, header);
    // One segment is enough to start with; the second follows when there is space.
    if (!created && created.error().code == Errc::no_space && i > 1) break;
    if (!created) return created;
    (i == 1 ? start_.live : start_.spares).push_back(segment);
    start_.pool.next_number = i + 1;
    start_.pool.next_generation = i + 1;
  }
  return {};
}

// A frame may void entries, but not committed ones.
Status Opener::check_commit(const logfmt::FrameHeader& header) const {
  if (header.kind == logfmt::FrameKind::reset) {
    if (header.last_index >= commit_.value()) return {};
    return fail(Errc::corruption,
                fmt::format("frame LSN {} resets the log to index {}, but entries up to {} were committed",
                            header.lsn, header.last_index, commit_.value()));
  }
  const Index first{header.first_index};
  if (first <= commit_)
    return fail(Errc::corruption,
                fmt::format("frame LSN {} supersedes entries from {} on, but those up to {} were committed",
                            header.lsn, first.value(), commit_.value()));
  return {};
}

void Opener::note_entries(const logfmt::FrameHeader& header) {
  const Index first{header.first_index};
  std::vector<FrameRecord>& frames = start_.frames;
  // Before a gap that the checkpoint covers nothing can be read any more.
  if (first > frames_end_.next()) frames.clear();
  frames_end_ = Index{header.last_index};
  while (!frames.empty() && frames.back().first_index >= first) frames.pop_back();
  frames.push_back({.first_index = first,
                    .lsn = Lsn{header.lsn},
                    .term = Term{header.term},
                    .generation = header.generation,
                    .block = header.block,
                    .payload_bytes = header.payload_bytes});
}

void Opener::note_reset(const logfmt::FrameHeader& header) {
  start_.frames.clear();
  start_.live_bytes.clear();
  frames_end_ = Index{header.last_index};
  report_.reset_index = Index{header.last_index};
  reset_term_ = Term{header.term};
}

Status Opener::see_frame(const logfmt::FrameHeader& header, ByteView payload,
                         const std::function<Status(const RecoveredFrame&)>& on_frame) {
  report_.frames += 1;
  const bool entries = header.kind == logfmt::FrameKind::entries;
  const bool reset = header.kind == logfmt::FrameKind::reset;
  if (!entries && !reset) {
    commit_ = std::max(commit_, Index{header.commit_index});
    return {};
  }
  if (Status s = check_commit(header); !s) return s;
  const Index first{header.first_index};
  const bool supersedes = reset || first <= end_;
  if (entries && supersedes) start_.live_bytes.truncate(first);
  if (entries) start_.live_bytes.add(Index{header.last_index}, logfmt::frame_bytes(header.payload_bytes));
  end_ = Index{header.last_index};
  report_.last_term = Term{header.term};
  commit_ = std::max(commit_, Index{header.commit_index});
  const bool behind_gap = entries && first > known_.next();
  if (behind_gap && !gap_) gap_ = Gap{header, known_.next()};
  if (behind_gap) return {};
  gap_.reset();
  known_ = std::max(end_, after_);
  if (entries) note_entries(header);
  if (reset) note_reset(header);
  if (end_ <= after_ && !supersedes) return {};
  return on_frame({.kind = reset ? RecoveredFrame::Kind::reset : RecoveredFrame::Kind::entries,
                   .lsn = Lsn{header.lsn},
                   .term = Term{header.term},
                   .first_index = Index{header.first_index},
                   .last_index = end_,
                   .commit = std::min(commit_, end_),
                   .payload = payload});
}

std::string Opener::explain_gap(const logfmt::RecoveredLog& log) const {
  const logfmt::FrameHeader& frame = gap_->frame;
  std::string message;
  for (const logfmt::RecoveredSegment& segment : log.segments)
    if (segment.role == logfmt::SegmentRole::live && segment.generation == frame.generation)
      message = fmt::format("{} at byte {}: ", path_of(numbers_[segment.file]),
                            std::uint64_t{frame.block} * kBlockBytes);
  message += fmt::format(
      "frame LSN {} starts with entry {}, but the entries {} to {} are neither in the log nor in the "
      "checkpoint: a segment is missing or damaged",
      frame.lsn, frame.first_index, gap_->missing.value(), frame.first_index - 1);
  for (const logfmt::RecoveredSegment& segment : log.segments)
    if (segment.role == logfmt::SegmentRole::unknown)
      message +=
          fmt::format("; {} at byte 0: the segment header is unreadable", path_of(numbers_[segment.file]));
  return message;
}

// After the last frame: what the log is now.
Status Opener::report_end(const logfmt::RecoveredLog& log) {
  if (gap_) return fail(Errc::corruption, explain_gap(log));
  // Entries leave the log only when a checkpoint covers them, so that committed ones are in one or the other.
  if (commit_ > std::max(end_, after_))
    return fail(Errc::corruption,
                fmt::format("{}: entries up to {} were committed, but the log ends at {} and the checkpoint "
                            "covers {}: one of the two is older than the other",
                            options_.directory, commit_.value(), end_.value(), after_.value()));
  std::vector<FrameRecord>& frames = start_.frames;
  report_.last_index = end_;
  report_.first_index = frames.empty() ? end_.next() : frames.front().first_index;
  report_.commit = commit_;
  if (report_.reset_index == after_ && after_.value() > 0) report_.after_term = reset_term_;
  for (const FrameRecord& frame : frames)
    if (frame.first_index <= after_ && after_ <= end_) report_.after_term = frame.term;
  // Behind the checkpoint the log goes on after a gap.
  if (end_ < after_) frames.clear();
  start_.last_index = std::max(end_, after_);
  start_.commit = commit_;
  return {};
}

Status Opener::recover(const DirectoryListing& listing, Index after,
                       const std::function<Status(const RecoveredFrame&)>& on_frame) {
  std::vector<std::unique_ptr<FileSource>> sources;
  std::vector<logfmt::SegmentFile> inputs;
  for (const SegmentPath& segment : listing.segments) {
    auto source = FileSource::open(files_, segment.path);
    if (!source) return std::unexpected(source.error());
    inputs.push_back({segment.path, segment.bytes, source->get()});
    sources.push_back(std::move(*source));
    numbers_.push_back(segment.number);
    sizes_.push_back(segment.bytes);
  }
  after_ = after;
  known_ = after;
  std::optional<logfmt::Damage> damage;
  auto log = logfmt::recover(
      inputs, start_.pool.identity,
      [&](const logfmt::FrameHeader& header, ByteView payload) {
        return see_frame(header, payload, on_frame);
      },
      &damage, options_.plant == Plant::damage_taken_for_tail);
  if (damage)
    report_.damage = Damage{.segment = inputs[damage->file].name,
                            .position = damage->position,
                            .index_before = known_,
                            .index_next = damage->index_next,
                            .lsn_first_missing = damage->first_missing,
                            .lsn_next_good = damage->next_good};
  if (!log) return std::unexpected(log.error());
  report_.last_lsn = Lsn{log->last.lsn};
  report_.hard_state = {Term{log->last.vote_term}, NodeId{log->last.voted_for}};
  report_.bytes_scanned = log->bytes_scanned;
  report_.torn_tail = log->torn_tail;
  report_.torn_detail = log->torn_detail;
  if (Status s = report_end(*log); !s) return s;
  return take_over(*log);
}

Status Opener::take_over(const logfmt::RecoveredLog& log) {
  start_.pool.identity.log_id = log.log_id;
  start_.pool.epoch = log.epoch_max + 1;
  start_.pool.next_generation = log.generation_max + 1;
  start_.pool.next_number = *std::max_element(numbers_.begin(), numbers_.end()) + 1;
  start_.last = log.last;
  for (const logfmt::RecoveredSegment& found : log.segments) {
    Segment segment{.number = numbers_[found.file],
                    .generation = found.generation,
                    .bytes = sizes_[found.file],
                    .used_bytes = found.used_bytes,
                    .last_lsn = found.last_lsn,
                    .last_index_max = found.last_index_max};
    switch (found.role) {
      case logfmt::SegmentRole::live: start_.live.push_back(segment); break;
      case logfmt::SegmentRole::spare: start_.spares.push_back(segment); break;
      case logfmt::SegmentRole::unknown: start_.released.push_back(segment); break;
    }
  }
  return {};
}

// The sync matters: after a crash of the process alone, what recovery read (frames, headers, names) may
// still be in volatile caches, and from now on it is treated as durable.
Status Opener::open_for_writing(Segment& segment) {
  const std::string path = path_of(segment.number);
  if (start_.pool.direct) {
    if (Status s = check_direct_alignment(path); !s) return s;
    auto file = files_.open(path, {.write = true, .direct_dsync = true});
    if (file) {
      segment.file = *file;
      return files_.sync(segment.file);
    }
    start_.pool.direct = false;
    report_.warning =
        fmt::format("{}; writing through the page cache with a sync after each write, which is slower",
                    file.error().message);
  }
  auto file = files_.open(path, {.write = true});
  if (!file) return std::unexpected(file.error());
  segment.file = *file;
  return files_.sync(segment.file);
}

Result<std::unique_ptr<Log>> Opener::run(Index after,
                                         const std::function<Status(const RecoveredFrame&)>& on_frame) {
  report_ = {};
  if (Status s = check_options(options_); !s) return std::unexpected(s.error());
  if (Status s = files_.make_directories(options_.directory); !s) return std::unexpected(s.error());
  auto listing = list_segments(files_, options_.directory);
  if (!listing) return std::unexpected(listing.error());
  // Temporary files were never part of the log.
  for (const std::string& path : listing->temporaries)
    if (Status s = files_.remove(path); !s) return std::unexpected(s.error());
  start_.pool.identity = {options_.cluster_id, 0, options_.node, options_.group};
  Status ready = listing->segments.empty() ? create() : recover(*listing, after, on_frame);
  if (!ready) return std::unexpected(ready.error());
  if (listing->segments.empty()) {
    report_.first_index = Index{1};
    start_.last_index = after;
  }
  std::uint64_t bytes = 0;
  std::uint64_t smallest = std::min(options_.segment_bytes, options_.initial_segment_bytes);
  for (auto* list : {&start_.live, &start_.spares, &start_.released}) {
    for (Segment& segment : *list) {
      if (Status s = open_for_writing(segment); !s) return std::unexpected(s.error());
      smallest = std::min(smallest, segment.bytes);
      bytes += segment.bytes;
    }
  }
  if (Status s = files_.sync_directory(options_.directory); !s) return std::unexpected(s.error());
  const std::size_t existing = start_.live.size() + start_.spares.size() + start_.released.size();
  start_.pool.segments_max = existing + options_.bytes_max / smallest + 1;
  start_.frames_max = std::max(bytes, options_.bytes_max) / kBlockBytes;
  return std::make_unique<LogFile>(disk_, files_, clock_, options_, std::move(start_));
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(io::Files& files, io::Disk& disk, io::Clock& clock,
                                       const Options& options, Index after,
                                       const std::function<Status(const RecoveredFrame&)>& on_frame,
                                       RecoveryReport& report) {
  return Opener(files, disk, clock, options, report).run(after, on_frame);
}

}  // namespace esc::wal
