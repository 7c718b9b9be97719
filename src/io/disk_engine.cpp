#include "disk_engine.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>

#include "esc/base/assert.h"
#include "esc/base/units.h"
#include "open_flags.h"
#include "tag.h"

namespace esc::io {

namespace {

// One request's length field has 32 bits and the kernel caps transfers below 2 GiB; larger buffers
// are continued.
constexpr std::uint64_t kTransferMax = kGiB;
constexpr std::uint32_t kSectorBytes = 512;
constexpr int kUncachedWrite = 0x80;   // RWF_DONTCACHE, Linux 6.14; unknown to the C library
constexpr unsigned kOpFtruncate = 55;  // IORING_OP_FTRUNCATE, Linux 6.9; unknown to liburing 2.3

bool is_durable_work(DiskOp::Kind kind) {
  return kind == DiskOp::Kind::write || kind == DiskOp::Kind::sync_data || kind == DiskOp::Kind::sync_dir;
}

std::uint64_t write_size(const DiskOp& op) {
  if (!op.buffer.empty() || op.pieces.empty()) return op.buffer.size();
  std::uint64_t bytes = 0;
  for (const iovec& piece : op.pieces) bytes += piece.iov_len;
  return bytes;
}

// Asked anew each time: descriptor numbers are reused behind our back (Files), so a cache could lie.
bool is_direct(int fd) {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && (flags & O_DIRECT) != 0;
}

std::uint32_t clamp_transfer(std::uint64_t bytes) {
  return static_cast<std::uint32_t>(std::min(bytes, kTransferMax));
}

}  // namespace

DiskEngine::~DiskEngine() {
  ESC_ASSERT_MSG(in_kernel_ == 0, "the kernel still uses the memory of a disk operation");
  ESC_ASSERT_MSG(waiting_ == 0, "a disk operation was never started");
}

void DiskEngine::submit(DiskOp& op) {
  ESC_ASSERT(!op.in_flight);
  ESC_ASSERT(op.done != nullptr);
  op.in_flight = true;
  op.error = Errc::ok;
  op.os_error = 0;
  op.transferred = 0;
  op.progress = 0;
  op.next = nullptr;
  ++stats_.disk_ops;
  if (in_kernel_ < in_kernel_max_ && waiting_ == 0) return issue(op);
  ++stats_.disk_ops_delayed;
  ++waiting_;
  if (last_waiting_ == nullptr) {
    first_waiting_ = &op;
  } else {
    last_waiting_->next = &op;
  }
  last_waiting_ = &op;
}

void DiskEngine::issue(DiskOp& op) {
  ++in_kernel_;
  if (is_durable_work(op.kind)) ++writes_in_kernel_;
  prepare(op);
}

void DiskEngine::issue_waiting() {
  while (waiting_ > 0 && in_kernel_ < in_kernel_max_) {
    ESC_ASSERT(first_waiting_ != nullptr);
    DiskOp& op = *first_waiting_;
    first_waiting_ = op.next;
    if (first_waiting_ == nullptr) last_waiting_ = nullptr;
    op.next = nullptr;
    --waiting_;
    issue(op);
  }
}

// Fills one request for what remains of the operation.
void DiskEngine::prepare(DiskOp& op) {
  switch (op.kind) {
    case DiskOp::Kind::open: return prepare_open(op);
    case DiskOp::Kind::close: return io_uring_prep_close(&request(op), op.file.fd);
    case DiskOp::Kind::read: return prepare_read(op);
    case DiskOp::Kind::write: return prepare_write(op);
    case DiskOp::Kind::truncate: return prepare_truncate(op);
    case DiskOp::Kind::punch:
      return io_uring_prep_fallocate(&worker_request(op), op.file.fd,
                                     FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, op.offset, op.length);
    case DiskOp::Kind::sync_dir: return prepare_sync_dir(op);
    case DiskOp::Kind::sync_data:
      return io_uring_prep_fsync(&worker_request(op), op.file.fd, IORING_FSYNC_DATASYNC);
    case DiskOp::Kind::sync_range:
      return io_uring_prep_sync_file_range(&worker_request(op), op.file.fd,
                                           clamp_transfer(op.length - op.progress), op.offset + op.progress,
                                           SYNC_FILE_RANGE_WRITE);
    case DiskOp::Kind::rename:
      return io_uring_prep_renameat(&worker_request(op), AT_FDCWD, op.path, AT_FDCWD, op.path2, 0);
    case DiskOp::Kind::remove: return io_uring_prep_unlinkat(&worker_request(op), AT_FDCWD, op.path, 0);
    case DiskOp::Kind::make_dir:
      return io_uring_prep_mkdirat(&worker_request(op), AT_FDCWD, op.path, kDirectoryMode);
  }
  ESC_UNREACHABLE("unknown kind of disk operation");
}

io_uring_sqe& DiskEngine::request(DiskOp& op) {
  return ring_.next_sqe(make_tag(RequestKind::disk, &op));
}

io_uring_sqe& DiskEngine::worker_request(DiskOp& op) {
  ++stats_.disk_ops_on_workers;
  return request(op);
}

void DiskEngine::prepare_open(DiskOp& op) {
  io_uring_sqe& sqe = op.flags.create ? worker_request(op) : request(op);
  io_uring_prep_openat(&sqe, AT_FDCWD, op.path, posix_open_flags(op.flags), kFileMode);
}

void DiskEngine::prepare_read(DiskOp& op) {
  const ByteSpan rest = op.buffer.subspan(op.progress);
  io_uring_prep_read(&request(op), op.file.fd, rest.data(), clamp_transfer(rest.size()),
                     op.offset + op.progress);
}

void DiskEngine::prepare_write(DiskOp& op) {
  ESC_ASSERT(op.pieces.size() <= IOV_MAX);
  const bool direct = is_direct(op.file.fd);
  const std::uint64_t offset = op.offset + op.progress;
  // Direct overwrites run inline. Buffered ones may block on dirty pages or on an allocation, and ext4
  // cannot try them without blocking, so they go to a worker without the futile first attempt.
  io_uring_sqe& sqe = direct ? request(op) : worker_request(op);
  if (!op.buffer.empty() || op.pieces.empty()) {
    const ByteSpan rest = op.buffer.subspan(op.progress);
    const int region = ring_.registered_index(rest.data(), rest.size());
    if (region >= 0) {
      io_uring_prep_write_fixed(&sqe, op.file.fd, rest.data(), clamp_transfer(rest.size()), offset, region);
      ++stats_.disk_writes_fixed;
    } else {
      io_uring_prep_write(&sqe, op.file.fd, rest.data(), clamp_transfer(rest.size()), offset);
    }
  } else {
    // The pieces are the caller's and stay as they are: after a short write the rest of the torn piece
    // goes alone, then the whole pieces behind it.
    std::size_t piece = 0;
    std::uint64_t skip = op.progress;
    while (piece + 1 < op.pieces.size() && skip >= op.pieces[piece].iov_len)
      skip -= op.pieces[piece++].iov_len;
    const iovec& first = op.pieces[piece];
    if (skip > 0) {
      io_uring_prep_write(&sqe, op.file.fd, static_cast<const std::byte*>(first.iov_base) + skip,
                          clamp_transfer(first.iov_len - skip), offset);
    } else {
      io_uring_prep_writev(&sqe, op.file.fd, &first, static_cast<unsigned>(op.pieces.size() - piece), offset);
    }
  }
  if (!direct) sqe.flags |= IOSQE_ASYNC;
  op.uncached = op.uncached && uncached_supported_;
  if (op.uncached) sqe.rw_flags |= kUncachedWrite;
}

void DiskEngine::prepare_truncate(DiskOp& op) {
  if (ring_.supports(kOpFtruncate)) {
    io_uring_prep_rw(static_cast<int>(kOpFtruncate), &worker_request(op), op.file.fd, nullptr, 0, op.length);
    return;
  }
  // Before Linux 6.9 the call is made here, and a no-op brings its result back through the loop.
  // Truncation is rare (recovery, retention of a damaged tail), so the pause is tolerable.
  op.os_error = ::ftruncate(op.file.fd, static_cast<off_t>(op.length)) == 0 ? 0 : errno;
  io_uring_prep_nop(&request(op));
}

// Two steps: open the directory, then sync it; `progress` holds the descriptor + 1 in between.
void DiskEngine::prepare_sync_dir(DiskOp& op) {
  if (op.progress == 0) {
    io_uring_prep_openat(&request(op), AT_FDCWD, op.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
  } else {
    io_uring_prep_fsync(&worker_request(op), static_cast<int>(op.progress - 1), 0);
  }
}

void DiskEngine::complete(DiskOp& op, std::int32_t result) {
  ESC_ASSERT(op.in_flight);
  switch (op.kind) {
    case DiskOp::Kind::write:
      if (result == -EOPNOTSUPP && op.uncached) {
        uncached_supported_ = false;  // an older kernel or file system: nothing was written, go on without
        return prepare(op);
      }
      return advance(op, result);
    case DiskOp::Kind::read: return advance(op, result);
    case DiskOp::Kind::open:
      if (result >= 0) op.file = FileHandle{result};
      if (result >= 0 && op.flags.random) ::posix_fadvise(result, 0, 0, POSIX_FADV_RANDOM);
      break;
    case DiskOp::Kind::make_dir:
      if (result == -EEXIST) result = 0;
      break;
    case DiskOp::Kind::truncate:
      if (op.os_error != 0) result = -op.os_error;
      break;
    case DiskOp::Kind::sync_range:
      op.progress += clamp_transfer(op.length - op.progress);
      if (result >= 0 && op.progress < op.length) return prepare(op);
      break;
    case DiskOp::Kind::sync_dir:
      if (op.progress == 0 && result >= 0) {
        op.progress = static_cast<std::uint64_t>(result) + 1;
        return prepare(op);
      }
      if (op.progress != 0) ::close(static_cast<int>(op.progress - 1));
      break;
    case DiskOp::Kind::close:
    case DiskOp::Kind::punch:
    case DiskOp::Kind::sync_data:
    case DiskOp::Kind::rename:
    case DiskOp::Kind::remove: break;
  }
  finish(op, result < 0 ? -result : 0);
}

// A transfer moved `result` bytes, met the end of the file, or failed.
void DiskEngine::advance(DiskOp& op, std::int32_t result) {
  const bool reading = op.kind == DiskOp::Kind::read;
  const std::uint64_t size = reading ? op.buffer.size() : write_size(op);
  if (result < 0) {
    op.transferred = op.progress;
    return finish(op, -result);
  }
  op.progress += static_cast<std::uint64_t>(result);
  ESC_ASSERT(op.progress <= size);
  (reading ? stats_.disk_read_bytes : stats_.disk_write_bytes) += static_cast<std::uint64_t>(result);
  op.transferred = op.progress;
  const bool complete = op.progress == size;
  if (!complete && !reading && result == 0) return finish(op, EIO);  // accepts nothing, says nothing
  // A direct read stops between blocks only at the end of the file, and could not go on from there.
  const bool at_end =
      reading && (result == 0 || (!is_aligned(op.progress, kSectorBytes) && is_direct(op.file.fd)));
  if (complete || at_end) {
    if (!reading) ++stats_.disk_writes;
    return finish(op, 0);
  }
  ++stats_.disk_continuations;
  prepare(op);
}

void DiskEngine::finish(DiskOp& op, int os_error) {
  ESC_ASSERT(in_kernel_ > 0);
  --in_kernel_;
  if (is_durable_work(op.kind)) {
    ESC_ASSERT(writes_in_kernel_ > 0);
    --writes_in_kernel_;
  }
  op.in_flight = false;
  op.os_error = os_error;
  op.error = errc_from_errno(os_error);
  if (os_error != 0) ++stats_.disk_errors;
  issue_waiting();  // before the callback, which may submit: first come, first served
  op.done(op);
}

}  // namespace esc::io
