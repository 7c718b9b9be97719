// Finding the first record at or after a time: segment by its newest timestamp, then the time index,
// then batch headers, then (uncompressed) the records of one batch.
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/io/read_failure.h"
#include "segmented_log.h"

namespace esc::store {
namespace {

// What precedes a record's key: length, attributes, timestamp delta, offset delta.
constexpr std::size_t kRecordPrefixBytesMax = 5 + 1 + 10 + 5;

struct RecordPrefix {
  std::uint64_t bytes = 0;  // the whole record
  std::int64_t timestamp_delta = 0;
  std::int32_t offset_delta = 0;
};

// False when the bytes are no record.
bool load_record_prefix(ByteView bytes, RecordPrefix& record) {
  ByteView rest = bytes;
  const auto length = wire::take_varint(rest);
  if (!length || *length < 1 || rest.empty()) return false;
  record.bytes = static_cast<std::uint64_t>(bytes.size() - rest.size()) + static_cast<std::uint64_t>(*length);
  rest = rest.subspan(1);
  const auto timestamp_delta = wire::take_varlong(rest);
  const auto offset_delta = wire::take_varint(rest);
  if (!timestamp_delta || !offset_delta) return false;
  record.timestamp_delta = *timestamp_delta;
  record.offset_delta = *offset_delta;
  return true;
}

}  // namespace

void SegmentedLog::find_time(TimeOp& op) {
  ESC_ASSERT(op.scratch.size() >= kTimeScratchBytesMin);
  op.offset = Offset(-1);
  op.found_timestamp = -1;
  if (destroy_ != nullptr) {
    op.done(op, Errc::closed);
    return;
  }
  op.state.log = this;
  ++readers_;
  time_enter(op, log_start_);
}

// Goes on in the first segment that holds offsets from `from` and a record new enough; ends when there is
// none.
void SegmentedLog::time_enter(TimeOp& op, Offset from) {
  const auto found = std::find_if(segments_.begin(), segments_.end(), [&](const auto& segment) {
    return segment->next > from && segment->max_timestamp >= op.timestamp && segment->bytes > 0;
  });
  if (found == segments_.end()) {
    time_finish(op, Errc::ok);
    return;
  }
  detail::OpState& state = op.state;
  Segment& segment = **found;
  // Whichever of the two entries is later: both have nothing of interest before them.
  const IndexEntry by_time = segment.index.floor_time(op.timestamp);
  const Offset start = std::max(from, segment.base);
  const IndexEntry by_offset = segment.index.floor_offset(static_cast<std::uint32_t>(start - segment.base));
  const IndexEntry& entry = by_time.position > by_offset.position ? by_time : by_offset;
  state.segment = &segment;
  state.position = entry.position;
  state.expected = segment.base + entry.offset_delta;
  op.batch_end = 0;
  use(segment);
  state.file.context = &op;
  state.file.ready = [](detail::FileWaiter& waiter, Errc error, int os_error) {
    auto& time = *static_cast<TimeOp*>(waiter.context);
    SegmentedLog& log = *time.state.log;
    if (error != Errc::ok) {
      const Errc reported = log.open_error(*time.state.segment, error, os_error, false);
      log.leave(*time.state.segment);
      log.time_finish(time, reported);
    } else {
      log.time_submit(time);
    }
  };
  if (resources_.files().acquire(segment.file, state.file)) time_submit(op);
}

// Reads on from state.position: a batch, or a record in the middle of one.
void SegmentedLog::time_submit(TimeOp& op) {
  detail::OpState& state = op.state;
  state.disk = io::DiskOp{};
  state.disk.kind = io::DiskOp::Kind::read;
  state.disk.file = state.segment->file.handle;
  state.disk.offset = state.position;
  state.disk.buffer =
      op.scratch.first(std::min<std::uint64_t>(op.scratch.size(), state.segment->bytes - state.position));
  state.disk.context = &op;
  state.disk.done = [](io::DiskOp& disk) {
    auto& time = *static_cast<TimeOp*>(disk.context);
    time.state.log->time_arrived(time);
  };
  disk_.submit(state.disk);
}

void SegmentedLog::time_arrived(TimeOp& op) {
  detail::OpState& state = op.state;
  Segment& segment = *state.segment;
  const ByteView bytes = state.disk.buffer;
  const auto end = [&](Errc error) {
    resources_.files().release(segment.file);
    leave(segment);
    time_finish(op, error);
  };
  if (state.disk.error != Errc::ok) {
    describe(segment, state.position, "a read failed (errno " + std::to_string(state.disk.os_error) + ")");
    return end(io::read_failure(state.disk.os_error));
  }
  if (state.disk.transferred < bytes.size()) {
    describe(segment, state.position + state.disk.transferred, "the file ends too early");
    return end(Errc::corruption);
  }
  std::uint64_t at = 0;
  Walk walk = Walk::next;
  while (walk == Walk::next && at < bytes.size()) {
    walk = op.batch_end == 0 ? time_batch(op, bytes, at) : time_records(op, bytes, at);
  }
  if (walk == Walk::found) return end(Errc::ok);
  if (walk == Walk::damaged) {
    describe(segment, state.position + at, "no whole record batch with the expected offset and checksum");
    return end(Errc::corruption);
  }
  ESC_ASSERT(at > 0);  // progress
  state.position += at;
  if (state.position < segment.bytes) {
    time_submit(op);
    return;
  }
  const Offset from = std::max(segment.next, log_start_);
  resources_.files().release(segment.file);
  leave(segment);
  time_enter(op, from);
}

// Looks at the batch at `at`. next: not the one, `at` is behind it (perhaps behind the bytes). more: read
// again from `at`.
SegmentedLog::Walk SegmentedLog::time_batch(TimeOp& op, ByteView bytes, std::uint64_t& at) {
  detail::OpState& state = op.state;
  const std::uint64_t left = bytes.size() - at;
  if (left < kBatchHeaderBytes) return at > 0 ? Walk::more : Walk::damaged;
  const BatchHeader header = load_batch_header(&bytes[at]);
  if (!follows(header, state.expected, state.segment->bytes - (state.position + at))) return Walk::damaged;
  const Offset behind = header.last_offset.next();
  if (header.max_timestamp < op.timestamp || header.last_offset < log_start_) {
    at += header.bytes;
    state.expected = behind;
    return Walk::next;
  }
  if (header.bytes > left && at > 0) return Walk::more;  // with the batch at the front
  // A batch larger than the scratch is not checked: what is returned is an offset, not its bytes.
  if (header.bytes <= left && !crc_matches(header, bytes.subspan(at, header.bytes))) return Walk::damaged;
  const bool compressed = (header.attributes & wire::kAttributeCodecMask) != 0;
  const bool log_append_time = (header.attributes & wire::kAttributeLogAppendTime) != 0;
  if (compressed || log_append_time) {
    op.offset = std::max(header.base_offset, log_start_);
    op.found_timestamp = header.max_timestamp;
    return Walk::found;
  }
  op.batch_end = state.position + at + header.bytes;
  op.batch_base = header.base_offset;
  op.batch_timestamp = header.base_timestamp;
  state.expected = behind;
  at += kBatchHeaderBytes;
  return Walk::next;
}

// Looks at the records of an uncompressed batch, from the one at `at`.
SegmentedLog::Walk SegmentedLog::time_records(TimeOp& op, ByteView bytes, std::uint64_t& at) {
  detail::OpState& state = op.state;
  while (state.position + at < op.batch_end) {
    if (at >= bytes.size()) return Walk::more;
    const std::uint64_t batch_left = op.batch_end - (state.position + at);
    const ByteView rest = bytes.subspan(at, std::min<std::uint64_t>(bytes.size() - at, batch_left));
    if (rest.size() < std::min<std::uint64_t>(kRecordPrefixBytesMax, batch_left)) return Walk::more;
    RecordPrefix record;
    if (!load_record_prefix(rest, record) || record.bytes > batch_left) return Walk::damaged;
    const Offset offset = op.batch_base + record.offset_delta;
    // Unsigned: a client may send any delta.
    const auto timestamp = static_cast<WallMs>(static_cast<std::uint64_t>(op.batch_timestamp) +
                                               static_cast<std::uint64_t>(record.timestamp_delta));
    if (timestamp >= op.timestamp && offset >= log_start_) {
      op.offset = offset;
      op.found_timestamp = timestamp;
      return Walk::found;
    }
    at += record.bytes;
  }
  op.batch_end = 0;
  return Walk::next;
}

void SegmentedLog::time_finish(TimeOp& op, Errc error) {
  ESC_ASSERT(readers_ > 0);
  --readers_;
  const bool last = readers_ == 0 && destroy_ != nullptr;
  op.done(op, error);
  if (last) destroy_when_quiet();
}

}  // namespace esc::store
