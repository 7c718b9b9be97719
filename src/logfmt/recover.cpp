// Recovery of a log from its segment files. The rules are in docs/formats/wal.md, "Recovery".
#include <fmt/format.h>

#include <algorithm>

#include "esc/base/assert.h"
#include "esc/logfmt/scan.h"

namespace esc::logfmt {
namespace {

class Recoverer {
 public:
  Recoverer(std::span<const SegmentFile> files, const LogIdentity& identity, const FrameVisitor& visitor,
            bool plant_damage_is_tail)
      : files_(files), identity_(identity), visitor_(visitor), plant_damage_is_tail_(plant_damage_is_tail) {}

  Result<RecoveredLog> run() {
    if (Status s = read_headers(); !s) return std::unexpected(s.error());
    if (Status s = follow_chain(); !s) return std::unexpected(s.error());
    if (Status s = look_beyond_the_end(); !s) return std::unexpected(s.error());
    if (Status s = place_unreadable(); !s) return std::unexpected(s.error());
    order_segments();
    return std::move(log_);
  }
  // Where the hole is, if run() failed because of one.
  [[nodiscard]] std::optional<Damage> damage() const { return hole_proven_ ? hole_ : std::nullopt; }

 private:
  struct Candidate {
    std::size_t file;
    SegmentHeader header;
    RecoveredSegment result;
  };

  [[nodiscard]] const std::string& name(const Candidate& c) const { return files_[c.file].name; }
  SegmentReader reader(std::size_t file) const { return {*files_[file].source, files_[file].bytes}; }

  Status read_headers();
  Status check_segment(const SegmentFile& file, const SegmentHeader& header);
  Status follow_chain();
  Result<bool> accept(Candidate& segment, SegmentReader& from, std::uint64_t position);
  void note_indexes(Candidate& segment, const FrameHeader& h);
  [[nodiscard]] bool continues_log(const Candidate& segment, const FoundFrame& found) const;
  Result<bool> continue_in_next_segment();
  Status look_beyond_the_end();
  Status weigh_leftover(const Candidate& segment, const FoundFrame& found);
  void note_hole(const FoundFrame& found);
  Status describe_end(Candidate& segment);
  Status place_unreadable();
  void order_segments();
  void note_torn(std::string detail);
  [[nodiscard]] std::string explain(const Error& error, const Candidate& segment,
                                    std::uint64_t position) const;
  [[nodiscard]] std::string describe_lost_start() const;
  [[nodiscard]] std::string unreadable_headers() const;
  [[nodiscard]] std::string place_of_end() const;

  std::span<const SegmentFile> files_;
  LogIdentity identity_;
  const FrameVisitor& visitor_;
  const bool plant_damage_is_tail_;
  RecoveredLog log_;
  Index log_end_;                        // last index of the log as of the last accepted frame
  std::vector<Candidate> candidates_;    // valid headers, by generation
  std::vector<std::size_t> unreadable_;  // files without a valid header
  std::size_t end_segment_ = 0;          // candidate that holds the end of the log
  std::uint64_t end_position_ = 0;       // where the next frame would be
  std::string end_detail_;               // what is there instead
  std::optional<Damage> hole_;           // from the end to the first whole frame behind it
  bool hole_proven_ = false;             // by a watermark; otherwise it is a torn tail
};

Status Recoverer::check_segment(const SegmentFile& file, const SegmentHeader& header) {
  const LogIdentity found = header.identity();
  if (found.cluster_id != identity_.cluster_id || found.node != identity_.node ||
      found.group != identity_.group)
    return fail(Errc::invalid_argument,
                fmt::format("{} at byte 0: segment of cluster {:016x} node {} group {}, but this is cluster "
                            "{:016x} node {} group {}; the file was copied or written to the wrong place",
                            file.name, found.cluster_id, found.node.value(), found.group.value(),
                            identity_.cluster_id, identity_.node.value(), identity_.group.value()));
  if (log_.log_id == 0) log_.log_id = found.log_id;
  if (log_.log_id != found.log_id)
    return fail(Errc::invalid_argument,
                fmt::format("{} at byte 0: log id {:016x}, other segments have {:016x}; files of "
                            "two logs are mixed in one directory",
                            file.name, found.log_id, log_.log_id));
  if (file.bytes != header.segment_bytes)
    return fail(Errc::corruption,
                fmt::format("{} at byte {}: the file has {} bytes but was created with {}", file.name,
                            std::min(file.bytes, header.segment_bytes), file.bytes, header.segment_bytes));
  return {};
}

Status Recoverer::read_headers() {
  for (std::size_t i = 0; i < files_.size(); ++i) {
    SegmentReader from = reader(i);
    auto block = from.view(0, kSegmentHeaderBytes);
    if (!block) return std::unexpected(block.error());
    SegmentHeader header;
    const HeaderState state =
        block->size() < sizeof header ? HeaderState::damaged : read_segment_header(*block, header);
    if (state == HeaderState::unsupported)
      return fail(Errc::unsupported,
                  fmt::format("{} at byte 0: format version {}, this program reads {} to {}", files_[i].name,
                              header.version, kFormatVersionMin, kFormatVersion));
    // Files get their size before their name, so that a short one has been cut.
    if (files_[i].bytes < 2 * kSegmentHeaderBytes)
      return fail(Errc::corruption, fmt::format("{} at byte {}: the file has been cut to {} bytes",
                                                files_[i].name, files_[i].bytes, files_[i].bytes));
    if (state != HeaderState::valid) {
      unreadable_.push_back(i);
      continue;
    }
    if (Status s = check_segment(files_[i], header); !s) return s;
    log_.epoch_max = std::max(log_.epoch_max, header.epoch);
    log_.generation_max = std::max(log_.generation_max, header.generation);
    candidates_.push_back({i, header, {.file = i, .generation = header.generation, .number = header.number}});
  }
  if (candidates_.empty())
    return fail(Errc::corruption,
                fmt::format("{} at byte 0: no segment has a readable header", files_[0].name));
  std::sort(candidates_.begin(), candidates_.end(),
            [](const Candidate& a, const Candidate& b) { return a.header.generation < b.header.generation; });
  for (std::size_t i = 1; i < candidates_.size(); ++i) {
    if (candidates_[i].header.generation != candidates_[i - 1].header.generation) continue;
    return fail(Errc::invalid_argument,
                fmt::format("{} at byte 0: same generation {} as {}; one is a copy", name(candidates_[i]),
                            candidates_[i].header.generation, name(candidates_[i - 1])));
  }
  identity_.log_id = log_.log_id;
  return {};
}

bool Recoverer::continues_log(const Candidate& segment, const FoundFrame& found) const {
  if (found.state != HeaderState::valid || !found.payload_ok) return false;
  const FrameHeader& h = found.header;
  if (h.identity() != identity_ || h.generation != segment.header.generation) return false;
  if (std::uint64_t{h.block} * kBlockBytes != found.position) return false;
  // The oldest segment may start anywhere in the log: what was before it has been released.
  if (log_.last.lsn == 0) return h.generation > 1 || (h.lsn == 1 && h.previous_crc == 0);
  return h.lsn == log_.last.lsn + 1 && h.previous_crc == log_.last.header_crc && h.epoch >= log_.last.epoch;
}

Result<bool> Recoverer::accept(Candidate& segment, SegmentReader& from, std::uint64_t position) {
  auto found = from.frame_at(position);
  if (!found) return std::unexpected(found.error());
  if (!found->has_value() || !continues_log(segment, **found)) return false;
  const FrameHeader& h = (*found)->header;
  const std::uint32_t bytes = frame_bytes(h.payload_bytes);
  log_.last = h;
  log_.epoch_max = std::max(log_.epoch_max, h.epoch);
  log_.frames += 1;
  log_.bytes_scanned += bytes;
  RecoveredSegment& result = segment.result;
  result.role = SegmentRole::live;
  result.used_bytes = position + bytes;
  result.last_lsn = Lsn{h.lsn};
  note_indexes(segment, h);
  if (Status s = visitor_(h, (*found)->payload); !s)
    return fail(s.error().code, explain(s.error(), segment, position));
  return true;
}

// A frame that starts at or below the end of the log supersedes what was there; a reset, everything.
void Recoverer::note_indexes(Candidate& segment, const FrameHeader& h) {
  if (h.kind != FrameKind::entries && h.kind != FrameKind::reset) return;
  const bool reset = h.kind == FrameKind::reset;
  if (reset || h.first_index <= log_end_.value()) {
    const Index keep = reset ? Index{0} : Index{h.first_index}.prev();
    for (Candidate& earlier : candidates_)
      earlier.result.last_index_max = std::min(earlier.result.last_index_max, keep);
  }
  log_end_ = Index{h.last_index};
  if (!reset) segment.result.last_index_max = log_end_;
}

// The visitor knows entries, not files: its objection gets the place, and the likely cause.
std::string Recoverer::explain(const Error& error, const Candidate& segment, std::uint64_t position) const {
  return fmt::format("{} at byte {}: {}{}", name(segment), position, error.message, unreadable_headers());
}

// A segment that has lost its header may be the one that is missed.
std::string Recoverer::unreadable_headers() const {
  std::string places;
  for (const std::size_t file : unreadable_)
    places += fmt::format("; {} at byte 0: the segment header is unreadable", files_[file].name);
  return places;
}

std::string Recoverer::describe_lost_start() const {
  const Candidate& oldest = candidates_.front();
  return fmt::format("{} at byte {}: the first frame of the oldest segment (generation {}) is unreadable{}",
                     name(oldest), kSegmentHeaderBytes, oldest.header.generation, unreadable_headers());
}

// The next frame did not fit into the segment that ended: it is the first of the next one.
Result<bool> Recoverer::continue_in_next_segment() {
  if (end_segment_ + 1 == candidates_.size()) return false;
  Candidate& next = candidates_[end_segment_ + 1];
  SegmentReader from = reader(next.file);
  auto accepted = accept(next, from, kSegmentHeaderBytes);
  if (accepted && *accepted) ++end_segment_;
  return accepted;
}

Status Recoverer::follow_chain() {
  end_segment_ = 0;
  bool more = true;
  while (more) {
    Candidate& segment = candidates_[end_segment_];
    SegmentReader from = reader(segment.file);
    end_position_ = segment.result.used_bytes;
    for (;;) {
      auto accepted = accept(segment, from, end_position_);
      if (!accepted) return std::unexpected(accepted.error());
      if (!*accepted) break;
      end_position_ = segment.result.used_bytes;
    }
    if (log_.last.lsn == 0) break;
    auto continued = continue_in_next_segment();
    if (!continued) return std::unexpected(continued.error());
    more = *continued;
  }
  // A log whose oldest generation is not 1 has been recycled, and recycling keeps the segment of the
  // newest frame: to find no frame at all means that the newest one was lost.
  if (log_.last.lsn == 0 && candidates_.front().header.generation > 1)
    return fail(Errc::corruption, describe_lost_start());
  return {};
}

std::string Recoverer::place_of_end() const {
  return fmt::format("{} at byte {}", name(candidates_[end_segment_]), end_position_);
}

void Recoverer::note_torn(std::string detail) {
  if (log_.torn_tail) return;
  log_.torn_tail = true;
  log_.torn_detail = std::move(detail);
}

// What is at the place of the next frame: for messages, and as a sign of an unfinished write.
Status Recoverer::describe_end(Candidate& segment) {
  SegmentReader from = reader(segment.file);
  auto found = from.frame_at(end_position_);
  if (!found) return std::unexpected(found.error());
  end_detail_ = "no frame header";
  if (!found->has_value()) return {};
  const FoundFrame& f = **found;
  const FrameHeader& h = f.header;
  if (f.state == HeaderState::unsupported)
    return fail(Errc::unsupported, fmt::format("{}: frame of format version {}, this program reads {} to {}",
                                               place_of_end(), h.version, kFormatVersionMin, kFormatVersion));
  if (f.state != HeaderState::valid) {
    end_detail_ = "the header checksum is wrong";
    note_torn(fmt::format("{}: {}", place_of_end(), end_detail_));
  } else if (h.identity() != identity_) {
    end_detail_ = fmt::format("a frame of cluster {:016x} node {} group {} was written here", h.cluster_id,
                              h.node, h.group);
    note_torn(fmt::format("{}: {}", place_of_end(), end_detail_));
  } else if (h.generation != segment.header.generation || h.epoch < log_.last.epoch ||
             h.lsn <= log_.last.lsn) {
    end_detail_ = fmt::format("a stale frame (generation {}, LSN {})", h.generation, h.lsn);
  } else if (!f.payload_ok) {
    end_detail_ = fmt::format("the payload checksum of LSN {} is wrong", h.lsn);
    note_torn(fmt::format("{}: {}", place_of_end(), end_detail_));
  } else {
    end_detail_ = fmt::format("LSN {} does not continue LSN {}", h.lsn, log_.last.lsn);
  }
  return {};
}

// A frame beyond the end of the chain. Frames of other generations, and of an epoch before the last
// accepted frame's, are remains of released segments and of tails dropped by an earlier recovery.
Status Recoverer::weigh_leftover(const Candidate& segment, const FoundFrame& found) {
  if (found.state != HeaderState::valid) return {};
  const FrameHeader& h = found.header;
  if (h.identity() != identity_) return {};
  log_.epoch_max = std::max(log_.epoch_max, h.epoch);
  if (h.generation != segment.header.generation || h.lsn <= log_.last.lsn) return {};
  if (h.epoch < log_.last.epoch) return {};
  note_hole(found);
  hole_proven_ = h.durable_lsn > log_.last.lsn && !plant_damage_is_tail_;
  if (hole_proven_)
    return fail(
        Errc::corruption,
        fmt::format(
            "{}: frame LSN {} is missing or damaged ({}), although frame LSN {} in {} at byte {} says "
            "that everything through LSN {} was durable; nothing has been changed",
            place_of_end(), log_.last.lsn + 1, end_detail_, h.lsn, name(segment), found.position,
            h.durable_lsn));
  note_torn(fmt::format("{}: {}; LSN {} in {} at byte {} was in flight behind it", place_of_end(),
                        end_detail_, h.lsn, name(segment), found.position));
  return {};
}

void Recoverer::note_hole(const FoundFrame& found) {
  if (!found.payload_ok) return;
  const FrameHeader& h = found.header;
  if (!hole_)
    hole_ = Damage{.file = candidates_[end_segment_].file,
                   .position = end_position_,
                   .first_missing = Lsn{log_.last.lsn + 1},
                   .next_good = Lsn{h.lsn},
                   .index_next = {}};
  if (hole_->index_next == Index{0} && h.kind == FrameKind::entries) hole_->index_next = Index{h.first_index};
}

Status Recoverer::look_beyond_the_end() {
  if (Status s = describe_end(candidates_[end_segment_]); !s) return s;
  for (std::size_t i = end_segment_; i < candidates_.size(); ++i) {
    SegmentReader from = reader(candidates_[i].file);
    from.seek(i == end_segment_ ? end_position_ : kSegmentHeaderBytes);
    for (;;) {
      auto found = from.next();
      if (!found) return std::unexpected(found.error());
      if (!found->has_value()) break;
      if (Status s = weigh_leftover(candidates_[i], **found); !s) return s;
    }
    log_.bytes_scanned += files_[candidates_[i].file].bytes;
  }
  return {};
}

// A file without a readable header is harmless when it was being recycled: then it holds frames, all
// older than the oldest live generation (the caller checks that no entry is missing). Otherwise it may
// have been the newest segment.
Status Recoverer::place_unreadable() {
  for (std::size_t file : unreadable_) {
    bool has_released_frames = false;
    SegmentReader from = reader(file);
    for (;;) {
      auto found = from.next();
      if (!found) return std::unexpected(found.error());
      if (!found->has_value()) break;
      const FrameHeader& h = (*found)->header;
      if ((*found)->state != HeaderState::valid || h.identity() != identity_) continue;
      log_.epoch_max = std::max(log_.epoch_max, h.epoch);
      log_.generation_max = std::max(log_.generation_max, h.generation);
      has_released_frames = true;
      if (h.generation >= candidates_.front().header.generation)
        return fail(Errc::corruption,
                    fmt::format("{} at byte 0: the segment header is damaged, but frame LSN {} at "
                                "byte {} belongs to the log; nothing has been changed",
                                files_[file].name, h.lsn, (*found)->position));
    }
    if (!has_released_frames)
      return fail(
          Errc::corruption,
          fmt::format("{} at byte 0: the segment header is damaged and the file holds no readable frame; "
                      "nothing has been changed",
                      files_[file].name));
  }
  return {};
}

void Recoverer::order_segments() {
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    RecoveredSegment& result = candidates_[i].result;
    result.role = i <= end_segment_ ? SegmentRole::live : SegmentRole::spare;
    log_.segments.push_back(result);
  }
  log_.live = end_segment_ + 1;
  for (std::size_t file : unreadable_) log_.segments.push_back({.file = file});
}

}  // namespace

Result<RecoveredLog> recover(std::span<const SegmentFile> files, const LogIdentity& identity,
                             const FrameVisitor& visitor, std::optional<Damage>* damage,
                             bool plant_damage_is_tail) {
  ESC_ASSERT(!files.empty());
  Recoverer recoverer(files, identity, visitor, plant_damage_is_tail);
  auto log = recoverer.run();
  if (damage != nullptr) *damage = recoverer.damage();
  return log;
}

}  // namespace esc::logfmt
