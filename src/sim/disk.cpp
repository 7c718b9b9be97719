#include "esc/sim/disk.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "esc/base/assert.h"
#include "esc/base/units.h"

namespace esc::sim {
namespace {

using Kind = io::DiskOp::Kind;

bool has_path(Kind kind) {
  return kind == Kind::open || kind == Kind::rename || kind == Kind::remove || kind == Kind::make_dir ||
         kind == Kind::sync_dir;
}

std::vector<std::byte> bytes_of(const io::DiskOp& op) {
  if (!op.buffer.empty()) return {op.buffer.begin(), op.buffer.end()};
  std::vector<std::byte> bytes;
  for (const struct iovec& piece : op.pieces) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    bytes.insert(bytes.end(), from, from + piece.iov_len);
  }
  return bytes;
}

bool unchanged(const io::DiskOp& op, ByteView taken) {
  if (!op.buffer.empty()) return std::memcmp(op.buffer.data(), taken.data(), taken.size()) == 0;
  for (const struct iovec& piece : op.pieces) {
    if (piece.iov_len > 0 && std::memcmp(piece.iov_base, taken.data(), piece.iov_len) != 0) return false;
    taken = taken.subspan(piece.iov_len);
  }
  return true;
}

}  // namespace

SimDisk::SimDisk(SimClock& clock, FileSystem& file_system, Prng prng, DiskLatency latency)
    : clock_(clock), file_system_(file_system), prng_(prng), latency_(latency) {}

SimDisk::~SimDisk() {
  *alive_ = false;
}

void SimDisk::submit(io::DiskOp& op) {
  ESC_ASSERT(!op.in_flight);
  ESC_ASSERT(op.done != nullptr);
  op.in_flight = true;
  InFlight entry{
      .op = &op, .write = op.kind == Kind::write, .fd = op.file.fd, .offset = op.offset, .bytes = {}};
  if (op.kind == Kind::write) {
    entry.bytes = bytes_of(op);
    if (file_system_.is_direct(op.file.fd)) {
      ESC_ASSERT(is_aligned(op.offset, kBlockBytes) && is_aligned(entry.bytes.size(), kBlockBytes));
      ESC_ASSERT(op.buffer.empty() ||
                 is_aligned(reinterpret_cast<std::uintptr_t>(op.buffer.data()), kBlockBytes));
    }
  }
  const std::uint64_t id = next_id_++;
  in_flight_.emplace(id, std::move(entry));
  Nanos at = clock_.now() + prng_.between(latency_.min, latency_.max);
  if (stalled_part_.empty()) at = std::max(at, stalled_until_);
  clock_.schedule(at, [this, id, alive = alive_] {
    if (*alive) complete(id);
  });
}

void SimDisk::complete(std::uint64_t id) {
  const auto found = in_flight_.find(id);
  if (found == in_flight_.end()) return;  // dropped by a crash
  const io::DiskOp& waiting = *found->second.op;
  const std::string path =
      has_path(waiting.kind) ? std::string(waiting.path) : file_system_.path_of(waiting.file.fd);
  if (clock_.now() < stalled_until_ && path.contains(stalled_part_)) {
    clock_.schedule(stalled_until_, [this, id, alive = alive_] {
      if (*alive) complete(id);
    });
    return;
  }
  const InFlight entry = std::move(found->second);
  in_flight_.erase(found);
  io::DiskOp& op = *entry.op;
  op.transferred = 0;
  op.os_error = file_system_.fault_for(op.kind, path);
  if (op.kind == Kind::write) {
    ESC_ASSERT_MSG(unchanged(op, entry.bytes), "bytes of a write changed while it was in flight");
  }
  if (op.os_error == 0) op.os_error = perform(op, entry.bytes);
  op.error = op.os_error == 0 ? Errc::ok : errc_from_errno(op.os_error);
  op.in_flight = false;
  ++completed_;
  if (deliver_) {
    deliver_(op);
  } else {
    op.done(op);
  }
}

int SimDisk::perform(io::DiskOp& op, ByteView bytes) {
  switch (op.kind) {
    case Kind::open: return file_system_.open(op.path, op.flags, op.file.fd);
    case Kind::close: return file_system_.close(op.file.fd);
    case Kind::read: return file_system_.read(op.file.fd, op.offset, op.buffer, op.transferred);
    case Kind::write: {
      const int error = file_system_.write(op.file.fd, op.offset, bytes);
      if (error == 0) op.transferred = bytes.size();
      return error;
    }
    case Kind::sync_data: return file_system_.sync(op.file.fd);
    case Kind::sync_range: return 0;
    case Kind::truncate: return file_system_.truncate(op.file.fd, op.length);
    case Kind::punch: return file_system_.punch(op.file.fd, op.offset, op.length);
    case Kind::rename: return file_system_.rename(op.path, op.path2);
    case Kind::remove: return file_system_.remove(op.path);
    case Kind::make_dir: return file_system_.make_directory(op.path);
    case Kind::sync_dir: return file_system_.sync_directory(op.path);
  }
  return EINVAL;
}

// The operations themselves are not touched: a process that died has taken them with it.
void SimDisk::interrupt(CrashKind kind) {
  for (auto& [id, entry] : in_flight_) {
    if (entry.write) file_system_.write_interrupted(entry.fd, entry.offset, entry.bytes, kind);
  }
  in_flight_.clear();
  stalled_until_ = 0;
}

void SimDisk::crash(CrashKind kind) {
  interrupt(kind);
  file_system_.crash(kind);
}

}  // namespace esc::sim
