// Contract of the disk: asynchronous operations on files, with intrusive completions that the
// caller owns, and a few blocking helpers for startup and offline tools.
//
// Two implementations: the io_uring loop (`UringLoop`) and the simulated disk used by tests and the
// simulator. Everything above `io` names only this header.
//
// Threading: a Disk belongs to one core; submit() and every completion happen on it.
// Errors: an operation ends with `error` (Errc) and, for messages, `os_error` (errno).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/result.h"

namespace esc::io {

struct FileHandle {
  int fd = -1;
  [[nodiscard]] bool valid() const { return fd >= 0; }
};

// How a file is opened. `direct` is O_DIRECT, `direct_dsync` O_DIRECT|O_DSYNC: every buffer, offset and
// length is a multiple of kBlockBytes, and a completed write is on stable storage.
struct OpenFlags {
  bool write = false;
  bool create = false;     // create when missing (mode 0640)
  bool exclusive = false;  // with create: fail when it exists
  bool direct = false;
  bool random = false;  // no read-ahead: the kernel reads what is asked for, and nothing besides
  bool direct_dsync = false;
};

// One asynchronous operation. The caller owns it, and everything it points to, until `done` runs.
// `done` runs on the owning core, from the loop, never from inside submit(); it may submit again,
// reusing the same object.
struct DiskOp {
  enum class Kind : std::uint8_t {
    open,        // path, flags -> file
    close,       // file
    read,        // file, offset, buffer -> transferred (< size only at end of file)
    write,       // file, offset, buffer or pieces; all bytes or an error
    sync_data,   // file: fdatasync
    sync_range,  // file, offset, length: starts write-back of dirty pages, a hint, not durability
    truncate,    // file, length
    punch,       // file, offset, length: the range's space is free again and reads as zeroes
    rename,      // path -> path2
    remove,      // path (a file)
    make_dir,    // path; an existing directory is success
    sync_dir,    // path: fsync of a directory, makes create, rename and remove durable
  };
  using Done = void (*)(DiskOp&);

  Kind kind = Kind::read;
  OpenFlags flags{};
  FileHandle file{};
  std::uint64_t offset = 0;
  std::uint64_t length = 0;
  bool uncached = false;                   // write: leave the page cache as soon as written back (a hint,
                                           // cleared where the kernel knows no such thing)
  ByteSpan buffer{};                       // read target, or write source (not modified)
  std::span<const struct iovec> pieces{};  // write source when buffer is empty; at most IOV_MAX
  const char* path = nullptr;              // NUL-terminated
  const char* path2 = nullptr;
  Done done = nullptr;
  void* context = nullptr;  // for the caller

  // Results, valid in `done`.
  Errc error = Errc::ok;
  int os_error = 0;
  std::uint64_t transferred = 0;

  // Private to the implementation while in flight.
  std::uint64_t progress = 0;
  DiskOp* next = nullptr;
  bool in_flight = false;
};

class Disk {
 public:
  virtual ~Disk() = default;
  // Queues the operation. Never fails synchronously, never blocks. Short transfers are continued
  // by the implementation. Operations on the same file may complete in any order.
  virtual void submit(DiskOp& op) = 0;
  // Startup only: memory from which O_DIRECT writes will come, so that the kernel can pin it once.
  // A hint; may fail silently when locked memory is limited.
  virtual void register_memory(ByteSpan region) = 0;
};

struct DirectoryEntry {
  std::string name;  // without the directory
  std::uint64_t bytes = 0;
  bool is_directory = false;
};

// Blocking file access for startup, recovery and offline tools. Never called by a running data core.
// Errors carry a sentence with the path.
class Files {
 public:
  virtual ~Files() = default;
  [[nodiscard]] virtual Result<std::vector<DirectoryEntry>> list(
      const std::string& directory) = 0;  // sorted by name
  [[nodiscard]] virtual Status make_directories(const std::string& path) = 0;
  [[nodiscard]] virtual Result<FileHandle> open(const std::string& path, OpenFlags flags) = 0;
  virtual void close(FileHandle file) = 0;
  [[nodiscard]] virtual Result<std::uint64_t> size(FileHandle file) = 0;
  // Bytes read; fewer than asked only at end of file.
  [[nodiscard]] virtual Result<std::uint64_t> read(FileHandle file, std::uint64_t offset, ByteSpan into) = 0;
  [[nodiscard]] virtual Status write(FileHandle file, std::uint64_t offset, ByteView from) = 0;
  [[nodiscard]] virtual Status truncate(FileHandle file, std::uint64_t bytes) = 0;
  [[nodiscard]] virtual Status sync(FileHandle file) = 0;
  [[nodiscard]] virtual Status sync_directory(const std::string& path) = 0;
  [[nodiscard]] virtual Status rename(const std::string& from, const std::string& to) = 0;
  [[nodiscard]] virtual Status remove(const std::string& path) = 0;
  [[nodiscard]] virtual Result<bool> exists(const std::string& path) = 0;
};

// Temporary name, write, sync, rename, sync of the directory: after success the file has the new
// contents for good, after a crash either the old or the new ones. Blocking, like Files.
[[nodiscard]] Status write_file_atomically(Files& files, const std::string& path, ByteView contents);
[[nodiscard]] Result<std::vector<std::byte>> read_whole_file(Files& files, const std::string& path,
                                                             std::uint64_t bytes_max);

}  // namespace esc::io
