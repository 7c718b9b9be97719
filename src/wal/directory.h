// The files of one log's directory: names, blocking creation, and reading them for recovery.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "esc/base/result.h"
#include "esc/io/disk.h"
#include "esc/logfmt/frame.h"
#include "esc/logfmt/scan.h"

namespace esc::wal {

inline constexpr std::string_view kTemporarySuffix = ".tmp";

// "wal-00000017.seg"
[[nodiscard]] std::string segment_name(std::uint64_t number);
[[nodiscard]] std::optional<std::uint64_t> segment_number(std::string_view name);

struct SegmentPath {
  std::string name;
  std::string path;
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
};
// Segment files by number, and the temporary files that an interrupted creation left behind.
struct DirectoryListing {
  std::vector<SegmentPath> segments;
  std::vector<std::string> temporaries;  // paths
};
[[nodiscard]] Result<DirectoryListing> list_segments(io::Files& files, const std::string& directory);

// A zero-written file with its header block, synced, renamed into place, directory synced.
// On failure the temporary file is removed.
[[nodiscard]] Status create_segment(io::Files& files, const std::string& directory,
                                    logfmt::SegmentHeader header);

// A segment file opened for reading.
class FileSource final : public logfmt::SegmentSource {
 public:
  [[nodiscard]] static Result<std::unique_ptr<FileSource>> open(io::Files& files, const std::string& path);
  ~FileSource() override { files_.close(file_); }
  FileSource(const FileSource&) = delete;
  FileSource& operator=(const FileSource&) = delete;
  Result<std::uint64_t> read(std::uint64_t offset, ByteSpan into) override {
    return files_.read(file_, offset, into);
  }

 private:
  FileSource(io::Files& files, io::FileHandle file) : files_(files), file_(file) {}
  io::Files& files_;
  io::FileHandle file_;
};

}  // namespace esc::wal
