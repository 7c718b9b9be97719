// Arbitrary bytes as the index file of a segment: decoding ends, reads nothing outside, and accepts only an
// index that survives a round trip and whose lookups stay within the segment. The checksum is repaired
// first, or the fuzzer would never get past it.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "../../src/store/segment_index.h"
#include "esc/base/crc32c.h"

namespace esc::store {
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::byte> file(reinterpret_cast<const std::byte*>(data),
                              reinterpret_cast<const std::byte*>(data) + size);
  IndexFile header;
  std::array<IndexEntry, kIndexEntriesMax> room;
  if (file.size() < kIndexFileHeaderBytes) {
    if (decode_index_file(file, Offset(0), header, room)) std::abort();
    return 0;
  }
  const auto base = Offset(load_le<std::int64_t>(&file[16]));
  const std::size_t entries_bytes = std::size_t{load_le<std::uint32_t>(&file[12])} * sizeof(IndexEntry);
  if (entries_bytes <= file.size() - kIndexFileHeaderBytes) {
    const ByteView all(file);
    const std::uint32_t crc =
        crc32c(all.subspan(kIndexFileHeaderBytes, entries_bytes), crc32c(all.first(64)));
    store_le(&file[64], crc);
  }
  const auto entries = decode_index_file(file, base, header, room);
  if (!entries) return 0;
  std::array<std::byte, kIndexFileBytesMax> again;
  std::array<IndexEntry, kIndexEntriesMax> room_again;
  IndexFile header_again;
  const ByteView encoded = encode_index_file(header, *entries, again);
  if (!decode_index_file(encoded, base, header_again, room_again)) std::abort();
  SegmentIndex index(1024);
  index.restore(*entries, header.interval_bytes, header.covered_bytes);
  for (const IndexEntry& entry : *entries) {
    if (index.floor_offset(entry.offset_delta).offset_delta > entry.offset_delta) std::abort();
    if (index.floor_time(entry.max_timestamp_before).position >= header.covered_bytes) std::abort();
  }
  return 0;
}

}  // namespace esc::store
