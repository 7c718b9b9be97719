#include "esc/io/posix_files.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>

#include "esc/base/assert.h"
#include "open_flags.h"

namespace esc::io {

namespace {

std::unexpected<Error> system_failure(int error, const std::string& action, const std::string& path) {
  std::string message = action + " " + path + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) message += " (free space on this filesystem)";
  if (error == EACCES || error == EPERM)
    message += " (check the owner and mode of the path and its directories)";
  if (error == EMFILE || error == ENFILE) message += " (raise RLIMIT_NOFILE)";
  return fail(errc_from_errno(error), std::move(message));
}

// For messages: the name behind a descriptor.
std::string path_of(FileHandle file) {
  const std::string link = "/proc/self/fd/" + std::to_string(file.fd);
  std::array<char, PATH_MAX> target;
  const ssize_t length = ::readlink(link.c_str(), target.data(), target.size());
  return length < 0 ? "file descriptor " + std::to_string(file.fd)
                    : std::string(target.data(), static_cast<std::size_t>(length));
}

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<DirectoryEntry> describe(int directory, const std::string& directory_path, const char* name) {
  struct stat info{};
  if (::fstatat(directory, name, &info, 0) != 0) {
    return system_failure(errno, "cannot inspect", directory_path + "/" + name);
  }
  return DirectoryEntry{
      .name = name, .bytes = static_cast<std::uint64_t>(info.st_size), .is_directory = S_ISDIR(info.st_mode)};
}

}  // namespace

Result<std::vector<DirectoryEntry>> PosixFiles::list(const std::string& directory) {
  DIR* const stream = ::opendir(directory.c_str());
  if (stream == nullptr) return system_failure(errno, "cannot list", directory);
  std::vector<DirectoryEntry> entries;
  while (true) {
    errno = 0;
    const dirent* const found = ::readdir(stream);
    if (found == nullptr) break;
    if (std::strcmp(found->d_name, ".") == 0 || std::strcmp(found->d_name, "..") == 0) continue;
    Result<DirectoryEntry> entry = describe(::dirfd(stream), directory, found->d_name);
    if (!entry && entry.error().code == Errc::not_found) continue;  // removed meanwhile, or a dangling link
    if (!entry) {
      ::closedir(stream);
      return std::unexpected(std::move(entry.error()));
    }
    entries.push_back(std::move(*entry));
  }
  const int error = errno;
  ::closedir(stream);
  if (error != 0) return system_failure(error, "cannot list", directory);
  std::ranges::sort(entries, {}, &DirectoryEntry::name);
  return entries;
}

// Each new level is synced into its parent: a directory that vanishes in a crash takes its files along.
Status PosixFiles::make_directories(const std::string& path) {
  if (path.empty()) return fail(Errc::invalid_argument, "cannot create a directory with an empty name");
  std::size_t end = 0;
  while (end != std::string::npos) {
    end = path.find('/', end + 1);
    const std::string prefix = path.substr(0, end);
    if (prefix.empty() || prefix.back() == '/') continue;  // the root, doubled or trailing slashes
    if (::mkdir(prefix.c_str(), kDirectoryMode) == 0) {
      if (Status synced = sync_directory(parent_of(prefix)); !synced) return synced;
      continue;
    }
    int error = errno;
    struct stat info{};
    if (::stat(prefix.c_str(), &info) == 0) {
      if (S_ISDIR(info.st_mode)) continue;
      error = ENOTDIR;
    }
    return system_failure(error, "cannot create directory", prefix);
  }
  return {};
}

Result<FileHandle> PosixFiles::open(const std::string& path, OpenFlags flags) {
  const int fd = ::open(path.c_str(), posix_open_flags(flags), kFileMode);
  if (fd >= 0) return FileHandle{fd};
  if (errno == EINVAL && (flags.direct || flags.direct_dsync)) {
    return fail(Errc::unsupported,
                "cannot open " + path +
                    " with O_DIRECT: its filesystem does not support direct I/O; use ext4 or XFS");
  }
  return system_failure(errno, "cannot open", path);
}

void PosixFiles::close(FileHandle file) {
  ESC_ASSERT(file.valid());
  (void)::close(file.fd);  // what had to be durable was synced, with its error reported there
}

Result<std::uint64_t> PosixFiles::size(FileHandle file) {
  struct stat info{};
  if (::fstat(file.fd, &info) != 0) return system_failure(errno, "cannot inspect", path_of(file));
  return static_cast<std::uint64_t>(info.st_size);
}

Result<std::uint64_t> PosixFiles::read(FileHandle file, std::uint64_t offset, ByteSpan into) {
  std::uint64_t done = 0;
  while (done < into.size()) {
    const ssize_t count =
        ::pread(file.fd, into.data() + done, into.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;
    // A direct read stops between sectors only at the end, and going on from there is EINVAL.
    if (count < 0 && errno == EINVAL && done > 0 && !is_aligned(offset + done, 512)) break;
    if (count < 0) return system_failure(errno, "cannot read", path_of(file));
    if (count == 0) break;
    done += static_cast<std::uint64_t>(count);
  }
  return done;
}

Status PosixFiles::write(FileHandle file, std::uint64_t offset, ByteView from) {
  std::uint64_t done = 0;
  while (done < from.size()) {
    const ssize_t count =
        ::pwrite(file.fd, from.data() + done, from.size() - done, static_cast<off_t>(offset + done));
    if (count < 0 && errno == EINTR) continue;  // nothing was written; not a failed write
    if (count <= 0) return system_failure(count < 0 ? errno : EIO, "cannot write", path_of(file));
    done += static_cast<std::uint64_t>(count);
  }
  return {};
}

Status PosixFiles::truncate(FileHandle file, std::uint64_t bytes) {
  if (::ftruncate(file.fd, static_cast<off_t>(bytes)) != 0)
    return system_failure(errno, "cannot truncate", path_of(file));
  return {};
}

Status PosixFiles::sync(FileHandle file) {
  if (::fsync(file.fd) != 0) return system_failure(errno, "cannot sync", path_of(file));
  return {};
}

Status PosixFiles::sync_directory(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return system_failure(errno, "cannot open directory", path);
  const int error = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  if (error != 0) return system_failure(error, "cannot sync directory", path);
  return {};
}

Status PosixFiles::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0)
    return system_failure(errno, "cannot rename", from + " to " + to);
  return {};
}

Status PosixFiles::remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0) return system_failure(errno, "cannot remove", path);
  return {};
}

Result<bool> PosixFiles::exists(const std::string& path) {
  struct stat info{};
  if (::stat(path.c_str(), &info) == 0) return true;
  if (errno == ENOENT || errno == ENOTDIR) return false;
  return system_failure(errno, "cannot inspect", path);
}

}  // namespace esc::io
