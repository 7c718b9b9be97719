#include "segment.h"

#include <algorithm>
#include <array>
#include <vector>

#include "esc/base/assert.h"

namespace esc::store {
namespace {

constexpr std::size_t kScanBytes = 1 * kMiB;

std::unexpected<Error> damaged(const Segment& segment, std::uint64_t position, const char* what) {
  return fail(Errc::corruption, segment.path(".log") + " is damaged at byte " + std::to_string(position) +
                                    ": " + what +
                                    "; restore the file from a replica or a backup, nothing was changed");
}

}  // namespace

void Segment::add(const BatchHeader& batch) {
  ESC_ASSERT(batch.base_offset == next);
  index.note({.offset_delta = static_cast<std::uint32_t>(batch.base_offset - base),
              .position = static_cast<std::uint32_t>(bytes),
              .max_timestamp_before = max_timestamp});
  next = batch.last_offset.next();
  if (bytes == 0) first_timestamp = batch.max_timestamp;
  bytes += batch.bytes;
  max_timestamp = std::max(max_timestamp, batch.max_timestamp);
  epoch_min = std::min(epoch_min, batch.leader_epoch);
  epoch_max = std::max(epoch_max, batch.leader_epoch);
}

IndexFile Segment::index_file() const {
  return {.base_offset = base,
          .covered_bytes = bytes,
          .next_offset = next,
          .max_timestamp = max_timestamp,
          .epoch_min = epoch_min,
          .epoch_max = epoch_max,
          .interval_bytes = index.interval_bytes()};
}

Status scan_segment(io::Files& files, io::FileHandle file, Segment& segment, std::uint64_t bytes) {
  std::vector<std::byte> buffer(std::min<std::uint64_t>(kScanBytes, bytes - std::min(bytes, segment.bytes)));
  while (segment.bytes < bytes) {
    const std::uint64_t start = segment.bytes;
    const std::uint64_t want = std::min<std::uint64_t>(buffer.size(), bytes - start);
    const auto got = files.read(file, start, ByteSpan(buffer).first(want));
    if (!got) return std::unexpected(got.error());
    if (*got < want) return damaged(segment, start + *got, "the file ends before the checkpoint's end of it");
    std::uint64_t at = 0;
    while (want - at >= kBatchHeaderBytes) {
      const BatchHeader header = load_batch_header(&buffer[at]);
      if (!follows(header, segment.next, bytes - segment.bytes)) {
        return damaged(segment, segment.bytes, "no record batch with the expected offset and a sane length");
      }
      if (header.bytes > want - at) break;
      if (!crc_matches(header, ByteView(buffer).subspan(at, header.bytes))) {
        return damaged(segment, segment.bytes, "the record batch fails its checksum");
      }
      segment.add(header);
      at += header.bytes;
    }
    if (at > 0) continue;
    if (want < kBatchHeaderBytes)
      return damaged(segment, segment.bytes, "a piece of a record batch at the end");
    // One batch larger than the buffer; follows() bounded it by the segment.
    buffer.resize(load_batch_header(buffer.data()).bytes);
  }
  return {};
}

bool load_index(io::Files& files, Segment& segment, std::uint64_t bytes) {
  const std::string path = segment.path(".index");
  const auto exists = files.exists(path);
  if (!exists || !*exists) return false;
  const auto handle = files.open(path, {});
  if (!handle) return false;
  std::array<std::byte, kIndexFileBytesMax> buffer;
  const auto got = files.read(*handle, 0, buffer);
  files.close(*handle);
  if (!got) return false;
  IndexFile header;
  std::array<IndexEntry, kIndexEntriesMax> room;
  const auto entries = decode_index_file(ByteView(buffer).first(*got), segment.base, header, room);
  if (!entries) return false;

  segment.index.restore(*entries, header.interval_bytes, bytes);
  if (header.covered_bytes <= bytes) {
    segment.bytes = header.covered_bytes;
    segment.next = header.next_offset;
    segment.max_timestamp = header.max_timestamp;
  } else if (!segment.index.entries().empty()) {
    // Written after the checkpoint: good up to its last entry below the checkpoint's end.
    const IndexEntry& last = segment.index.entries().back();
    segment.bytes = last.position;
    segment.next = segment.base + last.offset_delta;
    segment.max_timestamp = last.max_timestamp_before;
  } else {
    return false;
  }
  segment.epoch_min = header.epoch_min;
  segment.epoch_max = header.epoch_max;
  segment.index_saved_bytes = segment.bytes;
  return header.covered_bytes == bytes;
}

}  // namespace esc::store
