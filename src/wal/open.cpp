// Opening a log: a new directory gets its first segments, an existing one is recovered.
#include <fmt/format.h>

#include <algorithm>

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
  Status see_frame(const logfmt::FrameHeader& header, ByteView payload, Index after,
                   const std::function<Status(const RecoveredFrame&)>& on_frame);
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
  Index covered_;  // entries up to here are known, for the check of gaps
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

Status Opener::see_frame(const logfmt::FrameHeader& header, ByteView payload, Index after,
                         const std::function<Status(const RecoveredFrame&)>& on_frame) {
  report_.frames += 1;
  if (header.kind != logfmt::FrameKind::entries) return {};
  const Index first{header.first_index};
  const Index last{header.last_index};
  if (report_.first_index.value() == 0 || first < report_.first_index) report_.first_index = first;
  report_.last_index = last;
  report_.last_term = Term{header.term};
  start_.live_bytes.add(last, logfmt::frame_bytes(header.payload_bytes));
  if (last <= after) return {};
  if (first > covered_.next())
    return fail(
        Errc::corruption,
        fmt::format(
            "frame LSN {} starts with entry {}, but the entries {} to {} are neither in the log nor in "
            "the checkpoint: a segment is missing or damaged",
            header.lsn, first.value(), covered_.value() + 1, first.value() - 1));
  covered_ = last;
  return on_frame({Lsn{header.lsn}, Term{header.term}, first, last, payload});
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
  covered_ = after;
  auto log =
      logfmt::recover(inputs, start_.pool.identity, [&](const logfmt::FrameHeader& header, ByteView payload) {
        return see_frame(header, payload, after, on_frame);
      });
  if (!log) return std::unexpected(log.error());
  report_.last_lsn = Lsn{log->last.lsn};
  report_.hard_state = {Term{log->last.vote_term}, NodeId{log->last.voted_for}};
  report_.bytes_scanned = log->bytes_scanned;
  report_.torn_tail = log->torn_tail;
  report_.torn_detail = log->torn_detail;
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
  if (report_.first_index.value() == 0) report_.first_index = report_.last_index.next();
  std::uint64_t smallest = std::min(options_.segment_bytes, options_.initial_segment_bytes);
  for (auto* list : {&start_.live, &start_.spares, &start_.released}) {
    for (Segment& segment : *list) {
      if (Status s = open_for_writing(segment); !s) return std::unexpected(s.error());
      smallest = std::min(smallest, segment.bytes);
    }
  }
  if (Status s = files_.sync_directory(options_.directory); !s) return std::unexpected(s.error());
  const std::size_t existing = start_.live.size() + start_.spares.size() + start_.released.size();
  start_.pool.segments_max = existing + options_.bytes_max / smallest + 1;
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
