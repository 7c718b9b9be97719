#include "segment_pool.h"

#include <algorithm>
#include <cstdio>

#include "esc/base/assert.h"

namespace esc::wal {
namespace {

constexpr std::uint64_t kZeroPieceBytes = 64 * kKiB;
// A chunk is small enough not to delay a durable write behind it. Chunks are spread over half the time in
// which a segment was last used up: faster would only delay durable writes.
constexpr std::uint64_t kZeroChunkBytes = 512 * kKiB;
constexpr Nanos kZeroChunkIntervalMin = 1 * kMillisecond;
constexpr Nanos kZeroChunkIntervalMax = 40 * kMillisecond;
constexpr Nanos kDiskFullRetryAfter = 1 * kSecond;
// A segment used up within this time is fast consumption: one more spare, up to the limit.
constexpr Nanos kFastConsumption = 1 * kSecond;
constexpr Nanos kSlowConsumption = 30 * kSecond;
constexpr std::uint32_t kSparesMax = 12;

}  // namespace

SegmentPool::SegmentPool(io::Disk& disk, const Options& options, const Start& start)
    : disk_(disk),
      options_(options),
      start_(start),
      spares_(start.segments_max),
      released_(start.segments_max),
      header_block_(logfmt::kSegmentHeaderBytes),
      zeros_(kZeroPieceBytes),
      fast_target_(options.spares_min) {
  for (auto& piece : zero_pieces_) piece = {.iov_base = zeros_.data(), .iov_len = kZeroPieceBytes};
  op_.done = &SegmentPool::on_done;
  op_.context = this;
}

void SegmentPool::adopt_spare(const Segment& segment) {
  spares_.push_back(segment);
  bytes_on_disk_ += segment.bytes;
}

void SegmentPool::adopt_released(const Segment& segment) {
  released_.push_back(segment);
  bytes_on_disk_ += segment.bytes;
}

void SegmentPool::close_all(io::Files& files) {
  spares_.for_each([&files](Segment& segment) { files.close(segment.file); });
  released_.for_each([&files](Segment& segment) { files.close(segment.file); });
  // The segment in work, whose last step may have completed without do_work having seen it.
  const bool unseen = op_submitted_ && op_done_;
  const bool opened =
      unseen && op_.error == Errc::ok && (step_ == Step::create || step_ == Step::open_direct);
  if (opened) files.close(op_.file);
  if (step_ != Step::none && work_.file.valid()) files.close(work_.file);
}

void SegmentPool::adopt_live(const Segment& segment) {
  bytes_on_disk_ += segment.bytes;
}

Segment SegmentPool::take_spare(Nanos now) {
  const Nanos lasted = last_taken_at_ == 0 ? kSlowConsumption : now - last_taken_at_;
  const bool fast = lasted < kFastConsumption;
  const auto chunks = static_cast<Nanos>(spares_.front().bytes / kZeroChunkBytes + 1);
  zero_chunk_interval_ = std::clamp(lasted / 2 / chunks, kZeroChunkIntervalMin, kZeroChunkIntervalMax);
  if (fast && spares_.size() == 1)
    fast_target_ = std::min(fast_target_ + 1, std::max(kSparesMax, options_.spares_min));
  last_taken_at_ = now;
  return spares_.pop_front();
}

std::uint64_t SegmentPool::target(Nanos now) const {
  return now - last_taken_at_ < kSlowConsumption ? fast_target_ : options_.spares_min;
}

bool SegmentPool::may_create() const {
  return bytes_on_disk_ + options_.segment_bytes <= options_.bytes_max;
}

bool SegmentPool::starved() const {
  return spares_.empty() && released_.empty() && step_ != Step::recycle && step_ != Step::recycle_sync &&
         (disk_full_ || (!may_create() && step_ == Step::none));
}

void SegmentPool::on_done(io::DiskOp& op) {
  static_cast<SegmentPool*>(op.context)->op_done_ = true;
}

void SegmentPool::submit(Step step, io::DiskOp::Kind kind) {
  ESC_ASSERT(!op_submitted_);
  step_ = step;
  op_.kind = kind;
  op_submitted_ = true;
  op_done_ = false;
  disk_.submit(op_);
}

std::uint32_t SegmentPool::do_work(Nanos now, bool next_one_soon) {
  if (failed_) return 0;
  if (op_submitted_) {
    if (!op_done_) return 0;
    op_submitted_ = false;
    advance(now);
    return 1;
  }
  if (step_ == Step::zero) {  // paced
    if (now < next_chunk_at_ && !spares_.empty()) return 0;
    submit_zeroes();
    return 1;
  }
  return begin(now, next_one_soon) ? 1 : 0;
}

bool SegmentPool::begin(Nanos now, bool next_one_soon) {
  wake_at_ = 0;
  const std::uint64_t wanted = target(now);
  // A checkpoint releases several at once, and the log will need them again before the next one: while it is
  // written, nothing is dropped. One more than the target is kept even then: the next peak finds it.
  const bool in_use = now - last_taken_at_ < kSlowConsumption;
  if (!released_.empty()) {
    if (in_use || spares_.size() <= wanted) {
      begin_recycle();
    } else {
      begin_drop(released_.pop_front());
    }
    return true;
  }
  if (!in_use && spares_.size() > wanted + 1) {
    begin_drop(spares_.pop_back());
    return true;
  }
  if (spares_.size() >= wanted || !may_create()) return false;
  // While writes are slow, the checkpoint may release a segment before a new one is needed.
  const bool urgent = next_one_soon || fast_target_ > options_.spares_min || !spares_.empty();
  if (!urgent) return false;
  if (disk_full_ && now < retry_at_) {
    wake_at_ = retry_at_;
    return false;
  }
  begin_create();
  return true;
}

void SegmentPool::format_path(std::array<char, 4096>& into, std::uint64_t number, const char* suffix) const {
  const int length =
      std::snprintf(into.data(), into.size(), "%s/wal-%08llu.seg%s", options_.directory.c_str(),
                    static_cast<unsigned long long>(number), suffix);
  ESC_ASSERT(length > 0 && static_cast<std::size_t>(length) < into.size());
}

void SegmentPool::seal_header() {
  work_.generation = start_.next_generation++;
  work_.used_bytes = logfmt::kSegmentHeaderBytes;
  work_.last_lsn = Lsn{};
  work_.last_index_max = Index{};
  logfmt::SegmentHeader header;
  header.cluster_id = start_.identity.cluster_id;
  header.log_id = start_.identity.log_id;
  header.node = start_.identity.node.value();
  header.group = start_.identity.group.value();
  header.generation = work_.generation;
  header.number = work_.number;
  header.segment_bytes = work_.bytes;
  header.epoch = start_.epoch;
  logfmt::seal_segment_header(header_block_.data(), header);
  op_.file = work_.file;
  op_.offset = 0;
  op_.buffer = ByteSpan(header_block_.data(), header_block_.size());
  op_.pieces = {};
}

void SegmentPool::begin_recycle() {
  work_ = released_.pop_front();
  seal_header();
  submit(Step::recycle, io::DiskOp::Kind::write);
}

void SegmentPool::begin_drop(const Segment& segment) {
  work_ = segment;
  op_.file = work_.file;
  work_.file = {};
  submit(Step::drop_close, io::DiskOp::Kind::close);
}

void SegmentPool::begin_create() {
  work_ = Segment{.number = start_.next_number++, .bytes = options_.segment_bytes};
  zeroed_bytes_ = 0;
  bytes_on_disk_ += work_.bytes;
  format_path(path_, work_.number, ".tmp");
  format_path(path2_, work_.number, "");
  op_.path = path_.data();
  op_.path2 = path2_.data();
  // Zeroes in the page cache would send the first durable write of each block to a worker, which removes
  // them.
  op_.flags = {.write = true, .create = true, .direct = start_.direct};
  submit(Step::create, io::DiskOp::Kind::open);
}

void SegmentPool::submit_zeroes() {
  const std::uint64_t length = std::min(kZeroChunkBytes, work_.bytes - zeroed_bytes_);
  const std::uint64_t pieces = (length + kZeroPieceBytes - 1) / kZeroPieceBytes;
  zero_pieces_[pieces - 1].iov_len = length - (pieces - 1) * kZeroPieceBytes;
  op_.file = work_.file;
  op_.offset = zeroed_bytes_;
  op_.length = length;
  op_.buffer = {};
  op_.pieces = {zero_pieces_.data(), pieces};
  submit(Step::zero, io::DiskOp::Kind::write);
}

void SegmentPool::finish_spare() {
  spares_.push_back(work_);
  step_ = Step::none;
}

// The result of one step chooses the next.
void SegmentPool::advance(Nanos now) {
  const Errc error = op_.error;
  switch (step_) {
    case Step::recycle:
    case Step::recycle_sync:
      failed_ = error != Errc::ok;
      if (failed_) return;
      if (step_ == Step::recycle && !start_.direct) {
        submit(Step::recycle_sync, io::DiskOp::Kind::sync_data);
        return;
      }
      ++recycled_;
      finish_spare();
      return;
    case Step::drop_close:
      format_path(path_, work_.number, "");
      op_.path = path_.data();
      submit(Step::drop_remove, io::DiskOp::Kind::remove);
      return;
    case Step::drop_remove:
      // The order of removals is what recovery relies on: one that did not happen stops everything.
      failed_ = error != Errc::ok;
      if (failed_) return;
      bytes_on_disk_ -= work_.bytes;
      op_.path = options_.directory.c_str();
      submit(Step::drop_sync_directory, io::DiskOp::Kind::sync_dir);
      return;
    case Step::drop_sync_directory:
      failed_ = error != Errc::ok;
      step_ = Step::none;
      return;
    case Step::abandon_close:
      op_.path = path_.data();
      submit(Step::abandon_remove, io::DiskOp::Kind::remove);
      return;
    case Step::abandon_remove:
      bytes_on_disk_ -= work_.bytes;
      step_ = Step::none;
      return;
    case Step::none: ESC_UNREACHABLE("a completion without a step");
    default: break;
  }
  if (error != Errc::ok) {
    creation_failed(now);
    return;
  }
  advance_creation(now);
}

void SegmentPool::advance_creation(Nanos now) {
  using Kind = io::DiskOp::Kind;
  switch (step_) {
    case Step::create:
      work_.file = op_.file;
      submit_zeroes();
      return;
    case Step::zero:
      // Full pieces again: only the last chunk of a file is cut.
      zero_pieces_[op_.pieces.size() - 1].iov_len = kZeroPieceBytes;
      zeroed_bytes_ += op_.length;
      if (!start_.direct) {
        submit(Step::start_writeback, Kind::sync_range);
        return;
      }
      [[fallthrough]];
    case Step::start_writeback:
      if (zeroed_bytes_ < work_.bytes) {
        step_ = Step::zero;
        next_chunk_at_ = now + zero_chunk_interval_;
        wake_at_ = next_chunk_at_;
        return;
      }
      seal_header();
      submit(Step::write_header, Kind::write);
      return;
    case Step::write_header: submit(Step::sync, Kind::sync_data); return;
    case Step::sync:
      op_.file = work_.file;
      work_.file = {};
      submit(Step::close_zeroed, Kind::close);
      return;
    case Step::close_zeroed: submit(Step::rename, Kind::rename); return;
    case Step::rename:
      op_.path = options_.directory.c_str();
      submit(Step::sync_directory, Kind::sync_dir);
      return;
    case Step::sync_directory:
      op_.path = path2_.data();
      op_.flags = {.write = true, .direct_dsync = start_.direct};
      submit(Step::open_direct, Kind::open);
      return;
    case Step::open_direct:
      work_.file = op_.file;
      disk_full_ = false;
      ++created_;
      finish_spare();
      return;
    default: ESC_UNREACHABLE("not a step of creation");
  }
}

void SegmentPool::creation_failed(Nanos now) {
  if (op_.error != Errc::no_space || step_ == Step::sync_directory || step_ == Step::open_direct) {
    failed_ = true;
    return;
  }
  for (auto& piece : zero_pieces_) piece.iov_len = kZeroPieceBytes;
  disk_full_ = true;
  retry_at_ = now + kDiskFullRetryAfter;
  wake_at_ = retry_at_;
  if (work_.file.valid()) {
    op_.file = work_.file;
    work_.file = {};
    submit(Step::abandon_close, io::DiskOp::Kind::close);
  } else {
    op_.path = path_.data();
    submit(Step::abandon_remove, io::DiskOp::Kind::remove);
  }
}

}  // namespace esc::wal
