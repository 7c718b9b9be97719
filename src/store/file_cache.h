// Open segment files of one core: opened on demand, kept in least-recently-used order, closed beyond a
// limit. A file that is pinned (an operation is using it) or kept (written since its last sync) is
// never closed.
//
// Threading: one core. Ownership: entries live in segments; slots for open and close in the cache.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "esc/base/ids.h"
#include "esc/base/intrusive_list.h"
#include "esc/io/disk.h"
#include "esc/store/partition_log.h"
#include "esc/store/resources.h"

namespace esc::store {

inline constexpr std::size_t kDirectoryBytesMax = 1000;
inline constexpr std::size_t kPathBytesMax = 1040;

// Segments that a compaction has written carry a number, so that they lie beside what they replace.
struct SegmentName {
  Offset base;
  std::uint32_t generation = 0;  // 0: as it was appended
  auto operator<=>(const SegmentName&) const = default;
};

// `<directory>/<base offset, 20 digits>[.<generation>]<suffix>` into `into` (kPathBytesMax), NUL-terminated.
void format_segment_path(char* into, const std::string& directory, SegmentName name, const char* suffix);
[[nodiscard]] std::string segment_path(const std::string& directory, SegmentName name, const char* suffix);

class FileCache;

struct CachedFile : ListNode<CachedFile> {
  enum class State : std::uint8_t { closed, opening, open, closing };
  CachedFile(const std::string& in_directory, SegmentName file_name)
      : directory(in_directory), name(file_name) {}

  const std::string& directory;  // the log's, which outlives its segments
  const SegmentName name;
  io::FileHandle handle{};
  State state = State::closed;
  bool create = false;   // open with create; cleared when it exists
  bool existed = false;  // create met an old file of the same name, contents and size unknown
  bool kept = false;
  std::uint32_t pins = 0;
  detail::FileWaiter* waiters = nullptr;  // for state open, in order
  detail::FileWaiter* closer = nullptr;   // waits for state closed
  CachedFile* next_turn = nullptr;        // in the queue for a slot
};

class FileCache {
 public:
  FileCache(io::Disk& disk, io::Files* files, const ResourceLimits& limits, ResourceStats& stats);

  // True: the file is open and pinned. False: `waiter.ready` will be called, pinned when its error is ok.
  [[nodiscard]] bool acquire(CachedFile& file, detail::FileWaiter& waiter);
  void release(CachedFile& file);
  // Kept files stay open until they are no longer kept.
  void keep(CachedFile& file, bool kept);
  // Closes an unpinned file nobody waits for. True: it is closed already; else `waiter.ready` is called.
  [[nodiscard]] bool close(CachedFile& file, detail::FileWaiter& waiter);
  // The file's segment is being destroyed with its log: closes at once, blocking.
  void forget(CachedFile& file);

 private:
  struct Slot {
    io::DiskOp op{};
    FileCache* cache = nullptr;
    CachedFile* file = nullptr;
    Slot* next = nullptr;
    char path[kPathBytesMax]{};
  };
  void take_turn(CachedFile& file);
  void start(Slot& slot, CachedFile& file);
  void submit_open(Slot& slot, bool exclusive);
  void on_done(Slot& slot);
  void opened(CachedFile& file, Errc error, int os_error);
  void closed(CachedFile& file);
  void trim();

  io::Disk& disk_;
  io::Files* files_;
  std::uint32_t open_files_max_;
  ResourceStats& stats_;
  std::unique_ptr<Slot[]> slots_;
  Slot* free_ = nullptr;
  std::uint32_t slots_busy_ = 0;
  CachedFile* turn_first_ = nullptr;
  CachedFile* turn_last_ = nullptr;
  IntrusiveList<CachedFile> lru_;  // open, unpinned, not kept; the oldest first
};

}  // namespace esc::store
