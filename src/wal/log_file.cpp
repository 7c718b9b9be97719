#include "log_file.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::wal {
namespace {

constexpr std::uint64_t kReserveBytesMax = 64 * kKiB;

std::uint64_t smallest_segment(const LogFile::Start& start) {
  std::uint64_t bytes = UINT64_MAX;
  for (const auto* list : {&start.live, &start.spares, &start.released})
    for (const Segment& segment : *list) bytes = std::min(bytes, segment.bytes);
  return bytes;
}

}  // namespace

LogFile::LogFile(io::Disk& disk, io::Files& files, io::Clock& clock, const Options& options, Start start)
    : disk_(disk),
      files_(files),
      clock_(clock),
      options_(options),
      identity_(start.pool.identity),
      epoch_(start.pool.epoch),
      direct_(start.pool.direct),
      pool_(disk, options_, start.pool),
      live_(start.pool.segments_max),
      control_memory_(std::size_t{options.depth} * kBlockBytes),
      slots_(options.depth),
      live_bytes_(start.live_bytes),
      index_(start.frames_max),
      next_lsn_(start.last.lsn + 1),
      durable_lsn_(start.last.lsn),
      previous_crc_(start.last.header_crc),
      covered_lsn_(start.last.durable_lsn),
      last_content_lsn_(start.last.kind == logfmt::FrameKind::watermark ? 0 : start.last.lsn),
      hard_state_{Term{start.last.vote_term}, NodeId{start.last.voted_for}},
      last_index_(start.last_index),
      written_last_(start.last_index),
      commit_(start.commit),
      recorded_commit_(start.commit),
      covered_commit_(start.commit) {
  const std::uint64_t smallest = std::min(smallest_segment(start), options_.segment_bytes);
  reserve_bytes_ = std::min(kReserveBytesMax, smallest / 8 / kBlockBytes * kBlockBytes);
  frame_bytes_max_ = static_cast<std::uint32_t>(std::min<std::uint64_t>(
      smallest - logfmt::kSegmentHeaderBytes - reserve_bytes_, logfmt::kPayloadBytesMax));
  for (const Segment& segment : start.live) {
    live_.push_back(segment);
    pool_.adopt_live(segment);
  }
  for (const Segment& segment : start.spares) pool_.adopt_spare(segment);
  for (const Segment& segment : start.released) pool_.adopt_released(segment);
  for (const FrameRecord& record : start.frames) index_.push_back(record);
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    slots_[i].log = this;
    slots_[i].control = control_memory_.data() + i * kBlockBytes;
    slots_[i].op.done = &LogFile::on_op_done;
    slots_[i].op.context = &slots_[i];
  }
  // The timer only wakes the loop; do_work, which runs every turn, does the rest.
  timer_.fire = [](io::Timer&) {};
  last_had_spare_ = pool_.has_spare();
  last_activity_ = clock_.now();
}

LogFile::~LogFile() {
  clock_.disarm(timer_);
  live_.for_each([this](Segment& segment) { files_.close(segment.file); });
  pool_.close_all(files_);
}

bool LogFile::fits(std::uint64_t frame_bytes, std::uint64_t reserve) const {
  if (pool_.has_spare()) return true;
  return live_.back().room() >= frame_bytes + reserve;
}

bool LogFile::can_write(std::uint32_t frame_bytes) const {
  if (failed_ || in_flight_ == options_.depth || hard_state_write_.waiting || reset_write_.waiting)
    return false;
  if (frame_bytes > frame_bytes_max_) return false;
  frame_waits_for_segment_ = !fits(frame_bytes, reserve_bytes_);
  return !frame_waits_for_segment_;
}

void LogFile::write(FrameWrite& frame) {
  ESC_ASSERT(frame.payload_bytes > 0);
  frame.frame_bytes = logfmt::frame_bytes(frame.payload_bytes);
  ESC_ASSERT(can_write(frame.frame_bytes));
  ESC_ASSERT(is_aligned(reinterpret_cast<std::uintptr_t>(frame.frame), kBlockBytes));
  ESC_ASSERT(frame.last_index >= frame.first_index);
  ESC_ASSERT_MSG(frame.first_index <= last_index_.next(), "a frame leaves a gap in the log");
  ESC_ASSERT_MSG(frame.first_index > recorded_commit_, "a frame supersedes a committed entry");
  ESC_ASSERT(frame.first_index > released_);
  frame.lsn = Lsn{next_lsn_};
  if (frame.first_index <= written_last_) supersede_from(frame.first_index);
  last_index_ = written_last_ = frame.last_index;
  logfmt::FrameHeader header;
  header.kind = logfmt::FrameKind::entries;
  header.term = frame.term.value();
  header.first_index = frame.first_index.value();
  header.last_index = frame.last_index.value();
  header.payload_bytes = frame.payload_bytes;
  append(header, frame.frame, &frame);
  live_bytes_.add(frame.last_index, frame.frame_bytes);
  Segment& active = live_.back();
  active.last_index_max = frame.last_index;
  index_.push_back({.first_index = frame.first_index,
                    .lsn = frame.lsn,
                    .term = frame.term,
                    .generation = header.generation,
                    .block = header.block,
                    .payload_bytes = frame.payload_bytes});
  last_content_lsn_ = header.lsn;
  stats_.payload_bytes += frame.payload_bytes;
}

// The frame that is written next takes the place of what the log has from `first` on. Until it is durable,
// what it supersedes is still the log on disk: recycle() waits for it.
void LogFile::supersede_from(Index first) {
  index_.drop_from(first);
  live_bytes_.truncate(first);
  live_.for_each(
      [first](Segment& segment) { segment.last_index_max = std::min(segment.last_index_max, first.prev()); });
  superseding_lsn_ = next_lsn_;
}

void LogFile::discard_from(Index first) {
  ESC_ASSERT(first > recorded_commit_);
  if (reset_write_.waiting || first > last_index_) return;
  index_.drop_from(first);
  last_index_ = first.prev();
}

void LogFile::set_commit(Index commit) {
  if (commit <= commit_) return;
  commit_ = commit;
  // The idle watermark waits for the next frame to carry it, or for more of the kind.
  last_activity_ = clock_.now();
}

// What is not in a frame yet, or will be voided by a reset, is not recorded as committed.
Index LogFile::commit_to_record() const {
  if (reset_write_.waiting) return recorded_commit_;
  return std::max(recorded_commit_, std::min(commit_, last_index_));
}

// The frame goes into the active segment, or is the first of the next spare. What room is left in the
// segment it did not fit into stays unused.
void LogFile::make_room(std::uint64_t frame_bytes) {
  if (live_.back().room() >= frame_bytes) return;
  ESC_ASSERT(pool_.has_spare());
  live_.push_back(pool_.take_spare(clock_.now()));
  ESC_ASSERT(live_.back().room() >= frame_bytes);
}

void LogFile::append(logfmt::FrameHeader& header, std::byte* bytes, FrameWrite* frame) {
  ESC_ASSERT(in_flight_ < options_.depth);
  const std::uint32_t frame_bytes = logfmt::frame_bytes(header.payload_bytes);
  make_room(frame_bytes);
  frame_waits_for_segment_ = false;
  Segment& active = live_.back();
  header.cluster_id = identity_.cluster_id;
  header.log_id = identity_.log_id;
  header.node = identity_.node.value();
  header.group = identity_.group.value();
  header.generation = active.generation;
  header.epoch = epoch_;
  header.block = static_cast<std::uint32_t>(active.used_bytes / kBlockBytes);
  header.lsn = next_lsn_;
  header.durable_lsn = durable_lsn_;
  header.vote_term = hard_state_.term.value();
  header.voted_for = hard_state_.voted_for.value();
  header.previous_crc = previous_crc_;
  header.commit_index = commit_to_record().value();
  if (options_.plant == Plant::vote_not_repeated && header.kind != logfmt::FrameKind::hard_state)
    header.voted_for = 0;
  if (options_.plant == Plant::watermark_early) header.durable_lsn = next_lsn_ - 1;
  if (options_.plant == Plant::commit_recorded_early) header.commit_index = last_index_.value();
  logfmt::seal_frame(bytes, header);

  Slot& slot = slot_of(header.lsn);
  slot.frame = frame;
  slot.lsn = header.lsn;
  slot.covers = header.durable_lsn;
  slot.commit = Index{header.commit_index};
  slot.kind = header.kind;
  slot.syncing = false;
  slot.complete = false;
  slot.op.kind = io::DiskOp::Kind::write;
  slot.op.file = active.file;
  slot.op.offset = active.used_bytes;
  slot.op.buffer = ByteSpan(bytes, frame_bytes);
  slot.op.pieces = {};

  active.used_bytes += frame_bytes;
  active.last_lsn = Lsn{header.lsn};
  previous_crc_ = header.header_crc;
  recorded_commit_ = Index{header.commit_index};
  ++next_lsn_;
  ++in_flight_;
  stats_.frames_written += 1;
  stats_.bytes_written += frame_bytes;
  disk_.submit(slot.op);
}

void LogFile::append_control(logfmt::FrameKind kind) {
  logfmt::FrameHeader header;
  header.kind = kind;
  if (kind == logfmt::FrameKind::reset) {
    header.term = reset_write_.term.value();
    header.first_index = reset_write_.index.next().value();
    header.last_index = reset_write_.index.value();
  }
  append(header, slot_of(next_lsn_).control, nullptr);
}

void LogFile::save_hard_state(const HardState& state, void (*done)(void* context, Errc), void* context) {
  ESC_ASSERT_MSG(hard_state_write_.done == nullptr, "one hard state at a time");
  ESC_ASSERT(done != nullptr);
  ESC_ASSERT(state.term >= hard_state_.term);
  hard_state_write_ = {state, done, context, true};
  try_control();
}

void LogFile::try_hard_state() {
  if (!hard_state_write_.waiting || failed_ || in_flight_ == options_.depth || !control_fits()) return;
  hard_state_write_.waiting = false;
  hard_state_ = hard_state_write_.state;
  last_content_lsn_ = next_lsn_;
  append_control(logfmt::FrameKind::hard_state);
}

void LogFile::reset(Index index, Term term, void (*done)(void* context, Errc), void* context) {
  ESC_ASSERT_MSG(reset_write_.done == nullptr, "one reset at a time");
  ESC_ASSERT(done != nullptr);
  ESC_ASSERT(index.value() > 0);
  ESC_ASSERT_MSG(index >= recorded_commit_, "a reset to before a committed entry");
  reset_write_ = {index, term, done, context, true};
  index_.clear();
  try_control();
}

void LogFile::try_reset() {
  if (!reset_write_.waiting || failed_ || in_flight_ == options_.depth || !control_fits()) return;
  const Index index = reset_write_.index;
  reset_write_.waiting = false;
  last_index_ = written_last_ = index;
  commit_ = std::max(commit_, index);
  released_ = std::max(released_, index);
  live_bytes_.clear();
  live_.for_each([](Segment& segment) { segment.last_index_max = Index{0}; });
  superseding_lsn_ = last_content_lsn_ = next_lsn_;
  append_control(logfmt::FrameKind::reset);
}

void LogFile::try_control() {
  try_hard_state();
  try_reset();
}

void LogFile::on_op_done(io::DiskOp& op) {
  Slot& slot = *static_cast<Slot*>(op.context);
  LogFile& log = *slot.log;
  if (op.error == Errc::ok && !log.direct_ && !slot.syncing) {
    slot.syncing = true;
    op.kind = io::DiskOp::Kind::sync_data;
    log.disk_.submit(op);
    return;
  }
  slot.complete = true;
  // From here on nothing new is accepted. What the failed write left on disk is unknown; it is read
  // back by recovery, never written again.
  if (op.error != Errc::ok) log.failed_ = true;
  log.deliver();
}

// Completions reach the caller in LSN order, whatever order the device chose.
void LogFile::deliver() {
  bool delivered = false;
  while (in_flight_ > 0) {
    Slot& slot = slot_of(next_lsn_ - in_flight_);
    if (!slot.complete) break;
    slot.complete = false;
    --in_flight_;
    delivered = true;
    if (slot.op.error != Errc::ok) delivering_errors_ = true;
    if (!delivering_errors_) {
      durable_lsn_ = slot.lsn;
      covered_lsn_ = std::max(covered_lsn_, slot.covers);
      covered_commit_ = std::max(covered_commit_, slot.commit);
    }
    finish(slot, delivering_errors_ ? Errc::io_error : Errc::ok);
  }
  if (!delivered) return;
  last_activity_ = clock_.now();
  try_control();
  if (notify_ != nullptr) notify_(notify_context_);
}

void LogFile::finish(Slot& slot, Errc result) {
  switch (slot.kind) {
    case logfmt::FrameKind::entries:
      if (slot.frame->done != nullptr) slot.frame->done(*slot.frame, result);
      return;
    case logfmt::FrameKind::hard_state: {
      const HardStateWrite write = hard_state_write_;
      hard_state_write_ = {};
      write.done(write.context, result);
      return;
    }
    case logfmt::FrameKind::reset: {
      const ResetWrite write = reset_write_;
      reset_write_ = {};
      write.done(write.context, result);
      return;
    }
    case logfmt::FrameKind::watermark: stats_.watermark_frames += 1; return;
    case logfmt::FrameKind::none: break;
  }
  ESC_UNREACHABLE("a frame without a kind");
}

Space LogFile::space() const {
  const Segment& active = live_.back();
  const bool short_of_room = frame_waits_for_segment_ || active.room() < active.bytes / 4;
  return pool_.starved() && short_of_room ? Space::low : Space::ok;
}

void LogFile::release_through(Index index) {
  released_ = std::max(released_, index);
  live_bytes_.release_through(released_);
  recycle();
}

// Oldest first. The segment of the newest durable frame stays: it holds the hard state and the end of
// the chain. Entries count as superseded only when what supersedes them is durable.
void LogFile::recycle() {
  if (superseding_lsn_ > durable_lsn_) return;
  while (live_.size() > 1 && live_.front().last_index_max <= released_ &&
         live_.front().last_lsn.value() < durable_lsn_ && live_.front().readers == 0) {
    index_.drop_through_generation(live_.front().generation);
    pool_.release(live_.pop_front());
  }
}

bool LogFile::watermark_due() const {
  return last_content_lsn_ > covered_lsn_ || commit_to_record() > covered_commit_;
}

std::uint32_t LogFile::write_idle_watermark(Nanos now) {
  if (in_flight_ > 0 || failed_ || !watermark_due()) return 0;
  if (now - last_activity_ < options_.watermark_after) return 0;
  // On a full disk the last blocks are for votes.
  if (!fits(kBlockBytes, reserve_bytes_ / 2)) return 0;
  append_control(logfmt::FrameKind::watermark);
  return 1;
}

void LogFile::arm_wake_up(Nanos now) {
  if (timer_.armed() || failed_) return;
  Nanos at = pool_.wake_at();
  if (in_flight_ == 0 && watermark_due()) {
    const Nanos watermark_at = last_activity_ + options_.watermark_after;
    at = at == 0 ? watermark_at : std::min(at, watermark_at);
  }
  if (at > now) clock_.arm(timer_, at);
}

void LogFile::notify_if_changed() {
  const Space space_now = space();
  const bool has_spare = pool_.has_spare();
  const bool changed = space_now != last_space_ || (has_spare && !last_had_spare_);
  last_space_ = space_now;
  last_had_spare_ = has_spare;
  if (changed && notify_ != nullptr) notify_(notify_context_);
}

// What has not reached a frame before the log failed never will.
bool LogFile::fail_waiting() {
  if (hard_state_write_.waiting) {
    const HardStateWrite write = hard_state_write_;
    hard_state_write_ = {};
    write.done(write.context, Errc::io_error);
    return true;
  }
  if (reset_write_.waiting) {
    const ResetWrite write = reset_write_;
    reset_write_ = {};
    write.done(write.context, Errc::io_error);
    return true;
  }
  return false;
}

std::uint32_t LogFile::do_work(Nanos now) {
  const std::uint32_t refused = finish_refused();
  if (failed_) return refused + (fail_waiting() ? 1U : 0U);
  recycle();
  const Segment& active = live_.back();
  const bool next_one_soon = frame_waits_for_segment_ || active.used_bytes >= active.bytes / 2;
  std::uint32_t work = refused + pool_.do_work(now, next_one_soon);
  if (pool_.failed()) failed_ = true;
  try_control();
  work += write_idle_watermark(now);
  arm_wake_up(now);
  notify_if_changed();
  return work;
}

void LogFile::on_writable(void (*notify)(void* context), void* context) {
  notify_ = notify;
  notify_context_ = context;
}

const Stats& LogFile::stats() const {
  stats_.segments_created = pool_.created();
  stats_.segments_recycled = pool_.recycled();
  stats_.bytes_on_disk = pool_.bytes_on_disk();
  return stats_;
}

}  // namespace esc::wal
