#include "esc/sim/disk.h"

namespace esc::sim {
namespace {

using Kind = io::DiskOp::Kind;

std::unexpected<Error> failure(int os_error, const char* what, const std::string& path) {
  return fail(errc_from_errno(os_error),
              std::string(what) + " " + path + ": error " + std::to_string(os_error));
}

Status status(int os_error, const char* what, const std::string& path) {
  if (os_error != 0) return failure(os_error, what, path);
  return {};
}

}  // namespace

Result<std::vector<io::DirectoryEntry>> SimFiles::list(const std::string& directory) {
  std::vector<io::DirectoryEntry> entries;
  if (const int error = file_system_.list(directory, entries); error != 0)
    return failure(error, "cannot list", directory);
  return entries;
}

Status SimFiles::make_directories(const std::string& path) {
  for (std::size_t slash = path.find('/', 1); slash != std::string::npos; slash = path.find('/', slash + 1))
    if (const int error = file_system_.make_directory(path.substr(0, slash)); error != 0)
      return failure(error, "cannot create", path);
  return status(file_system_.make_directory(path), "cannot create", path);
}

Result<io::FileHandle> SimFiles::open(const std::string& path, io::OpenFlags flags) {
  io::FileHandle file;
  int error = file_system_.fault_for(Kind::open, path);
  if (error == 0) error = file_system_.open(path, flags, file.fd);
  if (error != 0) return failure(error, "cannot open", path);
  return file;
}

Result<std::uint64_t> SimFiles::size(io::FileHandle file) {
  std::uint64_t bytes = 0;
  if (const int error = file_system_.size(file.fd, bytes); error != 0)
    return failure(error, "cannot size", file_system_.path_of(file.fd));
  return bytes;
}

Result<std::uint64_t> SimFiles::read(io::FileHandle file, std::uint64_t offset, ByteSpan into) {
  const std::string& path = file_system_.path_of(file.fd);
  std::uint64_t transferred = 0;
  int error = file_system_.fault_for(Kind::read, path);
  if (error == 0) error = file_system_.read(file.fd, offset, into, transferred);
  if (error != 0) return failure(error, "cannot read", path);
  return transferred;
}

Status SimFiles::write(io::FileHandle file, std::uint64_t offset, ByteView from) {
  const std::string& path = file_system_.path_of(file.fd);
  int error = file_system_.fault_for(Kind::write, path);
  if (error == 0) error = file_system_.write(file.fd, offset, from);
  return status(error, "cannot write", path);
}

Status SimFiles::truncate(io::FileHandle file, std::uint64_t bytes) {
  return status(file_system_.truncate(file.fd, bytes), "cannot truncate", file_system_.path_of(file.fd));
}

Status SimFiles::sync(io::FileHandle file) {
  const std::string& path = file_system_.path_of(file.fd);
  int error = file_system_.fault_for(Kind::sync_data, path);
  if (error == 0) error = file_system_.sync(file.fd);
  return status(error, "cannot sync", path);
}

Status SimFiles::sync_directory(const std::string& path) {
  int error = file_system_.fault_for(Kind::sync_dir, path);
  if (error == 0) error = file_system_.sync_directory(path);
  return status(error, "cannot sync", path);
}

Status SimFiles::rename(const std::string& from, const std::string& to) {
  int error = file_system_.fault_for(Kind::rename, from);
  if (error == 0) error = file_system_.rename(from, to);
  return status(error, "cannot rename", from);
}

Status SimFiles::remove(const std::string& path) {
  int error = file_system_.fault_for(Kind::remove, path);
  if (error == 0) error = file_system_.remove(path);
  return status(error, "cannot remove", path);
}

}  // namespace esc::sim
