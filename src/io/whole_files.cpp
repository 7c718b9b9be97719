// Whole-file helpers over any Files; see esc/io/disk.h.
#include "esc/io/disk.h"

namespace esc::io {

namespace {

constexpr const char* kTemporarySuffix = ".tmp";

// Closes on every way out.
class OpenFile {
 public:
  OpenFile(Files& files, FileHandle file) : files_(files), file_(file) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { files_.close(file_); }
  [[nodiscard]] FileHandle handle() const { return file_; }

 private:
  Files& files_;
  FileHandle file_;
};

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status write_new_file(Files& files, const std::string& path, ByteView contents) {
  Result<FileHandle> opened = files.open(path, {.write = true, .create = true});
  if (!opened) return std::unexpected(std::move(opened.error()));
  const OpenFile file(files, *opened);
  // A leftover of an earlier crash may be longer than the new contents.
  if (Status status = files.truncate(file.handle(), 0); !status) return status;
  if (Status status = files.write(file.handle(), 0, contents); !status) return status;
  return files.sync(file.handle());
}

}  // namespace

Status write_file_atomically(Files& files, const std::string& path, ByteView contents) {
  const std::string temporary = path + kTemporarySuffix;
  if (Status status = write_new_file(files, temporary, contents); !status) {
    (void)files.remove(temporary);  // the first error is the one to report
    return status;
  }
  if (Status status = files.rename(temporary, path); !status) {
    (void)files.remove(temporary);
    return status;
  }
  return files.sync_directory(directory_of(path));
}

Result<std::vector<std::byte>> read_whole_file(Files& files, const std::string& path,
                                               std::uint64_t bytes_max) {
  Result<FileHandle> opened = files.open(path, {});
  if (!opened) return std::unexpected(std::move(opened.error()));
  const OpenFile file(files, *opened);
  const Result<std::uint64_t> size = files.size(file.handle());
  if (!size) return std::unexpected(size.error());
  if (*size > bytes_max) {
    return fail(Errc::too_large, path + " has " + std::to_string(*size) + " bytes, more than the " +
                                     std::to_string(bytes_max) + " that this kind of file may have");
  }
  std::vector<std::byte> contents(*size);
  const Result<std::uint64_t> read = files.read(file.handle(), 0, contents);
  if (!read) return std::unexpected(read.error());
  contents.resize(*read);
  return contents;
}

}  // namespace esc::io
