#include "id_files.h"

#include <algorithm>
#include <utility>

#include "esc/base/assert.h"

namespace esc::replica {

// --- writing ---------------------------------------------------------------------------------------

void IdFiles::write(Done done, void* context) {
  ESC_ASSERT(!writing_);
  if (parts_.empty()) return done(context, Errc::ok);
  writing_ = true;
  done_ = done;
  context_ = context;
  write_step(Step::open);
}

bool IdFiles::more_for_this_file() const {
  if (written_ == parts_.size()) return false;
  const Part& next = parts_[written_];
  return next.partition == parts_.front().partition && next.what.generation == parts_.front().what.generation;
}

void IdFiles::write_step(Step step) {
  step_ = step;
  op_ = io::DiskOp{};
  op_.file = file_;
  switch (step) {
    case Step::open:
      error_ = Errc::ok;
      written_ = 0;
      path_ = path(parts_.front().partition, parts_.front().what.generation);
      op_.kind = io::DiskOp::Kind::open;
      op_.path = path_.c_str();
      op_.flags = {.write = true, .create = true};
      break;
    case Step::transfer:
      op_.kind = io::DiskOp::Kind::write;
      op_.offset = parts_[written_].what.file_offset;
      piece_ = {const_cast<std::byte*>(parts_[written_].what.bytes.data()),
                parts_[written_].what.bytes.size()};
      op_.pieces = {&piece_, 1};
      break;
    case Step::sync: op_.kind = io::DiskOp::Kind::sync_data; break;
    case Step::close: op_.kind = io::DiskOp::Kind::close; break;
    case Step::sync_directory:
      op_.kind = io::DiskOp::Kind::sync_dir;
      op_.path = directory_.c_str();
      break;
  }
  op_.context = this;
  op_.done = [](io::DiskOp& op) { static_cast<IdFiles*>(op.context)->on_write_step(); };
  disk_.submit(op_);
}

void IdFiles::on_write_step() {
  if (error_ == Errc::ok) error_ = op_.error;
  switch (step_) {
    case Step::open:
      if (error_ != Errc::ok) return finish_write(error_);
      file_ = op_.file;
      return write_step(Step::transfer);
    case Step::transfer:
      if (error_ != Errc::ok) return write_step(Step::close);
      ++written_;
      return write_step(more_for_this_file() ? Step::transfer : Step::sync);
    case Step::sync: return write_step(Step::close);
    case Step::close:
      file_ = {};
      if (error_ != Errc::ok) return finish_write(error_);
      parts_.erase(parts_.begin(), parts_.begin() + static_cast<std::ptrdiff_t>(written_));
      return write_step(parts_.empty() ? Step::sync_directory : Step::open);
    case Step::sync_directory: return finish_write(error_);
  }
}

void IdFiles::finish_write(Errc code) {
  writing_ = false;
  error_ = Errc::ok;
  done_(context_, code);
}

void IdFiles::remove(PartitionId partition, std::uint64_t generation) {
  std::erase_if(blocks_, [&](const Block& block) {
    return block.key.partition == partition && block.key.generation == generation;
  });
  std::erase_if(parts_, [&](const Part& part) {
    return !writing_ && part.partition == partition && part.what.generation == generation;
  });
  removals_.push_back(path(partition, generation));
  if (!removing_) remove_next();
}

// Not found is as good: a crash came between the removal and the checkpoint that knows of it.
void IdFiles::remove_next() {
  removing_ = !removals_.empty();
  if (!removing_) return;
  remove_op_ = io::DiskOp{};
  remove_op_.kind = io::DiskOp::Kind::remove;
  remove_op_.path = removals_.front().c_str();
  remove_op_.context = this;
  remove_op_.done = [](io::DiskOp& op) {
    auto& files = *static_cast<IdFiles*>(op.context);
    files.removals_.pop_front();
    files.remove_next();
  };
  disk_.submit(remove_op_);
}

// --- lookup ----------------------------------------------------------------------------------------

const dedup::Entry* IdFiles::read(PartitionId partition, dedup::Place place) {
  const EntryKey key{partition, place};
  if (const auto known = answers_.find(key); known != answers_.end()) return &known->second;
  const auto block = std::find_if(blocks_.rbegin(), blocks_.rend(),
                                  [&](const Block& candidate) { return candidate.key == key.block(); });
  const std::uint32_t within = place.position % kBlockEntries;
  if (block != blocks_.rend() && within < block->entries.size()) return &block->entries[within];
  wanted_.emplace(key, false);
  start_reads();
  return nullptr;
}

// One read per block, however many entries of it are wanted.
void IdFiles::start_reads() {
  for (auto at = wanted_.begin(); at != wanted_.end() && reads_in_flight_ < kReadsMax; ++at) {
    const BlockKey key = at->first.block();
    const auto reads_it = [&](const Read& read) { return read.busy && read.key == key; };
    if (std::any_of(reads_.begin(), reads_.end(), reads_it)) continue;
    const auto free = std::find_if(reads_.begin(), reads_.end(), [](const Read& read) { return !read.busy; });
    start_read(*free, key);
  }
}

void IdFiles::start_read(Read& read, const BlockKey& key) {
  ++reads_in_flight_;
  read.busy = true;
  read.step = Step::open;
  read.key = key;
  read.error = Errc::ok;
  read.path = path(key.partition, key.generation);
  read.op = io::DiskOp{};
  read.op.kind = io::DiskOp::Kind::open;
  read.op.path = read.path.c_str();
  read.op.context = &read;
  read.op.done = [](io::DiskOp& op) {
    auto& done = *static_cast<Read*>(op.context);
    done.owner->on_read_step(done);
  };
  disk_.submit(read.op);
}

void IdFiles::on_read_step(Read& read) {
  if (read.error == Errc::ok) read.error = read.op.error;
  switch (read.step) {
    case Step::open:
      if (read.error != Errc::ok) return finish_read(read);
      read.step = Step::transfer;
      read.entries.resize(kBlockEntries);
      read.op.kind = io::DiskOp::Kind::read;
      read.op.offset = std::uint64_t{read.key.block} * kBlockEntries * dedup::kEntryBytes;
      read.op.buffer = std::as_writable_bytes(std::span(read.entries));
      return disk_.submit(read.op);
    case Step::transfer:
      read.entries.resize(read.error == Errc::ok ? read.op.transferred / dedup::kEntryBytes : 0);
      read.step = Step::close;
      read.op.kind = io::DiskOp::Kind::close;
      return disk_.submit(read.op);
    default: return finish_read(read);
  }
}

void IdFiles::finish_read(Read& read) {
  --reads_in_flight_;
  ++blocks_read_;
  read.busy = false;
  for (auto at = wanted_.begin(); at != wanted_.end();) {
    if (at->first.block() != read.key) {
      ++at;
      continue;
    }
    const std::uint32_t within = at->first.place.position % kBlockEntries;
    if (read.error == Errc::ok && within < read.entries.size()) {
      answers_[at->first] = read.entries[within];
    } else {
      read_error_ = read.error == Errc::ok ? Errc::corruption : read.error;
    }
    at = wanted_.erase(at);
  }
  if (read.error == Errc::ok) {
    // A block at the end of a file may have been shorter when it was read last.
    std::erase_if(blocks_, [&](const Block& block) { return block.key == read.key; });
    if (blocks_.size() >= kBlocksMax) blocks_.pop_front();
    blocks_.push_back({read.key, std::exchange(read.entries, {})});
  }
  start_reads();
}

// --- recovery --------------------------------------------------------------------------------------

Status IdFiles::load(io::Files& files, PartitionId partition, dedup::Window& window) const {
  constexpr std::size_t kPartEntries = 32 * 1024;
  std::vector<std::byte> buffer;
  const std::vector<dedup::Window::File> wanted = window.files();
  for (const dedup::Window::File& file : wanted) {
    const std::string from = path(partition, file.generation);
    auto handle = files.open(from, {});
    if (!handle) return std::unexpected(std::move(handle.error()));
    std::uint64_t position = 0;
    const std::uint64_t bytes = std::uint64_t{file.entries} * dedup::kEntryBytes;
    while (position < bytes) {
      buffer.resize(std::min<std::uint64_t>(bytes - position, kPartEntries * dedup::kEntryBytes));
      const auto got = files.read(*handle, position, buffer);
      if (!got || *got < buffer.size()) break;
      window.load_entries(file.generation, buffer);
      position += buffer.size();
    }
    files.close(*handle);
    if (!window.finish_loading(file.generation)) {
      return fail(Errc::corruption,
                  "the event ids in " + from +
                      " are not those that the checkpoint names (too short, or a wrong "
                      "checksum): restore the file from a copy, or replace this node's data "
                      "directory from its peers. Nothing was changed");
    }
  }
  return {};
}

}  // namespace esc::replica
