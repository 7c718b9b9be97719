// The files of event ids: <group>/ids/<partition>-<slice>.ids, one per slice of a partition's window.
//
// A file only grows, 24 bytes per id, in order of arrival, without a header: the checkpoint that names it
// says how many of its ids count and what their checksum is. Written before each checkpoint, read to tell a
// duplicate from an id that looks like it, removed when no checkpoint names it any more. docs/formats/ids.md.
//
// Threading: the group's core; the static functions block and are for recovery. Memory: 1 MiB of blocks that
// were read last, what waits to be written, what the batch at hand asks for.
#pragma once

#include <sys/uio.h>

#include <array>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "esc/base/ids.h"
#include "esc/dedup/window.h"
#include "esc/io/disk.h"

namespace esc::replica {

class IdFiles {
 public:
  struct Part {
    PartitionId partition;
    dedup::Unflushed what;
  };
  using Done = void (*)(void* context, Errc code);

  IdFiles(io::Disk& disk, std::string directory) : disk_(disk), directory_(std::move(directory)) {
    for (Read& read : reads_) read.owner = this;
  }

  // Nothing is in flight.
  [[nodiscard]] bool idle() const { return !writing_ && !removing_ && reads_in_flight_ == 0; }

  // --- writing -----------------------------------------------------------------------------------

  // Everything given so far becomes durable, then `done`. What an error has kept from it is tried again with
  // the next call. One at a time. Without anything to write `done` runs at once.
  void add(PartitionId partition, dedup::Unflushed what) { parts_.push_back({partition, std::move(what)}); }
  void write(Done done, void* context);
  void remove(PartitionId partition, std::uint64_t generation);

  // --- lookup ------------------------------------------------------------------------------------

  // Null: not read yet; it will be.
  const dedup::Entry* read(PartitionId partition, dedup::Place place);
  // The batch that asked has got its answers, or is given up.
  void settle() { answers_.clear(); }
  // Whether a read failed since the last call.
  [[nodiscard]] Errc take_read_error() { return std::exchange(read_error_, Errc::ok); }
  [[nodiscard]] std::uint64_t blocks_read() const { return blocks_read_; }

  // --- recovery, blocking ------------------------------------------------------------------------

  // Fills a window that has loaded its state.
  [[nodiscard]] Status load(io::Files& files, PartitionId partition, dedup::Window& window) const;
  // Removes what a crash left behind: files for which `named` is false.
  template <class F>
  [[nodiscard]] Status remove_strangers(io::Files& files, F&& named) const {
    auto entries = files.list(directory_);
    if (!entries) return std::unexpected(std::move(entries.error()));
    for (const io::DirectoryEntry& entry : *entries) {
      if (named(entry.name)) continue;
      if (Status status = files.remove(directory_ + "/" + entry.name); !status) return status;
    }
    return {};
  }

  [[nodiscard]] const std::string& directory() const { return directory_; }
  [[nodiscard]] static std::string name(PartitionId partition, std::uint64_t generation) {
    return std::to_string(partition.value()) + "-" + std::to_string(generation) + ".ids";
  }
  [[nodiscard]] std::string path(PartitionId partition, std::uint64_t generation) const {
    return directory_ + "/" + name(partition, generation);
  }

 private:
  static constexpr std::uint32_t kBlockEntries = 680;  // nearly 16 KiB
  static constexpr std::size_t kBlocksMax = 64;
  static constexpr std::size_t kReadsMax = 8;

  struct BlockKey {
    PartitionId partition;
    std::uint64_t generation = 0;
    std::uint32_t block = 0;
    auto operator<=>(const BlockKey&) const = default;
  };
  struct EntryKey {
    PartitionId partition;
    dedup::Place place;
    auto operator<=>(const EntryKey&) const = default;
    [[nodiscard]] BlockKey block() const {
      return {partition, place.generation, place.position / kBlockEntries};
    }
  };
  struct Block {
    BlockKey key;
    std::vector<dedup::Entry> entries;
  };
  enum class Step : std::uint8_t { open, transfer, sync, close, sync_directory };
  struct Read {
    IdFiles* owner = nullptr;
    bool busy = false;
    Step step = Step::open;
    BlockKey key;
    Errc error = Errc::ok;
    std::string path;
    io::DiskOp op;
    std::vector<dedup::Entry> entries;
  };

  [[nodiscard]] bool more_for_this_file() const;
  void write_step(Step step);
  void on_write_step();
  void finish_write(Errc code);
  void remove_next();
  void start_reads();
  void start_read(Read& read, const BlockKey& key);
  void on_read_step(Read& read);
  void finish_read(Read& read);

  io::Disk& disk_;
  std::string directory_;

  std::deque<Part> parts_;
  struct iovec piece_{};
  std::size_t written_ = 0;  // of them: all of the file that is open
  bool writing_ = false;
  Step step_ = Step::open;
  Errc error_ = Errc::ok;
  std::string path_;
  io::DiskOp op_;
  io::FileHandle file_;
  Done done_ = nullptr;
  void* context_ = nullptr;

  std::deque<std::string> removals_;
  bool removing_ = false;
  io::DiskOp remove_op_;

  std::deque<Block> blocks_;  // newest last
  std::map<EntryKey, dedup::Entry> answers_;
  std::map<EntryKey, bool> wanted_;
  std::array<Read, kReadsMax> reads_;
  std::size_t reads_in_flight_ = 0;
  Errc read_error_ = Errc::ok;
  std::uint64_t blocks_read_ = 0;
};

}  // namespace esc::replica
