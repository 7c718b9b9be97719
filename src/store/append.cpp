// Appending: gathered writes, one per segment touched; what is written becomes visible only when all
// of it is written, so that a full disk leaves the log as it was.
#include <algorithm>
#include <limits>

#include "esc/base/assert.h"
#include "segmented_log.h"

namespace esc::store {
namespace {

// The page that an uncached write ends in leaves the cache, and the next append reads it back from the disk:
// small writes are faster through the cache, and leave little in it.
constexpr std::uint64_t kUncachedBytesMin = 64 * kKiB;

}  // namespace

// Offsets below the oldest change that is known were rolled by rules that nobody needs any more.
const RollRules& SegmentedLog::rules_at(Offset offset) const {
  for (std::size_t i = rolling_.size(); i-- > 1;) {
    if (rolling_[i].from <= offset) return rolling_[i].rules;
  }
  return rolling_.front().rules;
}

void SegmentedLog::set_rolling(Offset from, const RollRules& rules) {
  ESC_ASSERT(rules.bytes > 0 && rules.bytes <= kSegmentBytesMax);
  while (!rolling_.empty() && rolling_.back().from >= from) rolling_.pop_back();
  rolling_.push_back({from, rules});
}

bool SegmentedLog::too_large(const Extent& segment, const BatchRef& batch, std::uint64_t bytes_max) {
  return segment.bytes > 0 && (segment.bytes + batch.bytes.size() > bytes_max ||
                               batch.last_offset - segment.base > std::numeric_limits<std::int32_t>::max());
}

// Depends on the batches and the segment only, never on how they were grouped into appends: segments are
// byte-identical on every replica and after every replay, until they are compacted.
bool SegmentedLog::must_roll(const Extent& segment, const BatchRef& batch) const {
  const RollRules& rules = rules_at(batch.base_offset);
  if (too_large(segment, batch, rules.bytes)) return true;
  if (rules.ms < 0 || segment.bytes == 0 || segment.first_timestamp < 0) return false;
  const WallMs newest = load_batch_header(batch.bytes.data()).max_timestamp;
  return newest > segment.first_timestamp && newest - segment.first_timestamp > rules.ms;
}

std::unique_ptr<Segment> SegmentedLog::new_segment(SegmentName name, std::uint32_t index_entries) {
  auto segment = std::make_unique<Segment>(resources_.next_segment_number(), directory_, name,
                                           options_.index_interval_bytes);
  segment->index.reserve(index_entries);
  return segment;
}

void SegmentedLog::append(AppendOp& op) {
  ESC_ASSERT(append_ == nullptr);
  ESC_ASSERT(destroy_ == nullptr);
  ESC_ASSERT(!op.batches.empty());
  ESC_ASSERT(op.batches.size() <= kAppendBatchesMax);
  Offset expected = next_;
  for (const BatchRef& batch : op.batches) {
    ESC_ASSERT(batch.bytes.size() >= kBatchHeaderBytes);
    ESC_ASSERT(batch.bytes.size() <= kSegmentBytesMax);
    const BatchHeader header = load_batch_header(batch.bytes.data());
    ESC_ASSERT_MSG(follows(header, expected, batch.bytes.size()),
                   "an appended batch is not stamped with the next offset");
    ESC_ASSERT(header.bytes == batch.bytes.size());
    ESC_ASSERT(header.last_offset == batch.last_offset);
    ESC_ASSERT(header.base_offset == batch.base_offset);
    expected = header.last_offset.next();
  }
  if (failed_) {
    op.done(op, Errc::io_error);
    return;
  }
  append_ = &op;
  op.state.log = this;
  if (resources_.take_pieces(op)) append_start();
}

void SegmentedLog::append_start() {
  append_cursor_ = 0;
  rolled_used_ = 0;
  append_segment_ = segments_.empty() ? nullptr : segments_.back().get();
  append_position_ = append_segment_ == nullptr ? 0 : append_segment_->bytes;
  append_first_timestamp_ = append_segment_ == nullptr ? -1 : append_segment_->first_timestamp;
  append_next();
}

// Runs `next` when the append's disk operation is complete.
void SegmentedLog::append_disk(void (SegmentedLog::*next)()) {
  append_step_ = next;
  io::DiskOp& op = append_->state.disk;
  op.context = this;
  op.done = [](io::DiskOp& done) {
    auto& log = *static_cast<SegmentedLog*>(done.context);
    (log.*log.append_step_)();
  };
  disk_.submit(op);
}

void SegmentedLog::append_next() {
  if (append_cursor_ == append_->batches.size()) {
    append_commit();
    return;
  }
  const BatchRef& batch = append_->batches[append_cursor_];
  if (append_segment_ == nullptr ||
      must_roll({append_segment_->base, append_position_, append_first_timestamp_}, batch)) {
    append_roll(batch.base_offset);
    return;
  }
  detail::FileWaiter& waiter = append_->state.file;
  waiter.context = this;
  waiter.ready = [](detail::FileWaiter& ready, Errc error, int os_error) {
    auto& log = *static_cast<SegmentedLog*>(ready.context);
    if (error != Errc::ok) {
      log.append_finish(log.open_error(*log.append_segment_, error, os_error, true));
    } else {
      log.append_write();
    }
  };
  if (resources_.files().acquire(append_segment_->file, waiter)) append_write();
}

void SegmentedLog::append_write() {
  // A new file's directory entry must be made durable with the next sync.
  if (append_position_ == 0) directory_dirty_ = true;
  if (append_segment_->file.existed) append_segment_->tail_unknown = true;
  append_stride_ = 0;
  append_stride_bytes_ = 0;
  const auto left = append_->batches.subspan(append_cursor_);
  for (const BatchRef& batch : left) {
    const std::uint64_t end = append_position_ + append_stride_bytes_;
    if (must_roll({append_segment_->base, end, append_first_timestamp_}, batch)) break;
    if (end == 0) append_first_timestamp_ = load_batch_header(batch.bytes.data()).max_timestamp;
    append_->pieces[append_stride_++] = {const_cast<std::byte*>(batch.bytes.data()), batch.bytes.size()};
    append_stride_bytes_ += batch.bytes.size();
  }
  ESC_ASSERT(append_stride_ > 0);
  io::DiskOp& op = append_->state.disk;
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::write;
  op.file = append_segment_->file.handle;
  op.offset = append_position_;
  op.uncached = append_stride_bytes_ >= kUncachedBytesMin;
  op.pieces = {append_->pieces, append_stride_};
  append_disk(&SegmentedLog::append_written);
}

void SegmentedLog::append_written() {
  const io::DiskOp& op = append_->state.disk;
  Segment& segment = *append_segment_;
  if (op.error != Errc::ok) {
    describe(segment, append_position_,
             "a write failed: " + std::string(to_string(op.error)) + " (errno " +
                 std::to_string(op.os_error) + ")");
    resources_.files().release(segment.file);
    append_finish(op.error == Errc::no_space ? Errc::no_space : Errc::io_error);
    return;
  }
  segment.dirty = true;
  resources_.files().keep(segment.file, true);
  resources_.files().release(segment.file);
  append_position_ += append_stride_bytes_;
  append_cursor_ += append_stride_;
  append_next();
}

// Seals the file of the segment that is full (unpublished as yet), then creates the next.
void SegmentedLog::append_roll(Offset base) {
  Segment* full = append_segment_;
  if (full != nullptr && full->tail_unknown) {
    // An old life's bytes behind ours: the file must end where the segment ends.
    detail::FileWaiter& waiter = append_->state.file;
    waiter.context = this;
    waiter.ready = [](detail::FileWaiter& ready, Errc error, int os_error) {
      auto& log = *static_cast<SegmentedLog*>(ready.context);
      if (error != Errc::ok) {
        log.append_finish(log.open_error(*log.append_segment_, error, os_error, true));
        return;
      }
      io::DiskOp& op = log.append_->state.disk;
      op = io::DiskOp{};
      op.kind = io::DiskOp::Kind::truncate;
      op.file = log.append_segment_->file.handle;
      op.length = log.append_position_;
      log.append_disk(&SegmentedLog::append_cut);
    };
    if (resources_.files().acquire(full->file, waiter)) waiter.ready(waiter, Errc::ok, 0);
    return;
  }
  append_open_new(base);
}

void SegmentedLog::append_cut() {
  Segment& segment = *append_segment_;
  const io::DiskOp& op = append_->state.disk;
  segment.dirty = true;
  resources_.files().keep(segment.file, true);
  resources_.files().release(segment.file);
  if (op.error != Errc::ok) {
    describe(segment, append_position_, "truncating failed: " + std::string(to_string(op.error)));
    append_finish(op.error == Errc::no_space ? Errc::no_space : Errc::io_error);
    return;
  }
  segment.tail_unknown = false;
  segment.file.existed = false;
  append_next();
}

void SegmentedLog::append_open_new(Offset base) {
  if (!directory_exists_) {
    io::DiskOp& op = append_->state.disk;
    op = io::DiskOp{};
    op.kind = io::DiskOp::Kind::make_dir;
    op.path = directory_.c_str();
    append_disk(&SegmentedLog::append_directory_made);
    return;
  }
  if (rolled_used_ < rolled_.size() && rolled_[rolled_used_]->base != base) {
    // Left by an append that met a full disk and was not repeated the same way.
    ESC_UNREACHABLE("an append after no_space differs from the one that failed");
  }
  if (rolled_used_ == rolled_.size()) {
    const bool first = segments_.empty() && rolled_.empty();
    rolled_.push_back(new_segment({base, write_generation_}, first ? kIndexEntriesFresh : kIndexEntriesMax));
    rolled_.back()->file.create = true;
  }
  append_segment_ = rolled_[rolled_used_++].get();
  append_position_ = 0;
  append_first_timestamp_ = -1;
  append_next();
}

void SegmentedLog::append_directory_made() {
  const io::DiskOp& op = append_->state.disk;
  if (op.error != Errc::ok) {
    last_error_ = directory_ + " cannot be created: " + std::string(to_string(op.error));
    append_finish(op.error == Errc::no_space ? Errc::no_space : Errc::io_error);
    return;
  }
  directory_exists_ = true;
  parent_dirty_ = true;
  append_next();
}

void SegmentedLog::append_commit() {
  std::size_t rolled = 0;
  for (const BatchRef& batch : append_->batches) {
    Segment* active = segments_.empty() ? nullptr : segments_.back().get();
    if (active == nullptr || must_roll(active->extent(), batch)) {
      if (active != nullptr) {
        active->sealed = true;
        active->index.seal();
      }
      ESC_ASSERT(rolled < rolled_used_);
      segments_.push_back(std::move(rolled_[rolled++]));
      active = segments_.back().get();
    }
    active->add(load_batch_header(batch.bytes.data()));
    bytes_ += batch.bytes.size();
  }
  ESC_ASSERT(rolled == rolled_used_);
  ESC_ASSERT(segments_.back()->bytes == append_position_);
  rolled_.erase(rolled_.begin(), rolled_.begin() + static_cast<std::ptrdiff_t>(rolled));
  next_ = segments_.back()->next;
  while (rolling_.size() > 1 && rolling_[1].from <= next_) rolling_.erase(rolling_.begin());
  if (rolled > 0) drop_segments();
  if (!to_come_.empty()) drop_passed_files();
  start_write_back(*segments_.back());
  append_finish(Errc::ok);
}

void SegmentedLog::append_finish(Errc error) {
  if (error != Errc::ok && error != Errc::no_space) failed_ = true;
  AppendOp& op = *append_;
  append_ = nullptr;
  append_segment_ = nullptr;
  resources_.return_pieces(op);
  const bool destroying = destroy_ != nullptr;  // `done` may destroy too, and even delete this log
  op.done(op, error);
  if (destroying) destroy_start();
}

// Dirty pages go to the device steadily instead of all at the checkpoint. A hint: its errors come
// again from the sync.
void SegmentedLog::start_write_back(Segment& segment) {
  if (segment.write_back_bytes + options_.write_back_bytes > segment.bytes || write_back_segment_ != nullptr)
    return;
  if (segment.file.state != CachedFile::State::open) return;
  // Open, so the waiter is never called.
  if (!resources_.files().acquire(segment.file, write_back_waiter_)) ESC_UNREACHABLE("an open file");
  use(segment);
  write_back_segment_ = &segment;
  write_back_ = io::DiskOp{};
  write_back_.kind = io::DiskOp::Kind::sync_range;
  write_back_.file = segment.file.handle;
  write_back_.offset = segment.write_back_bytes;
  write_back_.length = segment.bytes - segment.write_back_bytes;
  write_back_.context = this;
  write_back_.done = [](io::DiskOp& op) {
    auto& log = *static_cast<SegmentedLog*>(op.context);
    Segment& written = *log.write_back_segment_;
    log.write_back_segment_ = nullptr;
    log.resources_.files().release(written.file);
    log.leave(written);
  };
  segment.write_back_bytes = segment.bytes;
  disk_.submit(write_back_);
}

}  // namespace esc::store
