// Retention and removal. Dropping is logical and instant; files are removed one at a time, in the
// background, when nobody uses them and no checkpoint names them.
#include <algorithm>

#include "esc/base/assert.h"
#include "segmented_log.h"

namespace esc::store {

Offset SegmentedLog::retention_point(std::int64_t retention_ms, std::int64_t retention_bytes,
                                     WallMs now_ms) const {
  Offset point = log_start_;
  std::uint64_t left = bytes_;
  for (std::size_t i = 0; i + 1 < segments_.size(); ++i) {
    const Segment& segment = *segments_[i];
    // Records without a timestamp (-1) never become too old.
    const bool too_old =
        retention_ms >= 0 && segment.max_timestamp >= 0 && segment.max_timestamp < now_ms - retention_ms;
    const bool too_much =
        retention_bytes >= 0 && left - segment.bytes >= static_cast<std::uint64_t>(retention_bytes);
    if (!too_old && !too_much) break;
    left -= segment.bytes;
    point = std::max(point, segment.next);
  }
  return point;
}

void SegmentedLog::set_log_start(Offset offset) {
  ESC_ASSERT(offset <= next_);
  if (offset <= log_start_) return;
  log_start_ = offset;
  drop_segments();
}

void SegmentedLog::skip_to(Offset offset) {
  ESC_ASSERT(idle() && offset >= next_);
  for (auto& segment : segments_) removed_.push_back(std::move(segment));
  segments_.clear();
  bytes_ = 0;
  log_start_ = next_ = offset;
}

void SegmentedLog::start_over(Offset offset) {
  ESC_ASSERT(idle() && rolled_.empty() && !aside_.used);
  aside_ = {true,   std::move(segments_), log_start_,       next_,
            bytes_, write_generation_,    compacted_until_, tombstones_until_};
  segments_.clear();
  bytes_ = 0;
  log_start_ = next_ = compacted_until_ = offset;
  tombstones_until_ = 0;
  // The checkpoint still names the old files, whose names may come again.
  write_generation_ = ++generation_max_;
}

void SegmentedLog::keep_new() {
  if (!aside_.used) return;
  for (auto& segment : aside_.segments) removed_.push_back(std::move(segment));
  aside_ = {};
}

void SegmentedLog::return_to_old() {
  if (!aside_.used) return;
  ESC_ASSERT(append_ == nullptr && sync_ == nullptr && compaction_ == nullptr);
  for (auto* row : {&segments_, &rolled_}) {
    for (auto& segment : *row) {
      segment->released = true;  // no checkpoint knows it
      removed_.push_back(std::move(segment));
    }
    row->clear();
  }
  segments_ = std::move(aside_.segments);
  log_start_ = aside_.log_start;
  next_ = aside_.next;
  bytes_ = aside_.bytes;
  write_generation_ = aside_.write_generation;
  compacted_until_ = aside_.compacted_until;
  tombstones_until_ = aside_.tombstones_until;
  aside_ = {};
  remove_next();
}

void SegmentedLog::drop_segments() {
  std::size_t dropped = 0;
  // The active segment stays, even when all of it is below: it is being written. It goes when it is full.
  while (dropped + 1 < segments_.size() && segments_[dropped]->next <= log_start_) {
    bytes_ -= segments_[dropped]->bytes;
    removed_.push_back(std::move(segments_[dropped]));
    ++dropped;
  }
  segments_.erase(segments_.begin(), segments_.begin() + static_cast<std::ptrdiff_t>(dropped));
}

// The log has ended its segments elsewhere than in the earlier life: by rules that it learned with a
// snapshot.
void SegmentedLog::drop_passed_files() {
  const auto passed = [this](const SegmentName& name) { return name.base < next_; };
  for (const SegmentName& name : to_come_) {
    const auto same = [&name](const auto& segment) { return segment->file.name == name; };
    if (!passed(name) || std::any_of(segments_.begin(), segments_.end(), same)) continue;
    removed_.push_back(new_segment(name, 0));
    removed_.back()->released = true;  // no checkpoint names it
  }
  std::erase_if(to_come_, passed);
  remove_next();
}

void SegmentedLog::release_removed() {
  for (auto& segment : removed_) segment->released |= segment->unnamed;
  remove_next();
}

void SegmentedLog::remove_next() {
  if (removing_ != nullptr) return;
  const auto found = std::find_if(removed_.begin(), removed_.end(), [](const auto& segment) {
    return segment->released && segment->users == 0;
  });
  if (found == removed_.end()) {
    destroy_when_quiet();
    return;
  }
  removing_ = found->get();
  remove_waiter_.context = this;
  remove_waiter_.ready = [](detail::FileWaiter& waiter, Errc, int) {
    static_cast<SegmentedLog*>(waiter.context)->punch_open();
  };
  if (resources_.files().close(removing_->file, remove_waiter_)) punch_open();
}

void SegmentedLog::remove_disk(const char* suffix, void (SegmentedLog::*next)()) {
  remove_path_ = removing_->path(suffix);
  remove_op_ = io::DiskOp{};
  remove_op_.path = remove_path_.c_str();
  remove_submit(io::DiskOp::Kind::remove, next);
}

void SegmentedLog::remove_submit(io::DiskOp::Kind kind, void (SegmentedLog::*next)()) {
  remove_step_ = next;
  remove_op_.kind = kind;
  remove_op_.context = this;
  remove_op_.done = [](io::DiskOp& done) {
    auto& log = *static_cast<SegmentedLog*>(done.context);
    (log.*log.remove_step_)();
  };
  disk_.submit(remove_op_);
}

// A large file gives its space back piece by piece first. What does not work out, the removal does at once.
void SegmentedLog::punch_open() {
  if (removing_->bytes <= options_.punch_bytes) return remove_log_file();
  remove_path_ = removing_->path(".log");
  remove_op_ = io::DiskOp{};
  remove_op_.path = remove_path_.c_str();
  remove_op_.flags = {.write = true};
  punched_bytes_ = 0;
  remove_submit(io::DiskOp::Kind::open, &SegmentedLog::punch_opened);
}

void SegmentedLog::punch_opened() {
  if (remove_op_.error != Errc::ok) return remove_log_file();
  punch_step();
}

void SegmentedLog::punch_step() {
  punched_bytes_ += remove_op_.length;
  const bool refused = remove_op_.error != Errc::ok;
  if (refused || punched_bytes_ >= removing_->bytes)
    return remove_submit(io::DiskOp::Kind::close, &SegmentedLog::remove_log_file);
  remove_op_.offset = punched_bytes_;
  remove_op_.length = options_.punch_bytes;
  remove_submit(io::DiskOp::Kind::punch, &SegmentedLog::punch_step);
}

void SegmentedLog::remove_log_file() {
  remove_disk(".log", &SegmentedLog::remove_index_file);
}

void SegmentedLog::remove_index_file() {
  if (remove_op_.error != Errc::ok && remove_op_.error != Errc::not_found) {
    // Costs space only; the next start tries again.
    last_error_ = remove_path_ + " cannot be removed (errno " + std::to_string(remove_op_.os_error) + ")";
  }
  remove_disk(".index", &SegmentedLog::remove_done);
}

void SegmentedLog::remove_done() {
  std::erase_if(removed_, [this](const auto& segment) { return segment.get() == removing_; });
  removing_ = nullptr;
  remove_next();
}

void SegmentedLog::destroy(SyncOp& op) {
  ESC_ASSERT(destroy_ == nullptr);
  destroy_ = &op;
  destroy_start();
}

// Called again when the append or the sync that was in the way has ended.
void SegmentedLog::destroy_start() {
  if (compaction_ != nullptr) cancel_compaction();  // calls again when it has ended
  if (append_ != nullptr || sync_ != nullptr || compaction_ != nullptr) return;
  for (auto* row : {&segments_, &rolled_, &aside_.segments}) {
    for (auto& segment : *row) removed_.push_back(std::move(segment));
    row->clear();
  }
  for (auto* row : {&orphans_, &to_come_}) {
    for (const SegmentName& name : *row) removed_.push_back(new_segment(name, 0));
    row->clear();
  }
  for (auto& segment : removed_) segment->unnamed = true;
  bytes_ = 0;
  log_start_ = next_;
  release_removed();
}

void SegmentedLog::destroy_when_quiet() {
  if (destroy_ == nullptr || append_ != nullptr || sync_ != nullptr || readers_ > 0 || removing_ != nullptr ||
      !removed_.empty() || compaction_ != nullptr)
    return;
  if (write_back_segment_ != nullptr) return;
  SyncOp& op = *destroy_;
  destroy_ = nullptr;
  op.done(op, Errc::ok);  // may delete this log
}

}  // namespace esc::store
