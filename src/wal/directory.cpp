#include "directory.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "aligned_memory.h"

namespace esc::wal {
namespace {
constexpr std::string_view kPrefix = "wal-";
constexpr std::string_view kSuffix = ".seg";
constexpr std::uint64_t kZeroChunkBytes = 1 * kMiB;

Status fill_segment(io::Files& files, io::FileHandle file, logfmt::SegmentHeader& header) {
  const AlignedMemory zeros(kZeroChunkBytes);
  for (std::uint64_t at = 0; at < header.segment_bytes; at += kZeroChunkBytes) {
    const std::uint64_t length = std::min(kZeroChunkBytes, header.segment_bytes - at);
    if (Status s = files.write(file, at, ByteView(zeros.data(), length)); !s) return s;
  }
  logfmt::seal_segment_header(zeros.data(), header);
  if (Status s = files.write(file, 0, ByteView(zeros.data(), logfmt::kSegmentHeaderBytes)); !s) return s;
  return files.sync(file);
}

}  // namespace

std::string segment_name(std::uint64_t number) {
  return fmt::format("{}{:08}{}", kPrefix, number, kSuffix);
}

std::optional<std::uint64_t> segment_number(std::string_view name) {
  if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  name.remove_suffix(kSuffix.size());
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size()) return std::nullopt;
  return number;
}

Result<DirectoryListing> list_segments(io::Files& files, const std::string& directory) {
  auto entries = files.list(directory);
  if (!entries) return std::unexpected(entries.error());
  DirectoryListing listing;
  for (const io::DirectoryEntry& entry : *entries) {
    if (entry.is_directory) continue;
    std::string_view name = entry.name;
    const bool temporary = name.ends_with(kTemporarySuffix);
    if (temporary) name.remove_suffix(kTemporarySuffix.size());
    const auto number = segment_number(name);
    if (!number) continue;
    std::string path = directory + "/" + entry.name;
    if (temporary) {
      listing.temporaries.push_back(std::move(path));
    } else {
      listing.segments.push_back({entry.name, std::move(path), *number, entry.bytes});
    }
  }
  std::sort(listing.segments.begin(), listing.segments.end(),
            [](const SegmentPath& a, const SegmentPath& b) { return a.number < b.number; });
  return listing;
}

Status create_segment(io::Files& files, const std::string& directory, logfmt::SegmentHeader header) {
  const std::string path = directory + "/" + segment_name(header.number);
  const std::string temporary = path + std::string(kTemporarySuffix);
  auto file = files.open(temporary, {.write = true, .create = true});
  if (!file) return std::unexpected(file.error());
  const Status filled = fill_segment(files, *file, header);
  files.close(*file);
  if (!filled) {
    // Best effort: a leftover temporary file is removed at the next start.
    (void)files.remove(temporary);
    return filled;
  }
  if (Status s = files.rename(temporary, path); !s) return s;
  return files.sync_directory(directory);
}

Result<std::unique_ptr<FileSource>> FileSource::open(io::Files& files, const std::string& path) {
  auto file = files.open(path, {});
  if (!file) return std::unexpected(file.error());
  return std::unique_ptr<FileSource>(new FileSource(files, *file));
}

}  // namespace esc::wal
