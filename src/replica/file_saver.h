// Writes a whole file atomically without blocking its core: temporary name, sync, rename, sync of the
// directory. One at a time. A file under the temporary name is what a process that died has left.
//
// Threading: one core. Errors: the first one, at the end; a failed write or sync is not retried here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "esc/base/result.h"
#include "esc/io/disk.h"

namespace esc::replica {

class FileSaver {
 public:
  explicit FileSaver(io::Disk& disk) : disk_(disk) {}
  FileSaver(const FileSaver&) = delete;
  FileSaver& operator=(const FileSaver&) = delete;

  enum class Step : std::uint8_t { open, write, truncate, sync, close, rename, sync_directory };

  [[nodiscard]] bool idle() const { return !busy_; }
  // What save() writes, to be put here before; keeps its capacity. Only when idle().
  [[nodiscard]] std::vector<std::byte>& contents() { return contents_; }
  // Only when idle(). `done` runs from the loop; after success the file has the new contents for good.
  void save(const std::string& directory, std::string_view name, void (*done)(void* context, Errc),
            void* context);
  // The last one taken; after a failure the one at which it was given up.
  [[nodiscard]] Step step() const { return step_; }

 private:
  void submit(Step step);
  void on_step_done();
  void finish(Errc code);

  io::Disk& disk_;
  bool busy_ = false;
  Step step_ = Step::open;
  Errc error_ = Errc::ok;
  io::DiskOp op_;
  io::FileHandle file_;
  std::string directory_;
  std::string path_;
  std::string temporary_;
  std::vector<std::byte> contents_;
  void (*done_)(void* context, Errc) = nullptr;
  void* context_ = nullptr;
};

}  // namespace esc::replica
