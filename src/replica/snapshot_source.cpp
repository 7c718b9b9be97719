#include "snapshot_source.h"

#include <algorithm>

#include "checkpointer.h"
#include "deduper.h"
#include "peer_sender.h"

namespace esc::replica {
namespace {

constexpr std::size_t kPartBytes = 512 * kKiB;
constexpr std::size_t kMessageOverhead = 64;
constexpr Nanos kHoldFor = 5 * kSecond;  // after its last request
constexpr std::size_t kIdsBytes = 20'000 * dedup::kEntryBytes;

}  // namespace

// What one message holds.
void SnapshotSource::reserve_buffer() {
  if (buffer_.empty()) buffer_.resize(group_.message_bytes_max() - kMessageOverhead);
}

void SnapshotSource::note(NodeId from, bool begins) {
  for (std::size_t i = 0; i < fetchers_.size(); ++i) {
    if (fetchers_[i].node != from) continue;
    fetchers_[i].asked_at = group_.now_;
    if (begins) fetchers_[i].index = group_.checkpointed_;
    return;
  }
  if (begins && !fetchers_.full()) fetchers_.push_back({from, group_.checkpointed_, group_.now_});
}

Index SnapshotSource::holds() const {
  Index held(UINT64_MAX);
  for (const Fetcher& fetcher : fetchers_) {
    if (group_.now_ - fetcher.asked_at < kHoldFor) held = std::min(held, fetcher.index);
  }
  return held;
}

// A request that comes while another is being answered is dropped; its sender asks again.
void SnapshotSource::on_state_request(NodeId from, std::uint64_t tag, ByteView payload) {
  const auto request = decode_state_request(payload);
  if (!request || busy()) return;
  to_ = from;
  tag_ = tag;
  state_offset_ = request->offset;
  note(from, state_offset_ == 0);
  if (state_offset_ == 0) return load_checkpoint();
  send_state();
}

void SnapshotSource::load_checkpoint() {
  checkpoint_.clear();
  if (group_.checkpointed_ == Index(0)) return send_state();
  path_ = Checkpointer::path(group_.options_);
  phase_ = Phase::opening;
  op_ = io::DiskOp{};
  op_.kind = io::DiskOp::Kind::open;
  op_.path = path_.c_str();
  op_.context = this;
  op_.done = [](io::DiskOp& op) { static_cast<SnapshotSource*>(op.context)->on_disk_done(); };
  group_.env_.disk.submit(op_);
}

// The file is replaced by renaming, so what was opened stays whole.
void SnapshotSource::on_disk_done() {
  if (phase_ == Phase::opening) {
    if (op_.error != Errc::ok) {
      phase_ = Phase::idle;
      return;
    }
    file_ = op_.file;
    phase_ = Phase::reading;
    checkpoint_.resize(kPartBytes);
    op_.kind = io::DiskOp::Kind::read;
    op_.offset = 0;
    op_.buffer = checkpoint_;
    return group_.env_.disk.submit(op_);
  }
  if (phase_ == Phase::reading) {
    const std::size_t have = op_.offset + op_.transferred;
    if (op_.error == Errc::ok && have == checkpoint_.size() && have < kCheckpointBytesMax) {
      checkpoint_.resize(checkpoint_.size() * 2);
      op_.offset = have;
      op_.buffer = ByteSpan(checkpoint_).subspan(have);
      return group_.env_.disk.submit(op_);
    }
    checkpoint_.resize(op_.error == Errc::ok ? have : 0);
    phase_ = Phase::closing;
    op_.kind = io::DiskOp::Kind::close;
    return group_.env_.disk.submit(op_);
  }
  phase_ = Phase::idle;
  send_state();
}

void SnapshotSource::send_state() {
  if (state_offset_ > checkpoint_.size()) return;  // of a leader before us: it begins again
  const std::size_t part = std::min<std::size_t>(kPartBytes, group_.message_bytes_max() - kMessageOverhead);
  const std::size_t bytes = std::min(part, checkpoint_.size() - state_offset_);
  out_.clear();
  ByteWriter writer(out_);
  encode(
      SnapshotState{checkpoint_.size(), state_offset_, ByteView(checkpoint_).subspan(state_offset_, bytes)},
      writer);
  reply(kSnapshotState);
}

void SnapshotSource::on_records_request(NodeId from, std::uint64_t tag, ByteView payload) {
  const auto request = decode_records_request(payload);
  if (!request || busy()) return;
  to_ = from;
  tag_ = tag;
  request_ = *request;
  note(from, false);
  Partition* const partition = group_.find(request_.partition);
  const bool held = partition != nullptr && request_.offset >= partition->log_start_offset() &&
                    request_.offset < partition->log().next_offset();
  if (!held) return answer_records(Errc::not_found, {});
  reserve_buffer();
  phase_ = Phase::records;
  read_ = {};
  read_.offset = request_.offset;
  read_.buffer = buffer_;
  read_.context = this;
  read_.done = [](store::ReadOp& op, Errc code) {
    static_cast<SnapshotSource*>(op.context)->on_records(code);
  };
  group_.pin();
  partition->log().read(read_);
}

void SnapshotSource::on_records(Errc code) {
  group_.unpin();
  phase_ = Phase::idle;
  if (code == Errc::corruption) {
    const Partition* const partition = group_.find(request_.partition);
    group_.report_damage(partition == nullptr ? "a partition that is being deleted"
                                              : partition->log().last_error());
  }
  if (code == Errc::ok && read_.bytes.empty()) code = Errc::not_found;
  answer_records(code == Errc::ok ? Errc::ok : Errc::not_found, code == Errc::ok ? read_.bytes : ByteView{});
}

void SnapshotSource::answer_records(Errc code, ByteView records) {
  out_.clear();
  ByteWriter writer(out_);
  encode(SnapshotRecords{request_.partition, request_.offset, code, records}, writer);
  reply(kSnapshotRecords);
}

void SnapshotSource::on_ids_request(NodeId from, std::uint64_t tag, ByteView payload) {
  const auto request = decode_ids_request(payload);
  if (!request || busy()) return;
  to_ = from;
  tag_ = tag;
  ids_request_ = *request;
  note(from, false);
  ids_error_ = Errc::ok;
  phase_ = Phase::ids;
  path_ = group_.deduper_->files().path(request->partition, request->generation);
  op_ = io::DiskOp{};
  op_.kind = io::DiskOp::Kind::open;
  op_.path = path_.c_str();
  op_.context = this;
  op_.done = [](io::DiskOp& op) { static_cast<SnapshotSource*>(op.context)->on_ids_step(); };
  group_.env_.disk.submit(op_);
}

// What a file has beyond the checkpoint's count is left to the one who asks.
void SnapshotSource::on_ids_step() {
  if (ids_error_ == Errc::ok) ids_error_ = op_.error;
  switch (op_.kind) {
    case io::DiskOp::Kind::open:
      if (ids_error_ != Errc::ok) break;
      file_ = op_.file;
      reserve_buffer();
      op_.kind = io::DiskOp::Kind::read;
      op_.offset = std::uint64_t{ids_request_.position} * dedup::kEntryBytes;
      op_.buffer = ByteSpan(buffer_).first(std::min(kIdsBytes, buffer_.size()) / dedup::kEntryBytes *
                                           dedup::kEntryBytes);
      return group_.env_.disk.submit(op_);
    case io::DiskOp::Kind::read:
      ids_bytes_ = op_.transferred / dedup::kEntryBytes * dedup::kEntryBytes;
      op_.kind = io::DiskOp::Kind::close;
      op_.file = file_;
      return group_.env_.disk.submit(op_);
    default: break;
  }
  phase_ = Phase::idle;
  const bool ok = ids_error_ == Errc::ok && ids_bytes_ > 0;
  answer_ids(ok ? Errc::ok : Errc::not_found, ok ? ByteView(buffer_).first(ids_bytes_) : ByteView{});
}

void SnapshotSource::answer_ids(Errc code, ByteView entries) {
  out_.clear();
  ByteWriter writer(out_);
  encode(SnapshotIds{ids_request_, code, entries}, writer);
  reply(kSnapshotIds);
}

void SnapshotSource::reply(std::uint16_t kind) {
  PeerSender* const sender = group_.sender(to_);
  if (sender != nullptr)
    static_cast<void>(sender->queue_service({kind, tag_}, out_));  // asked again when lost
}

}  // namespace esc::replica
