// Reading whole batches at an offset: one disk read in the usual case, more when the index entry is
// far from the wanted batch. Every byte that is returned was checked.
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/io/read_failure.h"
#include "segmented_log.h"

namespace esc::store {

Segment* SegmentedLog::segment_of(Offset offset) const {
  const auto after =
      std::upper_bound(segments_.begin(), segments_.end(), offset,
                       [](Offset wanted, const auto& segment) { return wanted < segment->base; });
  if (after == segments_.begin()) return nullptr;
  return std::prev(after)->get();
}

void SegmentedLog::read(ReadOp& op) {
  op.bytes = {};
  op.first_batch_bytes = 0;
  if (destroy_ != nullptr) {
    op.done(op, Errc::closed);
    return;
  }
  if (op.offset < log_start_ || op.offset > next_) {
    op.done(op, Errc::out_of_range);
    return;
  }
  if (op.offset == next_) {
    op.done(op, Errc::ok);
    return;
  }
  if (op.buffer.size() < kBatchHeaderBytes) {
    op.first_batch_bytes = kBatchHeaderBytes;
    op.done(op, Errc::ok);
    return;
  }
  Segment* segment = segment_of(op.offset);
  ESC_ASSERT(segment != nullptr);
  detail::OpState& state = op.state;
  state.log = this;
  state.segment = segment;
  state.expected = op.offset;
  state.end = segment->bytes;
  ResourceStats& stats = resources_.counters();
  if (resources_.positions().find(segment->number, op.offset, state.position)) {
    ++stats.position_hits;
  } else {
    ++stats.position_misses;
    const IndexEntry entry =
        segment->index.floor_offset(static_cast<std::uint32_t>(op.offset - segment->base));
    state.position = entry.position;
    state.expected = segment->base + entry.offset_delta;
  }
  use(*segment);
  ++readers_;
  state.file.context = &op;
  state.file.ready = [](detail::FileWaiter& waiter, Errc error, int os_error) {
    auto& read = *static_cast<ReadOp*>(waiter.context);
    SegmentedLog& log = *read.state.log;
    if (error != Errc::ok) {
      const Errc reported = log.open_error(*read.state.segment, error, os_error, false);
      log.leave(*read.state.segment);
      log.read_finish(read, reported);
    } else {
      log.read_submit(read);
    }
  };
  if (resources_.files().acquire(segment->file, state.file)) read_submit(op);
}

void SegmentedLog::read_submit(ReadOp& op) {
  detail::OpState& state = op.state;
  ESC_ASSERT(state.position < state.end);
  state.disk = io::DiskOp{};
  state.disk.kind = io::DiskOp::Kind::read;
  state.disk.file = state.segment->file.handle;
  state.disk.offset = state.position;
  state.disk.buffer = op.buffer.first(std::min<std::uint64_t>(op.buffer.size(), state.end - state.position));
  state.disk.context = &op;
  state.disk.done = [](io::DiskOp& disk) {
    auto& read = *static_cast<ReadOp*>(disk.context);
    read.state.log->read_arrived(read);
  };
  disk_.submit(state.disk);
}

void SegmentedLog::read_arrived(ReadOp& op) {
  detail::OpState& state = op.state;
  Segment& segment = *state.segment;
  const ByteView bytes = state.disk.buffer;
  const auto end = [&](Errc error) {
    resources_.files().release(segment.file);
    leave(segment);
    read_finish(op, error);
  };
  if (state.disk.error != Errc::ok) {
    describe(segment, state.position, "a read failed (errno " + std::to_string(state.disk.os_error) + ")");
    return end(io::read_failure(state.disk.os_error));
  }
  if (state.disk.transferred < bytes.size()) {
    describe(segment, state.position + state.disk.transferred, "the file ends too early");
    return end(Errc::corruption);
  }
  std::uint64_t at = 0;              // of the next batch
  std::uint64_t first = UINT64_MAX;  // of the first batch to return
  const char* damage = nullptr;
  while (at < bytes.size() && bytes.size() - at >= kBatchHeaderBytes) {
    const BatchHeader header = load_batch_header(&bytes[at]);
    if (!follows(header, state.expected, state.end - (state.position + at)) ||
        !segment.epoch_plausible(header.leader_epoch)) {
      damage = "no record batch with the expected offset, epoch and a sane length";
      break;
    }
    const bool wanted = header.last_offset >= op.offset;
    if (wanted) {
      if (header.bytes > bytes.size() - at) {
        if (at == 0) op.first_batch_bytes = static_cast<std::uint32_t>(header.bytes);
        break;
      }
      if (!crc_matches(header, bytes.subspan(at, header.bytes))) {
        damage = "the record batch fails its checksum";
        break;
      }
      first = std::min(first, at);
    }
    at += header.bytes;  // beyond the buffer when a batch that is not wanted is cut
    state.expected = header.last_offset.next();
  }
  if (first != UINT64_MAX) {
    // Damage behind good batches is reported when it is asked for.
    op.bytes = bytes.subspan(first, at - first);
    if (damage == nullptr)
      resources_.positions().remember(segment.number, state.expected, state.position + at);
    return end(Errc::ok);
  }
  if (damage == nullptr && at == 0 && op.first_batch_bytes > 0) return end(Errc::ok);
  if (damage == nullptr && at == 0) damage = "a piece of a record batch at the end";
  if (damage != nullptr) {
    describe(segment, state.position + at, damage);
    return end(Errc::corruption);
  }
  // Closer to the wanted batch now, and this read starts with one.
  state.position += at;
  if (state.position >= state.end) {
    describe(segment, state.position, "the offset that must be in this segment is not");
    return end(Errc::corruption);
  }
  read_submit(op);
}

void SegmentedLog::read_finish(ReadOp& op, Errc error) {
  ESC_ASSERT(readers_ > 0);
  --readers_;
  const bool last = readers_ == 0 && destroy_ != nullptr;
  op.done(op, error);
  if (last) destroy_when_quiet();
}

}  // namespace esc::store
