#include "file_cache.h"

#include <cstdio>

#include "esc/base/assert.h"

namespace esc::store {

void format_segment_path(char* into, const std::string& directory, SegmentName name, const char* suffix) {
  const auto base = static_cast<long long>(name.base.value());
  const int length = name.generation == 0
                         ? std::snprintf(into, kPathBytesMax, "%s/%020lld%s", directory.c_str(), base, suffix)
                         : std::snprintf(into, kPathBytesMax, "%s/%020lld.%u%s", directory.c_str(), base,
                                         name.generation, suffix);
  ESC_ASSERT(length > 0 && static_cast<std::size_t>(length) < kPathBytesMax);
}

std::string segment_path(const std::string& directory, SegmentName name, const char* suffix) {
  char path[kPathBytesMax];
  format_segment_path(path, directory, name, suffix);
  return path;
}

FileCache::FileCache(io::Disk& disk, io::Files* files, const ResourceLimits& limits, ResourceStats& stats)
    : disk_(disk),
      files_(files),
      open_files_max_(limits.open_files_max),
      stats_(stats),
      slots_(std::make_unique<Slot[]>(limits.opens_max)) {
  ESC_ASSERT(limits.opens_max > 0);
  for (std::uint32_t i = 0; i < limits.opens_max; ++i) {
    slots_[i].cache = this;
    slots_[i].next = free_;
    free_ = &slots_[i];
  }
}

bool FileCache::acquire(CachedFile& file, detail::FileWaiter& waiter) {
  ESC_ASSERT(file.closer == nullptr);
  if (file.state == CachedFile::State::open) {
    if (file.linked()) file.unlink();
    ++file.pins;
    return true;
  }
  waiter.next = nullptr;
  detail::FileWaiter** last = &file.waiters;
  while (*last != nullptr) last = &(*last)->next;
  *last = &waiter;
  if (file.state == CachedFile::State::closed) {
    file.state = CachedFile::State::opening;
    take_turn(file);
  }
  return false;  // opening, or closing and opened again after that
}

void FileCache::release(CachedFile& file) {
  ESC_ASSERT(file.pins > 0);
  if (--file.pins > 0 || file.kept) return;
  lru_.push_back(file);
  trim();
}

void FileCache::keep(CachedFile& file, bool kept) {
  if (file.kept == kept) return;
  file.kept = kept;
  if (file.state != CachedFile::State::open || file.pins > 0) return;
  if (kept) {
    file.unlink();
  } else {
    lru_.push_back(file);
    trim();
  }
}

bool FileCache::close(CachedFile& file, detail::FileWaiter& waiter) {
  ESC_ASSERT(file.pins == 0 && file.waiters == nullptr && file.closer == nullptr);
  file.kept = false;
  switch (file.state) {
    case CachedFile::State::closed: return true;
    case CachedFile::State::opening: ESC_UNREACHABLE("closing a file that is being opened for nobody");
    case CachedFile::State::open:
      file.closer = &waiter;
      if (file.linked()) file.unlink();
      file.state = CachedFile::State::closing;
      take_turn(file);
      return false;
    case CachedFile::State::closing: file.closer = &waiter; return false;
  }
  return false;
}

void FileCache::forget(CachedFile& file) {
  if (file.state != CachedFile::State::open) return;
  if (file.linked()) file.unlink();
  if (files_ != nullptr) files_->close(file.handle);
  file.handle = {};
  file.state = CachedFile::State::closed;
  --stats_.files_open;
}

void FileCache::take_turn(CachedFile& file) {
  if (free_ != nullptr) {
    Slot& slot = *free_;
    free_ = slot.next;
    ++slots_busy_;
    start(slot, file);
    return;
  }
  file.next_turn = nullptr;
  (turn_last_ == nullptr ? turn_first_ : turn_last_->next_turn) = &file;
  turn_last_ = &file;
}

void FileCache::start(Slot& slot, CachedFile& file) {
  slot.file = &file;
  if (file.state == CachedFile::State::opening) {
    format_segment_path(slot.path, file.directory, file.name, ".log");
    submit_open(slot, file.create);
    return;
  }
  ESC_ASSERT(file.state == CachedFile::State::closing);
  slot.op = io::DiskOp{};
  slot.op.kind = io::DiskOp::Kind::close;
  slot.op.file = file.handle;
  slot.op.context = &slot;
  slot.op.done = [](io::DiskOp& op) {
    auto& done = *static_cast<Slot*>(op.context);
    done.cache->on_done(done);
  };
  disk_.submit(slot.op);
}

void FileCache::submit_open(Slot& slot, bool exclusive) {
  slot.op = io::DiskOp{};
  slot.op.kind = io::DiskOp::Kind::open;
  // Whoever reads says how much. Read-ahead is as large as somebody has set it for the device, up to
  // megabytes, and every durable write waits behind it.
  slot.op.flags = {.write = true, .create = slot.file->create, .exclusive = exclusive, .random = true};
  slot.op.path = slot.path;
  slot.op.context = &slot;
  slot.op.done = [](io::DiskOp& op) {
    auto& done = *static_cast<Slot*>(op.context);
    done.cache->on_done(done);
  };
  disk_.submit(slot.op);
}

void FileCache::on_done(Slot& slot) {
  CachedFile& file = *slot.file;
  const Errc error = slot.op.error;
  const int os_error = slot.op.os_error;
  if (file.state == CachedFile::State::opening) {
    if (error == Errc::already_exists && slot.op.flags.exclusive) {
      // Left by an earlier life, before the last crash; the replay writes it anew.
      file.existed = true;
      submit_open(slot, false);
      return;
    }
    if (error == Errc::ok) file.handle = slot.op.file;
  }
  // The slot goes on before anybody is told: they may need one.
  slot.file = nullptr;
  if (turn_first_ != nullptr) {
    CachedFile& next = *turn_first_;
    turn_first_ = next.next_turn;
    if (turn_first_ == nullptr) turn_last_ = nullptr;
    start(slot, next);
  } else {
    slot.next = free_;
    free_ = &slot;
    --slots_busy_;
  }
  if (file.state == CachedFile::State::opening) {
    opened(file, error, os_error);
  } else {
    closed(file);  // an error of close says nothing about synced data, and unsynced files are kept open
  }
}

void FileCache::opened(CachedFile& file, Errc error, int os_error) {
  detail::FileWaiter* waiter = file.waiters;
  file.waiters = nullptr;
  if (error == Errc::ok) {
    file.state = CachedFile::State::open;
    file.create = false;
    ++stats_.files_open;
    ++stats_.opens;
    for (auto* w = waiter; w != nullptr; w = w->next) ++file.pins;
    ESC_ASSERT(file.pins > 0);
  } else {
    file.state = CachedFile::State::closed;
  }
  while (waiter != nullptr) {
    detail::FileWaiter* next = waiter->next;
    waiter->ready(*waiter, error, os_error);
    waiter = next;
  }
}

void FileCache::closed(CachedFile& file) {
  file.handle = {};
  --stats_.files_open;
  if (file.waiters != nullptr) {
    ESC_ASSERT(file.closer == nullptr);
    file.state = CachedFile::State::opening;
    take_turn(file);
    return;
  }
  file.state = CachedFile::State::closed;
  if (detail::FileWaiter* closer = file.closer; closer != nullptr) {
    file.closer = nullptr;
    closer->ready(*closer, Errc::ok, 0);
  }
  trim();
}

void FileCache::trim() {
  // Bounded by the free slots; the next release or close goes on.
  while (stats_.files_open > open_files_max_ + slots_busy_ && !lru_.empty() && free_ != nullptr) {
    CachedFile& oldest = lru_.pop_front();
    oldest.state = CachedFile::State::closing;
    ++stats_.evictions;
    take_turn(oldest);
  }
}

}  // namespace esc::store
