// Making everything appended durable (part of a checkpoint, off the data path), then saving indexes.
#include <algorithm>
#include <cerrno>

#include "esc/base/assert.h"
#include "segmented_log.h"

namespace esc::store {
namespace {

// An active segment's index is saved again after so much growth: it bounds what open() must scan.
constexpr std::uint64_t kIndexSaveBytes = 8 * kMiB;

}  // namespace

void SegmentedLog::sync(SyncOp& op) {
  ESC_ASSERT(sync_ == nullptr);
  ESC_ASSERT(destroy_ == nullptr);
  if (failed_) {
    op.done(op, Errc::io_error);
    return;
  }
  sync_ = &op;
  for (auto& segment : segments_) {
    segment->syncing = segment->dirty;
    segment->dirty = false;
  }
  for (auto& segment : removed_) segment->unnamed = true;
  // Cold, once in a segment's life: a partition that has some size gets a full index.
  if (!segments_.empty()) {
    SegmentIndex& index = segments_.back()->index;
    if (index.entries().size() * 2 > index.capacity()) index.reserve(kIndexEntriesMax);
  }
  sync_next();
}

bool SegmentedLog::needs_sync() const {
  if (directory_dirty_ || parent_dirty_) return true;
  const auto dirty = [](const auto& segment) { return segment->dirty || segment->syncing; };
  const auto waiting = [](const auto& segment) { return !segment->released; };
  return std::any_of(segments_.begin(), segments_.end(), dirty) ||
         std::any_of(removed_.begin(), removed_.end(), waiting);
}

void SegmentedLog::sync_disk(void (SegmentedLog::*next)()) {
  sync_step_ = next;
  io::DiskOp& op = sync_->state.disk;
  op.context = this;
  op.done = [](io::DiskOp& done) {
    auto& log = *static_cast<SegmentedLog*>(done.context);
    (log.*log.sync_step_)();
  };
  disk_.submit(op);
}

void SegmentedLog::sync_next() {
  sync_segment_ = nullptr;
  // Also those that were dropped since the sync began: its checkpoint names them.
  for (auto* row : {&removed_, &segments_}) {
    for (auto& segment : *row) {
      if (segment->syncing) sync_segment_ = segment.get();
    }
  }
  if (sync_segment_ == nullptr) {
    sync_directory();
    return;
  }
  use(*sync_segment_);
  detail::FileWaiter& waiter = sync_->state.file;
  waiter.context = this;
  waiter.ready = [](detail::FileWaiter& ready, Errc, int) {
    // A written file is kept open until it is synced.
    static_cast<SegmentedLog*>(ready.context)->sync_file();
  };
  ESC_ASSERT(sync_segment_->file.state == CachedFile::State::open);
  if (resources_.files().acquire(sync_segment_->file, waiter)) sync_file();
}

void SegmentedLog::sync_file() {
  io::DiskOp& op = sync_->state.disk;
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::sync_data;
  op.file = sync_segment_->file.handle;
  sync_disk(&SegmentedLog::sync_file_done);
}

void SegmentedLog::sync_file_done() {
  const io::DiskOp& op = sync_->state.disk;
  Segment& segment = *sync_segment_;
  segment.syncing = false;
  if (op.error == Errc::ok && !segment.dirty) resources_.files().keep(segment.file, false);
  resources_.files().release(segment.file);
  if (op.error != Errc::ok) {
    describe(segment, segment.bytes, "fdatasync failed (errno " + std::to_string(op.os_error) + ")");
    leave(segment);
    sync_finish(Errc::io_error);  // also for no_space: the kernel may have dropped the pages
    return;
  }
  leave(segment);
  sync_next();
}

void SegmentedLog::sync_directory() {
  io::DiskOp& op = sync_->state.disk;
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::sync_dir;
  if (directory_dirty_) {
    directory_dirty_ = false;
    op.path = directory_.c_str();
  } else if (parent_dirty_) {
    parent_dirty_ = false;
    const auto slash = directory_.find_last_of('/');
    sync_path_ = slash == std::string::npos ? "." : slash == 0 ? "/" : directory_.substr(0, slash);
    op.path = sync_path_.c_str();
  } else {
    save_indexes();
    return;
  }
  sync_disk(&SegmentedLog::sync_directory_done);
}

void SegmentedLog::sync_directory_done() {
  const io::DiskOp& op = sync_->state.disk;
  if (op.error != Errc::ok) {
    last_error_ =
        std::string(op.path) + ": fsync of the directory failed (errno " + std::to_string(op.os_error) + ")";
    sync_finish(Errc::io_error);
    return;
  }
  sync_directory();
}

// Indexes are not synced: a torn one fails its checksum and is rebuilt.
void SegmentedLog::save_indexes() {
  for (auto& segment : segments_) {
    if (segment->bytes == 0 || segment->index_saved) continue;
    if (!segment->sealed && segment->bytes < segment->index_saved_bytes + kIndexSaveBytes) continue;
    save_index(*segment);
    return;
  }
  index_image_ = {};
  sync_finish(Errc::ok);
}

void SegmentedLog::save_index(Segment& segment) {
  sync_segment_ = &segment;
  use(segment);
  index_image_.resize(kIndexFileBytesMax);
  index_header_ = segment.index_file();
  index_image_.resize(encode_index_file(index_header_, segment.index.entries(), index_image_).size());
  // Told apart by covered bytes if the segment grows while this is written.
  segment.index_saved = segment.sealed;
  segment.index_saved_bytes = segment.bytes;
  sync_path_ = segment.path(".index");
  io::DiskOp& op = sync_->state.disk;
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::open;
  op.flags = {.write = true, .create = true};
  op.path = sync_path_.c_str();
  sync_disk(&SegmentedLog::save_index_opened);
}

void SegmentedLog::save_index_opened() {
  io::DiskOp& op = sync_->state.disk;
  index_error_ = op.error;
  index_os_error_ = op.os_error;
  if (op.error != Errc::ok) {
    save_index_closed();
    return;
  }
  const io::FileHandle file = op.file;
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::write;
  op.file = file;
  op.buffer = index_image_;
  sync_disk(&SegmentedLog::save_index_written);
}

void SegmentedLog::save_index_written() {
  io::DiskOp& op = sync_->state.disk;
  index_error_ = op.error;
  index_os_error_ = op.os_error;
  const io::FileHandle file = op.file;
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::close;
  op.file = file;
  sync_disk(&SegmentedLog::save_index_closed);
}

void SegmentedLog::save_index_closed() {
  Segment& segment = *sync_segment_;
  sync_segment_ = nullptr;
  leave(segment);
  // Without its index the log is as good, only slower to open: a full disk or a lack of file
  // descriptors is no reason to fail. A failing device is.
  if (index_error_ == Errc::io_error && index_os_error_ == EIO) {
    last_error_ = sync_path_ + ": writing the index failed (EIO)";
    sync_finish(Errc::io_error);
    return;
  }
  save_indexes();
}

void SegmentedLog::sync_finish(Errc error) {
  if (error != Errc::ok) failed_ = true;
  SyncOp& op = *sync_;
  sync_ = nullptr;
  sync_segment_ = nullptr;
  const bool destroying = destroy_ != nullptr;
  op.done(op, error);
  if (destroying) destroy_start();
}

}  // namespace esc::store
