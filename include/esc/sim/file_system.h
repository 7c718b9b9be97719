// A file system in memory that knows what a crash leaves behind. SimDisk and SimFiles are its two doors.
//
// Each file has two images: what readers see, and what is on stable storage. Writes reach the second
// by sync, or at once through a direct_dsync handle. Names (create, rename, remove) become stable when
// their directory is synced, in the order in which they were made, as a journal does it. Directories
// themselves are stable at once.
//
// At a power cut each 512-byte sector of each write that was not stable independently persists, is
// lost, or tears in the middle. Deterministic: every choice comes from the Prng given at construction.
//
// Threading: one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/prng.h"
#include "esc/base/result.h"
#include "esc/io/disk.h"

namespace esc::sim {

inline constexpr std::uint64_t kSectorBytes = 512;

enum class CrashKind : std::uint8_t {
  power,    // unstable writes are scattered, unstable names are cut off
  process,  // SIGKILL: what was written stays visible, but is no more stable than before
};

// One planned failure: operations of `kind` on paths that contain `path_part` fail with `os_error`,
// after `skip` of them succeeded, `count` times.
struct Fault {
  io::DiskOp::Kind kind = io::DiskOp::Kind::write;
  std::string path_part;
  int os_error = 5;  // EIO
  std::uint64_t skip = 0;
  std::uint64_t count = UINT64_MAX;
};

class FileSystem {
 public:
  explicit FileSystem(Prng prng);
  ~FileSystem();
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  // --- what goes wrong ---
  void inject(Fault fault) { faults_.push_back(std::move(fault)); }
  void clear_faults() { faults_.clear(); }
  // Every operation after the next `operations` fails with EIO, until mend(): the moment of a crash in code
  // that cannot be left from outside.
  void break_after(std::uint64_t operations) { fuse_ = operations; }
  [[nodiscard]] bool broken() const { return fuse_ == 0; }
  void mend() { fuse_ = UINT64_MAX; }
  // Operations begun so far.
  [[nodiscard]] std::uint64_t operations() const { return operations_; }
  // ENOSPC once the files together would exceed this.
  void set_capacity(std::uint64_t bytes) { capacity_ = bytes; }
  [[nodiscard]] std::uint64_t used_bytes() const;
  [[nodiscard]] std::size_t open_handles() const { return handles_.size(); }
  // Bit rot: flips bits of one stable byte. Fails the assertion when the file is shorter.
  void corrupt(const std::string& path, std::uint64_t offset, std::uint8_t xor_mask);
  // All handles become invalid.
  void crash(CrashKind kind);
  // Another, empty disk in the place of this one. Only when nothing is open.
  void wipe();
  // As file systems without O_DIRECT: opening direct_dsync fails with EINVAL.
  void refuse_direct(bool refuse) { refuse_direct_ = refuse; }

  // --- operations, used by SimDisk and SimFiles; errno or 0 ---
  // Consumes a planned fault that matches.
  [[nodiscard]] int fault_for(io::DiskOp::Kind kind, const std::string& path);
  [[nodiscard]] int open(const std::string& path, io::OpenFlags flags, int& fd);
  int close(int fd);
  [[nodiscard]] const std::string& path_of(int fd) const;
  [[nodiscard]] bool is_direct(int fd) const;
  [[nodiscard]] int read(int fd, std::uint64_t offset, ByteSpan into, std::uint64_t& transferred) const;
  [[nodiscard]] int write(int fd, std::uint64_t offset, ByteView bytes);
  // A direct write that the cut interrupted: what of it reaches the platter is left to chance.
  void write_interrupted(int fd, std::uint64_t offset, ByteView bytes, CrashKind kind);
  [[nodiscard]] int truncate(int fd, std::uint64_t bytes);
  [[nodiscard]] int punch(int fd, std::uint64_t offset, std::uint64_t length);
  [[nodiscard]] int sync(int fd);
  [[nodiscard]] int size(int fd, std::uint64_t& bytes) const;
  [[nodiscard]] int make_directory(const std::string& path);
  [[nodiscard]] int sync_directory(const std::string& path);
  [[nodiscard]] int rename(const std::string& from, const std::string& to);
  [[nodiscard]] int remove(const std::string& path);
  [[nodiscard]] bool exists(const std::string& path) const;
  [[nodiscard]] int list(const std::string& directory, std::vector<io::DirectoryEntry>& entries) const;

 private:
  // A write or truncation that is not stable yet.
  struct Unstable {
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;
    bool truncation = false;  // to `offset` bytes
  };
  struct Inode {
    std::vector<std::byte> seen;
    std::vector<std::byte> stable;
    std::vector<Unstable> unstable;
  };
  struct Handle {
    std::shared_ptr<Inode> inode;
    std::string path;
    io::OpenFlags flags;
  };
  // A change of names that is not stable yet: `path` now names `inode` (or nothing), `from` no more.
  struct NameChange {
    std::string directory;
    std::string path;
    std::string from;
    std::shared_ptr<Inode> inode;
  };
  using Names = std::map<std::string, std::shared_ptr<Inode>>;

  static void apply(std::vector<std::byte>& image, std::uint64_t offset, ByteView bytes);
  static void apply(Names& names, const NameChange& change);
  void change_names(NameChange change);
  void rename_directory(const std::string& from, const std::string& to);
  void scatter(std::vector<std::byte>& image, const Unstable& write);
  void cut_power(Inode& inode);
  void cut_names();
  [[nodiscard]] const Handle* handle(int fd) const;

  mutable Prng prng_;
  Names names_;
  Names stable_names_;
  std::deque<NameChange> name_changes_;
  std::set<std::string> directories_;
  std::map<int, Handle> handles_;
  int next_fd_ = 1000;
  std::uint64_t capacity_ = UINT64_MAX;
  std::uint64_t fuse_ = UINT64_MAX;
  std::uint64_t operations_ = 0;
  bool refuse_direct_ = false;
  std::vector<Fault> faults_;
};

}  // namespace esc::sim
