// The simulated disk: asynchronous operations with virtual latency on a SimClock, and the blocking
// helpers, both over one FileSystem.
//
// An operation takes effect when it completes, not before.
// Operations overtake each other, as the contract allows. A crash drops everything in flight: no `done` runs.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/io/disk.h"
#include "esc/sim/clock.h"
#include "esc/sim/file_system.h"

namespace esc::sim {

struct DiskLatency {
  Nanos min = 50 * kMicrosecond;
  Nanos max = 400 * kMicrosecond;
};

class SimDisk final : public io::Disk {
 public:
  SimDisk(SimClock& clock, FileSystem& file_system, Prng prng, DiskLatency latency = {});
  ~SimDisk() override;

  void submit(io::DiskOp& op) override;
  void register_memory(ByteSpan) override {}

  // Nothing completes before `until`; with `path_part`, nothing of files whose path contains it.
  void stall_until(Nanos until, std::string path_part = {}) {
    stalled_until_ = until;
    stalled_part_ = std::move(path_part);
  }
  // The first half of crash(), for a host with several disks over one file system: interrupted writes are
  // handed to the file system. Owners of operations may be destroyed afterwards.
  void interrupt(CrashKind kind);
  // Cuts power or kills the process: interrupt(), then the file system crashes.
  void crash(CrashKind kind);
  // Finished operations go there, in place of their own `done`: a loop calls it when its turn comes.
  void set_deliver(std::function<void(io::DiskOp&)> deliver) { deliver_ = std::move(deliver); }
  [[nodiscard]] std::size_t in_flight() const { return in_flight_.size(); }
  [[nodiscard]] std::uint64_t completed() const { return completed_; }

 private:
  struct InFlight {
    io::DiskOp* op = nullptr;
    bool write = false;
    int fd = -1;
    std::uint64_t offset = 0;
    std::vector<std::byte> bytes;  // of a write: the caller may be gone when it is interrupted
  };
  void complete(std::uint64_t id);
  int perform(io::DiskOp& op, ByteView bytes);

  SimClock& clock_;
  FileSystem& file_system_;
  Prng prng_;
  DiskLatency latency_;
  Nanos stalled_until_ = 0;
  std::string stalled_part_;
  std::uint64_t next_id_ = 1;
  std::uint64_t completed_ = 0;
  std::map<std::uint64_t, InFlight> in_flight_;
  std::function<void(io::DiskOp&)> deliver_;
  // Events outlive a crash and the disk; they look here first.
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class SimFiles final : public io::Files {
 public:
  explicit SimFiles(FileSystem& file_system) : file_system_(file_system) {}
  Result<std::vector<io::DirectoryEntry>> list(const std::string& directory) override;
  Status make_directories(const std::string& path) override;
  Result<io::FileHandle> open(const std::string& path, io::OpenFlags flags) override;
  void close(io::FileHandle file) override { (void)file_system_.close(file.fd); }
  Result<std::uint64_t> size(io::FileHandle file) override;
  Result<std::uint64_t> read(io::FileHandle file, std::uint64_t offset, ByteSpan into) override;
  Status write(io::FileHandle file, std::uint64_t offset, ByteView from) override;
  Status truncate(io::FileHandle file, std::uint64_t bytes) override;
  Status sync(io::FileHandle file) override;
  Status sync_directory(const std::string& path) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Result<bool> exists(const std::string& path) override { return file_system_.exists(path); }

 private:
  FileSystem& file_system_;
};

}  // namespace esc::sim
