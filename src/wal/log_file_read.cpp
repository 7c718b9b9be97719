// Reading entries back: one disk read for as many neighbouring frames as fit, each checked against the record
// of it, their entries moved together.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "directory.h"
#include "esc/base/assert.h"
#include "esc/io/read_failure.h"
#include "esc/logfmt/entry.h"
#include "log_file.h"

namespace esc::wal {
namespace {

// The part of a payload that holds the entries [first, last]; empty when it is not a sequence of entries that
// has them.
ByteView cut_entries(ByteView payload, Index first, Index last) {
  logfmt::EntryReader reader(payload);
  std::size_t begin = payload.size();
  while (const auto entry = reader.next()) {
    const Index index{entry->header.index};
    if (index == first) begin = entry->position;
    if (index == last && begin <= entry->position) return payload.subspan(begin, reader.position() - begin);
  }
  return {};
}

}  // namespace

Index LogFile::first_available() const {
  return index_.empty() ? last_index().next() : index_.front().first_index;
}

Index LogFile::last_of(std::uint64_t position) const {
  return position + 1 == index_.end() ? last_index_ : index_.at(position + 1).first_index.prev();
}

Term LogFile::term_at(Index index) const {
  if (index_.empty() || index < index_.front().first_index || index > last_index_) return Term{0};
  return index_.at(index_.find(index)).term;
}

bool LogFile::has(Index index) const {
  if (index_.empty() || index < index_.front().first_index || index > last_index_) return false;
  return index_.at(index_.find(index)).lsn.value() <= durable_lsn_;
}

void LogFile::read(EntryRead& read) {
  ESC_ASSERT(read.done != nullptr);
  ESC_ASSERT(read.last_max >= read.first);
  ESC_ASSERT(is_aligned(reinterpret_cast<std::uintptr_t>(read.buffer.data()), kBlockBytes));
  ESC_ASSERT(is_aligned(read.buffer.size(), kBlockBytes));
  ++reads_;
  read.log = this;
  read.detail.clear();
  read.entries = {};
  if (!has(read.first)) {
    refuse(read, Errc::not_found);
    return;
  }
  const std::uint64_t from = index_.find(read.first);
  const FrameRecord& first = index_.at(from);
  std::uint64_t bytes = 0;
  for (std::uint64_t at = from; at != index_.end(); ++at) {
    const FrameRecord& record = index_.at(at);
    if (record.lsn.value() > durable_lsn_ || record.first_index > read.last_max) break;
    if (record.generation != first.generation || record.term != first.term) break;
    const std::uint64_t end =
        std::uint64_t{record.block - first.block} * kBlockBytes + logfmt::frame_bytes(record.payload_bytes);
    if (end > read.buffer.size()) break;
    bytes = end;
  }
  if (bytes == 0) {
    read.detail = fmt::format("{}: a frame of {} bytes does not fit the buffer of {} bytes",
                              place(first.generation, std::uint64_t{first.block} * kBlockBytes),
                              logfmt::frame_bytes(first.payload_bytes), read.buffer.size());
    refuse(read, Errc::too_large);
    return;
  }
  Segment* segment = live_.find(first.generation);
  ESC_ASSERT(segment != nullptr);
  segment->readers += 1;
  read.frame = from;
  read.durable_lsn = durable_lsn_;
  read.generation = first.generation;
  read.op.kind = io::DiskOp::Kind::read;
  read.op.file = segment->file;
  read.op.offset = std::uint64_t{first.block} * kBlockBytes;
  read.op.buffer = read.buffer.first(bytes);
  read.op.pieces = {};
  read.op.done = &LogFile::on_read_done;
  read.op.context = &read;
  disk_.submit(read.op);
}

// `done` never runs inside read(): do_work answers.
void LogFile::refuse(EntryRead& read, Errc why) {
  read.op.error = why;
  read.next = refused_;
  refused_ = &read;
  clock_.arm(timer_, clock_.now());
}

std::uint32_t LogFile::finish_refused() {
  std::uint32_t count = 0;
  EntryRead* read = std::exchange(refused_, nullptr);
  while (read != nullptr) {
    EntryRead* next = read->next;
    --reads_;
    ++count;
    read->done(*read, read->op.error);
    read = next;
  }
  return count;
}

void LogFile::on_read_done(io::DiskOp& op) {
  auto& read = *static_cast<EntryRead*>(op.context);
  static_cast<LogFile*>(read.log)->finish_read(read);
}

void LogFile::finish_read(EntryRead& read) {
  Segment* segment = live_.find(read.generation);
  ESC_ASSERT(segment != nullptr);
  ESC_ASSERT(segment->readers > 0);
  segment->readers -= 1;
  --reads_;
  Errc result = read.op.error;
  if (result != Errc::ok) {
    result = io::read_failure(read.op.os_error);
    read.detail = fmt::format("{}: the read failed (errno {})", place(read.generation, read.op.offset),
                              read.op.os_error);
  } else {
    // The frames may have been superseded while they were read: what is returned is the log as it is now.
    std::uint64_t at = read.frame;
    std::size_t begin = 0;
    read.last = read.first.prev();
    while (take_frame(read, at, begin)) ++at;
    if (read.last < read.first) result = read.detail.empty() ? Errc::not_found : Errc::corruption;
    // Damage behind good entries is met again, and reported, by the read that starts there.
    if (result == Errc::ok) read.detail.clear();
  }
  read.done(read, result);
}

// Checks the frame at `position` of the index and moves its entries behind those taken before, which start at
// `begin` of the buffer. False at the end of what was asked for and read, and, with a detail, at damage.
bool LogFile::take_frame(EntryRead& read, std::uint64_t position, std::size_t& begin) {
  if (position < index_.begin() || position >= index_.end() || read.last >= read.last_max) return false;
  const FrameRecord& record = index_.at(position);
  if (record.lsn.value() > read.durable_lsn || record.generation != read.generation) return false;
  if (position != read.frame && record.term != read.term) return false;
  const std::uint64_t start = std::uint64_t{record.block} * kBlockBytes;
  if (start + logfmt::frame_bytes(record.payload_bytes) > read.op.offset + read.op.buffer.size())
    return false;
  const Index first = read.last.next();
  const Index last = std::min(last_of(position), read.last_max);
  if (last < first) return false;  // superseded up to where the read starts
  const auto damaged = [&](std::string_view what) {
    read.detail = fmt::format("{}: {} of frame LSN {} (entries from {} on)", place(record.generation, start),
                              what, record.lsn.value(), record.first_index.value());
    return false;
  };
  const ByteSpan frame = read.buffer.subspan(start - read.op.offset);
  logfmt::FrameHeader header;
  if (start + logfmt::frame_bytes(record.payload_bytes) > read.op.offset + read.op.transferred)
    return damaged("the file ends inside");
  if (logfmt::read_frame_header(frame, header) != logfmt::HeaderState::valid)
    return damaged("damaged or missing header");
  if (header.identity() != identity_ || header.generation != record.generation ||
      header.block != record.block || header.lsn != record.lsn.value() ||
      header.kind != logfmt::FrameKind::entries || header.term != record.term.value() ||
      header.first_index != record.first_index.value() || header.last_index < last.value() ||
      header.payload_bytes != record.payload_bytes)
    return damaged("another frame in the place");
  ByteView payload = frame.subspan(logfmt::kFrameHeaderBytes, record.payload_bytes);
  if (!logfmt::payload_matches(header, payload)) return damaged("wrong payload checksum");
  if (first != record.first_index || last.value() != header.last_index) {
    payload = cut_entries(payload, first, last);
    if (payload.empty()) return damaged("malformed entries in the payload");
  }
  // The first frame's entries stay where they are; the headers between make the room behind them.
  const std::size_t place_of = static_cast<std::size_t>(payload.data() - read.buffer.data());
  if (position == read.frame) begin = place_of;
  std::memmove(read.buffer.data() + begin + read.entries.size(), payload.data(), payload.size());
  read.entries = read.buffer.subspan(begin, read.entries.size() + payload.size());
  read.last = last;
  read.term = record.term;
  return true;
}

std::string LogFile::place(std::uint64_t generation, std::uint64_t position) {
  const Segment* segment = live_.find(generation);
  const std::uint64_t number = segment == nullptr ? 0 : segment->number;
  return fmt::format("{}/{} at byte {}", options_.directory, segment_name(number), position);
}

}  // namespace esc::wal
