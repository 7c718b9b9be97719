#include "compaction.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "esc/base/assert.h"
#include "esc/io/read_failure.h"

namespace esc::store {
namespace {

// Not more than so much waits for the disk at the end, where it would hold up others.
constexpr std::uint64_t kSyncBytes = 4 * kMiB;
constexpr std::uint64_t kPermille = 1000;

BatchRef ref_of(ByteView batch, const BatchHeader& header) {
  return {batch, header.base_offset, header.last_offset, header.max_timestamp};
}

}  // namespace

// --- the log's side ------------------------------------------------------------------------------------

bool SegmentedLog::compaction_due(const CompactionRules& rules, WallMs now_ms) const {
  if (failed_ || compaction_ != nullptr || destroy_ != nullptr || aside_.used) return false;
  const Compaction::Range range = Compaction::range(*this, rules, now_ms);
  if (range.segments == 0) return false;
  if (tombstones_until_ != 0 && tombstones_until_ < now_ms) return true;
  if (range.dirty_since >= 0 && range.dirty_since < now_ms - rules.max_lag_ms) return true;
  return range.dirty_bytes > 0 && range.dirty_bytes * kPermille >= range.bytes * rules.dirty_permille;
}

void SegmentedLog::compact(CompactOp& op) {
  ESC_ASSERT(compaction_ == nullptr);
  ESC_ASSERT(destroy_ == nullptr);
  op.result = {};
  if (failed_ || aside_.used) {
    op.done(op, failed_ ? Errc::io_error : Errc::closed);
    return;
  }
  if (!resources_.begin_compaction()) {
    op.done(op, Errc::busy);
    return;
  }
  compaction_ = std::make_unique<Compaction>(*this, op);
  compaction_->start();
}

void SegmentedLog::continue_compaction() {
  if (compaction_ != nullptr) compaction_->go_on();
}

void SegmentedLog::cancel_compaction() {
  if (compaction_ != nullptr) compaction_->cancel();
}

Compaction::Range Compaction::range(const SegmentedLog& log, const CompactionRules& rules, WallMs now_ms) {
  Range range;
  for (const auto& segment : log.segments_) {
    const bool dirty = segment->next > log.compacted_until_;
    const bool too_young =
        dirty && rules.min_lag_ms > 0 && segment->max_timestamp > now_ms - rules.min_lag_ms;
    if (!segment->sealed || segment->dirty || segment->syncing || too_young) break;
    ++range.segments;
    range.bytes += segment->bytes;
    if (!dirty) continue;
    range.dirty_bytes += segment->bytes;
    const WallMs began = segment->first_timestamp;
    if (began >= 0 && (range.dirty_since < 0 || began < range.dirty_since)) range.dirty_since = began;
  }
  return range;
}

// --- the pass ------------------------------------------------------------------------------------------

Compaction::Compaction(SegmentedLog& log, CompactOp& op)
    : log_(log), op_(op), generation_(log.generation_max_ + 1) {}

void Compaction::start() {
  const Range found = range(log_, op_.rules, op_.now_ms);
  if (found.segments == 0) return finish(Errc::ok);
  for (std::size_t i = 0; i < found.segments; ++i) {
    sources_.push_back(log_.segments_[i].get());
    log_.use(*sources_.back());
  }
  log_.generation_max_ = generation_;
  const Offset dirty_from = std::max(log_.compacted_until_, sources_.front()->base);
  const auto dirty_offsets = std::max<std::int64_t>(0, sources_.back()->next - dirty_from);
  cleaner_ =
      std::make_unique<BatchCleaner>(CleanerSettings{.from = sources_.front()->base,
                                                     .dirty_from = dirty_from,
                                                     .now_ms = op_.now_ms,
                                                     .delete_retention_ms = op_.rules.delete_retention_ms,
                                                     .map_bytes = op_.memory_bytes,
                                                     .keys_max = static_cast<std::uint64_t>(dirty_offsets),
                                                     .hash_key = {op_.hash_key[0], op_.hash_key[1]}});
  begin_phase(Phase::note);
}

void Compaction::begin_phase(Phase phase) {
  phase_ = phase;
  source_ = 0;
  if (phase == Phase::note) {
    while (source_ < sources_.size() && sources_[source_]->next <= log_.compacted_until_) ++source_;
    if (source_ == sources_.size()) return begin_phase(Phase::clean);
  }
  position_ = 0;
  expected_ = source().base;
  if (phase == Phase::note && log_.compacted_until_ > source().base) {
    const auto delta = static_cast<std::uint32_t>(log_.compacted_until_ - source().base);
    const IndexEntry entry = source().index.floor_offset(delta);
    position_ = entry.position;
    expected_ = source().base + entry.offset_delta;
  }
  next_chunk();
}

void Compaction::next_chunk() {
  if (cancelled_) return finish(Errc::closed);
  if (position_ < source().bytes) return acquire(source(), &Compaction::read);
  next_source();
}

// The part that the keys in memory speak for ends in the segment with the last of them.
void Compaction::next_source() {
  if (phase_ == Phase::note && map_full_) {
    while (sources_.back()->base >= cleaner_->map_end()) {
      log_.leave(*sources_.back());
      sources_.pop_back();
    }
    return begin_phase(Phase::clean);
  }
  if (++source_ < sources_.size()) {
    position_ = 0;
    expected_ = source().base;
    return next_chunk();
  }
  if (phase_ == Phase::note) return begin_phase(Phase::clean);
  end_outputs();
}

void Compaction::read() {
  const std::uint64_t wanted = std::max<std::uint64_t>(buffer_.size(), op_.slice_bytes);
  buffer_.resize(wanted);
  io::DiskOp& op = disk_op();
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::read;
  op.file = source().file.handle;
  op.offset = position_;
  op.buffer = ByteSpan(buffer_).first(std::min<std::uint64_t>(wanted, source().bytes - position_));
  disk(&Compaction::arrived);
}

void Compaction::arrived() {
  const io::DiskOp& op = disk_op();
  log_.resources_.files().release(source().file);
  if (cancelled_) return finish(Errc::closed);
  if (op.error != Errc::ok) {
    log_.describe(source(), position_, "a read failed (errno " + std::to_string(op.os_error) + ")");
    return finish(io::read_failure(op.os_error));
  }
  const ByteView bytes = op.buffer;
  if (op.transferred < bytes.size()) return damaged(op.transferred, "the file ends too early");
  std::uint64_t at = 0;
  if (!walk(bytes, at)) return;
  if (at == 0) {  // one batch larger than a slice; follows() bounded it
    if (bytes.size() < kBatchHeaderBytes) return damaged(0, "a piece of a record batch at the end");
    buffer_.resize(load_batch_header(bytes.data()).bytes);
    return next_chunk();
  }
  buffer_.resize(op_.slice_bytes);
  position_ += at;
  slice_bytes_ += at;
  if (map_full_ && phase_ == Phase::note) position_ = source().bytes;
  ready_ = phase_ == Phase::clean ? ByteView(cleaner_->take()) : ByteView{};
  write();
}

// The whole batches of a slice. False: the compaction has ended with an error.
bool Compaction::walk(ByteView bytes, std::uint64_t& at) {
  while (bytes.size() - at >= kBatchHeaderBytes) {
    const BatchHeader header = load_batch_header(&bytes[at]);
    const std::uint64_t left = source().bytes - (position_ + at);
    if (!follows(header, expected_, left) || !source().epoch_plausible(header.leader_epoch)) {
      damaged(at, "no record batch with the expected offset, epoch and a sane length");
      return false;
    }
    if (header.bytes > bytes.size() - at) break;
    const ByteView whole = bytes.subspan(at, header.bytes);
    if (!crc_matches(header, whole)) {
      damaged(at, "the record batch fails its checksum");
      return false;
    }
    const wire::BatchView batch = *wire::BatchView::parse(whole);
    Errc code = Errc::ok;
    if (phase_ == Phase::note) {
      const auto noted = cleaner_->note(batch);
      code = noted.has_value() ? Errc::ok : noted.error();
      map_full_ = noted.has_value() && !*noted;
    } else {
      code = cleaner_->clean(batch, source_ + 1 == sources_.size() && header.bytes == left);
    }
    if (code != Errc::ok) {
      // Its checksum is right: a client sent it so, or it unpacks to more than we hold.
      log_.describe(source(), position_ + at, "the records of the batch cannot be read");
      finish(Errc::unsupported);
      return false;
    }
    at += header.bytes;
    expected_ = header.last_offset.next();
    if (phase_ == Phase::note && map_full_) break;
  }
  return true;
}

void Compaction::damaged(std::uint64_t at, const char* what) {
  log_.describe(source(), position_ + at, what);
  finish(Errc::corruption);
}

void Compaction::chunk_done() {
  const std::uint64_t bytes = std::exchange(slice_bytes_, 0) + cleaner_->take_effort();
  waiting_ = true;
  op_.slice(op_, bytes);
}

void Compaction::go_on() {
  if (!waiting_) return;
  waiting_ = false;
  next_chunk();
}

void Compaction::cancel() {
  cancelled_ = true;
  if (waiting_) go_on();
}

// --- the new files -------------------------------------------------------------------------------------

// Writes what is ready, as much as the output takes.
void Compaction::write() {
  if (cancelled_) return finish(Errc::closed);
  if (ready_.empty()) return chunk_done();
  const BatchHeader first = load_batch_header(ready_.data());
  const BatchRef first_ref = ref_of(ready_.first(first.bytes), first);
  if (outputs_.empty()) {
    open_output(first.base_offset);
  } else if (log_.too_large(output().extent(), first_ref, log_.rolling_.back().rules.bytes)) {
    return sync_output(&Compaction::output_full);
  }
  write_bytes_ = 0;
  // By size only: what time has cut small is put together again.
  Extent extent = output().extent();
  while (write_bytes_ < ready_.size()) {
    const BatchHeader header = load_batch_header(&ready_[write_bytes_]);
    const BatchRef batch = ref_of(ready_.subspan(write_bytes_, header.bytes), header);
    if (log_.too_large(extent, batch, log_.rolling_.back().rules.bytes)) break;
    extent.bytes += header.bytes;
    write_bytes_ += header.bytes;
  }
  acquire(output(), &Compaction::write_acquired);
}

void Compaction::output_full() {
  outputs_.back()->index.seal();
  open_output(load_batch_header(ready_.data()).base_offset);
  write();
}

void Compaction::open_output(Offset base) {
  outputs_.push_back(log_.new_segment({base, generation_}, kIndexEntriesMax));
  output().file.create = true;
}

void Compaction::write_acquired() {
  io::DiskOp& op = disk_op();
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::write;
  op.file = output().file.handle;
  op.offset = output().bytes;
  op.uncached = true;
  op.buffer = ByteSpan(const_cast<std::byte*>(ready_.data()), write_bytes_);
  disk(&Compaction::written);
}

bool Compaction::output_failed(const char* what) {
  const io::DiskOp& op = disk_op();
  if (op.error == Errc::ok) return false;
  log_.describe(output(), output().bytes, std::string(what) + " (errno " + std::to_string(op.os_error) + ")");
  finish(op.error == Errc::no_space ? Errc::no_space : Errc::io_error);
  return true;
}

void Compaction::written() {
  log_.resources_.files().keep(output().file, true);  // until it is synced
  log_.resources_.files().release(output().file);
  if (output_failed("a write failed")) return;
  add_to_output();
  if (unsynced_ >= kSyncBytes) return sync_output(&Compaction::write);
  write();
}

void Compaction::add_to_output() {
  for (std::size_t at = 0; at < write_bytes_;) {
    const BatchHeader header = load_batch_header(&ready_[at]);
    output().add(header);
    at += header.bytes;
  }
  ready_ = ready_.subspan(write_bytes_);
  slice_bytes_ += write_bytes_;
  unsynced_ += write_bytes_;
}

void Compaction::sync_output(Step next) {
  after_sync_ = next;
  if (unsynced_ == 0) return (this->*next)();
  unsynced_ = 0;
  ESC_ASSERT(output().file.state == CachedFile::State::open);
  io::DiskOp& op = disk_op();
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::sync_data;
  op.file = output().file.handle;
  disk(&Compaction::synced);
}

void Compaction::synced() {
  if (output_failed("fdatasync failed")) return;
  log_.resources_.files().keep(output().file, false);
  (this->*after_sync_)();
}

void Compaction::end_outputs() {
  ESC_ASSERT(!outputs_.empty());  // something of a range always stays
  sync_output(&Compaction::sync_directory);
}

void Compaction::sync_directory() {
  io::DiskOp& op = disk_op();
  op = io::DiskOp{};
  op.kind = io::DiskOp::Kind::sync_dir;
  op.path = log_.directory_.c_str();
  disk(&Compaction::swap);
}

// --- the end -------------------------------------------------------------------------------------------

void Compaction::swap() {
  if (output_failed("fsync of the directory failed")) return;
  auto& row = log_.segments_;
  // Retention may have dropped some meanwhile.
  const bool as_before =
      row.size() > sources_.size() &&
      std::equal(sources_.begin(), sources_.end(), row.begin(),
                 [](const Segment* source, const auto& now) { return source == now.get(); });
  if (!as_before || cancelled_) return finish(Errc::closed);
  const Offset end = sources_.back()->next;
  ESC_ASSERT(output().next == end);
  const auto count = static_cast<std::ptrdiff_t>(sources_.size());
  op_.result = {.segments_before = sources_.size(),
                .segments_after = outputs_.size(),
                .bytes_before = 0,
                .bytes_after = 0,
                .records_kept = cleaner_->records_kept(),
                .records_removed = cleaner_->records_removed()};
  for (const Segment* source : sources_) op_.result.bytes_before += source->bytes;
  std::move(row.begin(), row.begin() + count, std::back_inserter(log_.removed_));
  row.erase(row.begin(), row.begin() + count);
  for (auto& segment : outputs_) {
    segment->sealed = true;
    segment->index.seal();
    segment->write_back_bytes = segment->bytes;
    op_.result.bytes_after += segment->bytes;
  }
  row.insert(row.begin(), std::move_iterator(outputs_.begin()), std::move_iterator(outputs_.end()));
  outputs_.clear();
  log_.bytes_ -= op_.result.bytes_before;
  log_.bytes_ += op_.result.bytes_after;
  log_.compacted_until_ = std::min(cleaner_->map_end(), end);
  log_.tombstones_until_ = cleaner_->tombstones_until();
  finish(Errc::ok);
}

// Nothing is in flight. The last thing this object does.
void Compaction::finish(Errc code) {
  SegmentedLog& log = log_;
  CompactOp& op = op_;
  for (auto& segment : outputs_) {
    segment->released = true;  // no checkpoint knows it
    log.removed_.push_back(std::move(segment));
  }
  outputs_.clear();
  for (Segment* source : sources_) log.leave(*source);
  log.remove_next();
  const std::unique_ptr<Compaction> self = std::move(log.compaction_);
  log.resources_.end_compaction();
  const bool destroying = log.destroy_ != nullptr;  // `done` may destroy too, and even delete this log
  op.done(op, code);
  if (destroying) log.destroy_start();
}

void Compaction::forget_files() {
  log_.resources_.end_compaction();
  for (auto& segment : outputs_) log_.resources_.files().forget(segment->file);
}

void Compaction::disk(Step next) {
  step_ = next;
  io::DiskOp& op = disk_op();
  op.context = this;
  op.done = [](io::DiskOp& done) {
    auto& self = *static_cast<Compaction*>(done.context);
    (self.*self.step_)();
  };
  log_.disk_.submit(op);
}

// Goes on with `next` when the segment's file is open; whoever comes then releases it.
void Compaction::acquire(Segment& segment, Step next) {
  step_ = next;
  acquiring_ = &segment;
  detail::FileWaiter& waiter = op_.state.file;
  waiter.context = this;
  waiter.ready = [](detail::FileWaiter& ready, Errc error, int os_error) {
    auto& self = *static_cast<Compaction*>(ready.context);
    if (error == Errc::ok) return (self.*self.step_)();
    const bool for_output = self.phase_ == Phase::clean && self.acquiring_ != &self.source();
    self.finish(self.log_.open_error(*self.acquiring_, error, os_error, for_output));
  };
  if (log_.resources_.files().acquire(segment.file, waiter)) (this->*next)();
}

}  // namespace esc::store
