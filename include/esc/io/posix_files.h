// Files by plain blocking system calls: startup, recovery and offline tools.
//
// Threading: stateless; any thread. Errors: sentences with the path and the system's reason. A
// failed write or sync is reported once and never retried.
#pragma once

#include "esc/io/disk.h"

namespace esc::io {

class PosixFiles final : public Files {
 public:
  [[nodiscard]] Result<std::vector<DirectoryEntry>> list(const std::string& directory) override;
  [[nodiscard]] Status make_directories(const std::string& path) override;
  [[nodiscard]] Result<FileHandle> open(const std::string& path, OpenFlags flags) override;
  void close(FileHandle file) override;
  [[nodiscard]] Result<std::uint64_t> size(FileHandle file) override;
  [[nodiscard]] Result<std::uint64_t> read(FileHandle file, std::uint64_t offset, ByteSpan into) override;
  [[nodiscard]] Status write(FileHandle file, std::uint64_t offset, ByteView from) override;
  [[nodiscard]] Status truncate(FileHandle file, std::uint64_t bytes) override;
  [[nodiscard]] Status sync(FileHandle file) override;
  [[nodiscard]] Status sync_directory(const std::string& path) override;
  [[nodiscard]] Status rename(const std::string& from, const std::string& to) override;
  [[nodiscard]] Status remove(const std::string& path) override;
  [[nodiscard]] Result<bool> exists(const std::string& path) override;
};

}  // namespace esc::io
