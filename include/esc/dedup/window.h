// The ids of the records that a partition has committed within its window: slices (generations) by log time,
// the newest in memory, the older ones in files with an index in memory.
//
// A deterministic function of what is committed: time is that of the log entries, limits travel in them.
// Every replica therefore holds the same slices, and files of the same contents.
//
// An id is remembered for exactly `window_ms` after the record that brought it, unless `bytes_max` makes
// the partition forget whole slices earlier, oldest first.
//
// The window does no I/O. A lookup that meets an id in a file asks an EntrySource; whoever owns the window
// writes what take_unflushed() hands out and removes files that forgotten() names.
//
// Threading: one core. Memory: 12 to 24 bytes of index per id in files, 24 more for those of the slice
// being filled.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "esc/base/byte_codec.h"
#include "esc/base/result.h"
#include "esc/dedup/generation.h"

namespace esc::dedup {

// What one id costs against bytes_max: its entry in memory or file, and its share of the index.
inline constexpr std::uint64_t kBytesPerId = 40;
inline constexpr std::uint64_t kBytesMin = 1 * kMiB;

struct Limits {
  std::int64_t window_ms = 0;
  std::uint64_t bytes_max = 256 * kMiB;
  bool operator==(const Limits&) const = default;
};

// An entry that lies in a file.
struct Place {
  std::uint64_t generation = 0;  // serial
  std::uint32_t position = 0;
  auto operator<=>(const Place&) const = default;
};

class EntrySource {
 public:
  virtual ~EntrySource() = default;
  // Null: not known yet, ask again later. Valid until the next call.
  virtual const Entry* read(Place place) = 0;
};

struct Found {
  enum class State : std::uint8_t { absent, duplicate, unknown };
  State state = State::absent;
  Offset original{-1};  // of a duplicate
};

class Window {
 public:
  // --- lookup, by a leader ---------------------------------------------------------------------

  void prefetch(Id id) const {
    for (const auto& generation : generations_) generation->prefetch(id);
  }
  // As of log time `now`: an earlier value than that of the last commit counts as that. unknown: the source
  // did not have the entry yet.
  [[nodiscard]] Found find(Id id, WallMs now, const Limits& limits, EntrySource& source) const;

  // --- commit, on every replica ----------------------------------------------------------------

  // Once per entry of the log, before its ids: moves time on, forgets what has left the window.
  void begin(WallMs time, const Limits& limits);
  void prefetch_for_insert(Id id) const {
    if (!generations_.empty()) generations_.back()->prefetch_for_insert(id);
  }
  void insert(Id id, Offset offset);
  // Forgets everything: the partition is gone.
  void clear();

  // --- state -----------------------------------------------------------------------------------

  [[nodiscard]] bool empty() const { return generations_.empty(); }
  [[nodiscard]] std::uint64_t ids() const { return ids_; }
  [[nodiscard]] std::size_t generations() const { return generations_.size(); }
  [[nodiscard]] std::uint64_t memory_bytes() const;
  [[nodiscard]] std::uint64_t expired() const {
    return expired_;
  }  // ids forgotten at the end of their window
  [[nodiscard]] std::uint64_t evicted() const { return evicted_; }  // before it, for bytes_max

  // What the files lack, which then counts as written; to be durable before what save() says about it is.
  // Sealed slices leave memory with drop_flushed().
  [[nodiscard]] std::vector<Unflushed> take_unflushed();
  void drop_flushed();
  // Serials of slices that no longer exist here since the last call.
  [[nodiscard]] std::vector<std::uint64_t> take_forgotten();
  // Serials of those that do.
  [[nodiscard]] std::vector<std::uint64_t> live() const;

  // After take_unflushed() only. The bytes do not hold the ids: those are in the files.
  void save(std::vector<std::byte>& out) const;
  // Into an empty window; load_entries() then takes the contents of each of files(), in order.
  [[nodiscard]] Status load(ByteView state);
  struct File {
    std::uint64_t generation = 0;
    std::uint32_t entries = 0;
    std::uint32_t crc = 0;
  };
  [[nodiscard]] const std::vector<File>& files() const { return files_; }
  // `bytes`: whole entries, in order; may be a part.
  void load_entries(std::uint64_t generation, ByteView bytes);
  // False: not what save() has seen.
  [[nodiscard]] bool finish_loading(std::uint64_t generation);
  // The same from bytes of another node: only what the files are.
  [[nodiscard]] static Result<std::vector<File>> files_of(ByteView state);

 private:
  [[nodiscard]] std::int64_t slice_ms() const;
  [[nodiscard]] std::uint32_t slice_entries_max() const;
  void forget_oldest();
  [[nodiscard]] Generation* find_generation(std::uint64_t serial) const;

  std::vector<std::unique_ptr<Generation>> generations_;  // oldest first; the last is being filled
  Limits limits_;
  WallMs time_ = 0;
  std::uint64_t ids_ = 0;
  std::uint64_t next_serial_ = 1;
  std::uint64_t expired_ = 0;
  std::uint64_t evicted_ = 0;
  std::vector<std::uint64_t> forgotten_;
  std::vector<File> files_;  // while loading
};

}  // namespace esc::dedup
