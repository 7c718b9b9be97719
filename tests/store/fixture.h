// What the store's tests share: a disk over plain files whose completions wait for run(), with
// injected faults; batches; blocking forms of the operations.
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/io/posix_files.h"
#include "esc/store/partition_log.h"
#include "esc/store/resources.h"
#include "esc/wire/record_batch.h"

namespace esc::store::testing {

// Runs the seeds 1 to `last` until one fails, or the one that ESC_SEED names. Whether they were all of them.
template <class F>
bool for_each_seed(std::uint64_t last, F&& run) {
  const char* const chosen = ::getenv("ESC_SEED");
  const std::uint64_t first = chosen != nullptr ? std::strtoull(chosen, nullptr, 10) : 1;
  for (std::uint64_t seed = first; seed <= (chosen != nullptr ? first : last); ++seed) {
    SCOPED_TRACE("ESC_SEED=" + std::to_string(seed));
    run(seed);
    if (::testing::Test::HasFailure()) return false;
  }
  return chosen == nullptr;
}

class FileDisk final : public io::Disk {
 public:
  // Not 0: the operation fails with this errno; a write has then written half of its bytes.
  std::function<int(const io::DiskOp&)> fault;
  std::uint64_t operations = 0;

  void submit(io::DiskOp& op) override {
    ASSERT_FALSE(op.in_flight);
    op.in_flight = true;
    queue_.push_back(&op);
  }
  void register_memory(ByteSpan) override {}
  [[nodiscard]] bool run_one() {
    if (queue_.empty()) return false;
    io::DiskOp& op = *queue_.front();
    queue_.pop_front();
    perform(op);
    return true;
  }
  void run() {
    while (run_one()) {
    }
  }

 private:
  void perform(io::DiskOp& op) {
    ++operations;
    const int failure = fault ? fault(op) : 0;
    op.os_error = execute(op, failure != 0);
    if (failure != 0) op.os_error = failure;
    op.error = errc_from_errno(op.os_error);
    op.in_flight = false;
    op.done(op);
  }
  static int execute(io::DiskOp& op, bool half) {
    using Kind = io::DiskOp::Kind;
    const int fd = op.file.fd;
    switch (op.kind) {
      case Kind::open: {
        if (half) return EIO;
        const int flags = (op.flags.write ? O_RDWR : O_RDONLY) | (op.flags.create ? O_CREAT : 0) |
                          (op.flags.exclusive ? O_EXCL : 0) | O_CLOEXEC;
        op.file.fd = ::open(op.path, flags, 0640);
        return op.file.fd < 0 ? errno : 0;
      }
      case Kind::close: return ::close(fd) < 0 ? errno : 0;
      case Kind::read: {
        const auto n = ::pread(fd, op.buffer.data(), op.buffer.size(), static_cast<off_t>(op.offset));
        if (n < 0) return errno;
        op.transferred = static_cast<std::uint64_t>(n);
        return 0;
      }
      case Kind::write: {
        std::vector<std::byte> all(op.buffer.begin(), op.buffer.end());
        for (const auto& piece : op.pieces) {
          const auto* from = static_cast<const std::byte*>(piece.iov_base);
          all.insert(all.end(), from, from + piece.iov_len);
        }
        const std::size_t size = half ? all.size() / 2 : all.size();
        const auto n = ::pwrite(fd, all.data(), size, static_cast<off_t>(op.offset));
        return n == static_cast<ssize_t>(size) ? 0 : EIO;
      }
      case Kind::sync_data: return ::fdatasync(fd) < 0 ? errno : 0;
      case Kind::sync_range: return 0;
      case Kind::truncate: return ::ftruncate(fd, static_cast<off_t>(op.length)) < 0 ? errno : 0;
      case Kind::punch:
        return ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(op.offset),
                           static_cast<off_t>(op.length)) < 0
                   ? errno
                   : 0;
      case Kind::rename: return ::rename(op.path, op.path2) < 0 ? errno : 0;
      case Kind::remove: return ::unlink(op.path) < 0 ? errno : 0;
      case Kind::make_dir: return ::mkdir(op.path, 0750) < 0 && errno != EEXIST ? errno : 0;
      case Kind::sync_dir: return 0;
      default: return EINVAL;
    }
  }
  std::deque<io::DiskOp*> queue_;
};

struct TestBatch {
  std::vector<std::byte> bytes;
  Offset base_offset;
  Offset last_offset;
  std::vector<WallMs> timestamps;
  [[nodiscard]] BatchRef ref() const { return {bytes, base_offset, last_offset, 0}; }
};

inline TestBatch make_batch(Offset base, std::span<const WallMs> timestamps, std::size_t value_bytes,
                            std::uint64_t seed = 0, std::int32_t epoch = 3) {
  Prng prng(seed ^ static_cast<std::uint64_t>(base.value()));
  TestBatch batch;
  batch.bytes.resize(wire::kBatchHeaderBytes + timestamps.size() * (value_bytes + 64));
  wire::BatchOptions options;
  options.base_offset = base.value();
  options.leader_epoch = epoch;
  wire::BatchBuilder builder(batch.bytes, options);
  std::vector<std::byte> value(value_bytes);
  for (const WallMs timestamp : timestamps) {
    for (auto& byte : value) byte = static_cast<std::byte>(prng.next());
    EXPECT_TRUE(builder.append(timestamp, {}, wire::NullableBytes(ByteView(value))));
  }
  batch.bytes.resize(builder.finish().size());
  batch.base_offset = base;
  batch.last_offset = base + (static_cast<std::int64_t>(timestamps.size()) - 1);
  batch.timestamps.assign(timestamps.begin(), timestamps.end());
  return batch;
}

inline TestBatch make_batch(Offset base, std::uint32_t records, WallMs timestamp, std::size_t value_bytes) {
  std::vector<WallMs> timestamps(records, timestamp);
  return make_batch(base, timestamps, value_bytes);
}

// The blocking forms: the disk runs until the operation is complete.
template <class Op>
Errc finish(FileDisk& disk, Op& op, const std::function<void()>& start) {
  struct Outcome {
    bool done = false;
    Errc error = Errc::ok;
  } outcome;
  op.context = &outcome;
  op.done = [](Op& o, Errc error) { *static_cast<Outcome*>(o.context) = {true, error}; };
  start();
  while (!outcome.done && disk.run_one()) {
  }
  EXPECT_TRUE(outcome.done) << "the operation never ended";
  return outcome.error;
}

class StoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/esc-store-XXXXXX";
    ASSERT_NE(::mkdtemp(name), nullptr);
    root_ = name;
    directory_ = root_ + "/p";
    resources_ = Resources::create(
        disk_, &files_, {.open_files_max = 4, .appends_max = 2, .opens_max = 2, .read_positions = 64});
    options_.resources = resources_.get();
    options_.segment_bytes = 16 * kKiB;
    options_.index_interval_bytes = 1024;
    options_.write_back_bytes = 4 * kKiB;
    options_.punch_bytes = 4 * kKiB;
    log_ = PartitionLog::create(disk_, directory_, options_);
  }
  void TearDown() override {
    disk_.run();
    log_.reset();
    resources_.reset();
    std::filesystem::remove_all(root_);
  }

  Errc append(std::span<const TestBatch> batches) {
    std::vector<BatchRef> refs;
    for (const auto& batch : batches) refs.push_back(batch.ref());
    AppendOp op;
    op.batches = refs;
    return finish(disk_, op, [&] { log_->append(op); });
  }
  Errc append(const TestBatch& batch) { return append(std::span(&batch, 1)); }
  Errc read(Offset offset, std::size_t buffer_bytes, std::vector<std::byte>& into,
            std::uint32_t* needed = nullptr) {
    std::vector<std::byte> buffer(buffer_bytes);
    ReadOp op;
    op.offset = offset;
    op.buffer = buffer;
    const Errc error = finish(disk_, op, [&] { log_->read(op); });
    into.assign(op.bytes.begin(), op.bytes.end());
    if (needed != nullptr) *needed = op.first_batch_bytes;
    return error;
  }
  Errc find_time(WallMs timestamp, Offset& offset, WallMs& found, std::size_t scratch_bytes = 4096) {
    std::vector<std::byte> scratch(scratch_bytes);
    TimeOp op;
    op.timestamp = timestamp;
    op.scratch = scratch;
    const Errc error = finish(disk_, op, [&] { log_->find_time(op); });
    offset = op.offset;
    found = op.found_timestamp;
    return error;
  }
  Errc sync() {
    SyncOp op;
    return finish(disk_, op, [&] { log_->sync(op); });
  }
  [[nodiscard]] PartitionState state() const {
    PartitionState state;
    log_->snapshot(state);
    return state;
  }
  Status reopen(const PartitionState& from) {
    disk_.run();
    log_.reset();
    auto opened = PartitionLog::open(files_, disk_, directory_, options_, from);
    if (!opened) {
      log_ = PartitionLog::create(disk_, directory_, options_);
      return std::unexpected(opened.error());
    }
    log_ = std::move(*opened);
    return {};
  }

  io::PosixFiles files_;
  FileDisk disk_;
  std::string root_;
  std::string directory_;
  std::unique_ptr<Resources> resources_;
  Options options_;
  std::unique_ptr<PartitionLog> log_;
};

}  // namespace esc::store::testing
