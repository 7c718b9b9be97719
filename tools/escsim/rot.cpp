// Bits that flip in a host's files while it is off, and what is demanded of the node afterwards.
#include <algorithm>
#include <cerrno>
#include <utility>

#include "esc/wal/dump.h"
#include "esc/wire/record_batch.h"
#include "host.h"

namespace esc::escsim {
namespace {

constexpr std::uint64_t kLeaderEpochAt = 12;  // in a record batch
constexpr std::uint64_t kFileBytesMax = 16 * kMiB;

struct CoveredFrames final : wal::DumpVisitor {
  struct Frame {
    std::uint64_t lsn = 0;
    std::string path;
    std::uint64_t position = 0;
    std::uint64_t bytes = 0;  // without padding
  };
  void on_segment(const wal::DumpedSegment&) override {}
  void on_frame(const wal::DumpedFrame& frame) override {
    if (frame.state != wal::FrameState::ok) return;
    frames.push_back({frame.header.lsn, frame.segment->path, frame.position,
                      logfmt::kFrameHeaderBytes + frame.header.payload_bytes});
    durable = std::max(durable, frame.header.durable_lsn);
  }
  void on_entry(const wal::DumpedFrame&, const logfmt::EntryView&) override {}
  void on_malformed_entry(const wal::DumpedFrame&, std::size_t) override {}

  std::vector<Frame> frames;
  std::uint64_t durable = 0;
};

}  // namespace

// What no later frame covers is an unfinished write, as far as anybody can tell.
bool Host::flip_in_log(const std::string& directory) {
  sim::SimFiles files(files_);
  CoveredFrames found;
  if (!wal::scan_directory(files, directory, found)) return false;
  std::erase_if(found.frames, [&](const auto& frame) { return frame.lsn > found.durable; });
  if (found.frames.empty()) return false;
  const auto& frame = found.frames[prng_.below(found.frames.size())];
  const std::uint64_t at = frame.position + prng_.below(frame.bytes);
  files_.corrupt(frame.path, at, static_cast<std::uint8_t>(1u << prng_.below(8)));
  world_.trace.event(name_, "a bit flips in frame {} of {}, byte {}", frame.lsn, frame.path, at);
  return true;
}

bool Host::flip_in_file(const std::string& path) {
  sim::SimFiles files(files_);
  const auto bytes = io::read_whole_file(files, path, kFileBytesMax);
  if (!bytes || bytes->empty()) return false;
  const std::uint64_t at = prng_.below(bytes->size());
  files_.corrupt(path, at, static_cast<std::uint8_t>(1u << prng_.below(8)));
  world_.trace.event(name_, "a bit flips in {}, byte {}", path, at);
  return true;
}

// Of all partitions below this directory.
std::vector<std::string> Host::sealed_segments(const std::string& directory) const {
  std::vector<io::DirectoryEntry> partitions;
  std::vector<std::string> sealed;
  if (files_.list(directory, partitions) != 0) return sealed;
  for (const io::DirectoryEntry& partition : partitions) {
    const std::string parent = directory + "/" + partition.name;
    std::vector<io::DirectoryEntry> entries;
    if (!partition.is_directory || files_.list(parent, entries) != 0) continue;
    std::erase_if(entries,
                  [](const auto& entry) { return !entry.name.ends_with(".log") || entry.bytes == 0; });
    for (std::size_t i = 0; i + 1 < entries.size(); ++i) sealed.push_back(parent + "/" + entries[i].name);
  }
  return sealed;
}

bool Host::flip_in_segment(GroupId id, const std::string& directory) {
  const std::vector<std::string> sealed = sealed_segments(directory);
  if (sealed.empty()) return false;
  const std::string& path = sealed[prng_.below(sealed.size())];
  sim::SimFiles files(files_);
  const auto bytes = io::read_whole_file(files, path, kFileBytesMax);
  if (!bytes || bytes->empty()) return false;
  std::uint64_t at = prng_.below(bytes->size());
  const auto mask = static_cast<std::uint8_t>(1u << prng_.below(8));
  // No checksum vouches for a batch's leader epoch.
  std::uint64_t start = 0;
  wire::BatchIterator batches(*bytes);
  for (auto batch = batches.next(); batch && start + batch->bytes().size() <= at; batch = batches.next())
    start += batch->bytes().size();
  if (at - start >= kLeaderEpochAt && at - start < kLeaderEpochAt + 4) at += 4;
  files_.corrupt(path, at, mask);
  latent_ = Latent{id, incarnation(id), path, at, mask, (*bytes)[at] ^ std::byte{mask}, false};
  world_.trace.event(name_, "a bit flips in {}, byte {}", path, at);
  return true;
}

void Host::spoil() {
  if (starting_ || rotten()) return;
  const GroupId id(static_cast<std::uint32_t>(prng_.below(world_.scenario.groups)));
  const std::string directory = directory_of(number_) + "/group-" + std::to_string(id.value());
  const std::vector<std::string> sealed = sealed_segments(directory + "/partitions");
  const bool log = prng_.chance(1, 4);
  if (!log && sealed.empty()) return;
  const std::string path = log ? directory + "/wal" : sealed[prng_.below(sealed.size())];
  latent_ = Latent{.group = id, .incarnation = incarnation(id), .path = path, .unreadable = true};
  arm_unreadable();
  world_.trace.event(name_, "{} cannot be read", path);
}

// Two kinds of errors that mean the same tell whether this process has met it.
void Host::arm_unreadable() {
  files_.clear_faults();
  files_.inject({.kind = io::DiskOp::Kind::read, .path_part = latent_->path, .os_error = EIO, .count = 1});
  files_.inject({.kind = io::DiskOp::Kind::read, .path_part = latent_->path, .os_error = ENODATA});
  latent_->armed = true;
  latent_->met = false;
}

// The disk reads again. Who has met it before may still put his data aside, when the others can spare him.
void Host::calm_unreadable() {
  files_.clear_faults();
  world_.trace.event(name_, "{} can be read again", latent_->path);
  excused_[latent_->group] = latent_->incarnation;
  latent_.reset();
}

// Nobody has reported it. Who has met it a while ago should have.
void Host::judge_unreadable() {
  const bool met = files_.fault_for(io::DiskOp::Kind::read, latent_->path) == ENODATA;
  if (!met) return calm_unreadable();
  if (paused_ || !std::exchange(latent_->met, true)) return;
  world_.model.fail(fmt::format("{}: {} could not be read, and nobody took notice", name_, latent_->path));
}

// A replay may have written the bytes anew, retention may have removed them.
void Host::calm() {
  if (!latent_) return;
  // A start that fails for it is tried again when it can be read.
  if (latent_->unreadable && !running()) {
    latent_->armed = false;
    return files_.clear_faults();
  }
  if (!running() || starting_) return;
  const replica::Group* const owner = group(latent_->group);
  if (owner == nullptr || owner->incarnation() != latent_->incarnation || owner->stats().damage_found > 0)
    return;
  if (latent_->unreadable) return judge_unreadable();
  sim::SimFiles files(files_);
  const auto bytes = io::read_whole_file(files, latent_->path, kFileBytesMax);
  if (bytes && latent_->at < bytes->size() && (*bytes)[latent_->at] == latent_->flipped)
    files_.corrupt(latent_->path, latent_->at, latent_->mask);
  world_.trace.event(name_, "the bit in {} is well again", latent_->path);
  latent_.reset();
}

// Of the damaged group, nothing that this node has promised binds the next life of its data.
void Host::rot() {
  ESC_ASSERT(!running());
  const GroupId id(static_cast<std::uint32_t>(prng_.below(world_.scenario.groups)));
  const std::string directory = directory_of(number_) + "/group-" + std::to_string(id.value());
  const std::uint64_t kind = prng_.below(9);
  if (kind >= 6 && flip_in_segment(id, directory + "/partitions")) return;
  const bool flipped = kind == 0   ? flip_in_file(directory + "/checkpoint")
                       : kind == 1 ? flip_in_file(directory + "/incarnation")
                                   : flip_in_log(directory + "/wal");
  if (!flipped) return;
  rotten_[id] = incarnation(id);
  incarnations_.erase(id);
}

// A damaged group has put its data aside; no other has.
void Host::check_repair(const replica::Group& group) {
  const auto rotten = rotten_.find(group.id());
  const raft::Incarnation known = incarnation(group.id());
  if (latent_ && latent_->group == group.id() && latent_->incarnation != group.incarnation()) {
    world_.trace.event(name_, "group {} has put its data aside, found by a reader", group.id().value());
    promises_.erase(group.id());
    if (latent_->unreadable) files_.clear_faults();
    latent_.reset();
    return;
  }
  const auto excused = excused_.find(group.id());
  if (excused != excused_.end() && excused->second != group.incarnation()) {
    promises_.erase(group.id());
    excused_.erase(excused);
    rotten_.erase(group.id());  // a bit flipped since: put aside with the rest
    return;
  }
  if (rotten == rotten_.end()) {
    if (known != raft::Incarnation(0) && known != group.incarnation())
      world_.model.fail(fmt::format("{}: group {} has another incarnation, although nothing was damaged",
                                    name_, group.id().value()));
    return;
  }
  if (rotten->second == group.incarnation()) {
    world_.model.fail(
        fmt::format("{}: group {} goes on with data that are damaged", name_, group.id().value()));
  }
  world_.trace.event(name_, "group {} has put its data aside", group.id().value());
  promises_.erase(group.id());
  rotten_.erase(rotten);
}

}  // namespace esc::escsim
