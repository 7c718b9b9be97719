// Arbitrary bytes as the segment files of a log: recovery and the tolerant walk end, read nothing outside,
// and show only payloads whose checksum is right. Checksums are repaired first for half of the inputs,
// or the fuzzer would never get past them.
//
// Input: one byte of flags, then blocks of 4 KiB; every 8 blocks are one file.
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/crc32c.h"
#include "esc/logfmt/entry.h"
#include "esc/logfmt/scan.h"

namespace esc::logfmt {
namespace {

class MemorySource final : public SegmentSource {
 public:
  explicit MemorySource(std::vector<std::byte> bytes) : bytes_(std::move(bytes)) {}
  Result<std::uint64_t> read(std::uint64_t offset, ByteSpan into) override {
    if (offset >= bytes_.size()) return 0;
    const std::uint64_t length = std::min<std::uint64_t>(into.size(), bytes_.size() - offset);
    std::memcpy(into.data(), bytes_.data() + offset, length);
    return length;
  }
  [[nodiscard]] std::uint64_t size() const { return bytes_.size(); }

 private:
  std::vector<std::byte> bytes_;
};

void repair(std::vector<std::byte>& file) {
  for (std::size_t at = 0; at + kBlockBytes <= file.size(); at += kBlockBytes) {
    std::byte* block = file.data() + at;
    if (load_le<std::uint32_t>(block) == kSegmentMagic) {
      SegmentHeader header;
      std::memcpy(&header, block, sizeof header);
      header.segment_bytes = file.size();
      header.header_crc =
          crc32c({reinterpret_cast<const std::byte*>(&header), offsetof(SegmentHeader, header_crc)});
      std::memcpy(block, &header, sizeof header);
    } else if (load_le<std::uint32_t>(block) == kFrameMagic) {
      FrameHeader header;
      std::memcpy(&header, block, sizeof header);
      if (std::uint64_t{header.payload_bytes} + kFrameHeaderBytes <= file.size() - at)
        header.payload_crc = crc32c({block + kFrameHeaderBytes, header.payload_bytes});
      header.header_crc =
          crc32c({reinterpret_cast<const std::byte*>(&header), offsetof(FrameHeader, header_crc)});
      std::memcpy(block, &header, sizeof header);
    }
  }
}

void require(bool condition) {
  if (!condition) std::abort();
}

void walk_entries(ByteView payload) {
  EntryReader reader(payload);
  while (const auto entry = reader.next()) require(entry->body.size() <= payload.size());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kFileBytes = 8 * std::size_t{kBlockBytes};
  if (size < 1 || size > 16 * kFileBytes) return 0;
  const bool repaired = (data[0] & 1) != 0;
  std::vector<std::unique_ptr<MemorySource>> sources;
  std::vector<SegmentFile> files;
  for (std::size_t at = 1; at < size; at += kFileBytes) {
    const auto* first = reinterpret_cast<const std::byte*>(data) + at;
    std::vector<std::byte> bytes(first, first + std::min(kFileBytes, size - at));
    if (repaired) repair(bytes);
    sources.push_back(std::make_unique<MemorySource>(std::move(bytes)));
    files.push_back({"file-" + std::to_string(files.size()), sources.back()->size(), sources.back().get()});
  }
  if (files.empty()) return 0;
  for (const SegmentFile& file : files) {
    SegmentReader reader(*file.source, file.bytes);
    for (;;) {
      const auto found = reader.next();
      require(found.has_value());
      if (!found->has_value()) break;
      if ((*found)->payload_ok) walk_entries((*found)->payload);
    }
  }
  std::uint64_t last_lsn = 0;
  const auto log = recover(files, {.cluster_id = 7, .log_id = 0, .node = NodeId{1}, .group = GroupId{2}},
                           [&last_lsn](const FrameHeader& header, ByteView payload) -> Status {
                             require(last_lsn == 0 || header.lsn == last_lsn + 1);
                             require(payload_matches(header, payload));
                             last_lsn = header.lsn;
                             walk_entries(payload);
                             return {};
                           });
  if (log) {
    require(log->live >= 1 && log->live <= log->segments.size());
    require(log->segments.size() <= files.size());
  } else {
    require(!log.error().message.empty());
  }
  return 0;
}

}  // namespace esc::logfmt
