#include "peer_sender.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::replica {
namespace {

constexpr std::uint64_t kSendBytesMax = 1 * kMiB;  // of one gathered send; one frame may go beyond

}  // namespace

void PeerSender::queue(const raft::Message& message) {
  const auto* append = std::get_if<raft::AppendEntries>(&message.payload);
  if (append != nullptr && append->count > 0) {
    if (!appends_.full()) appends_.push(message);
    return;
  }
  if (!control_.full()) control_.push(message);
}

bool PeerSender::queue_service(peer::Service service, ByteView payload) {
  if (service_slot_ != Slot::empty || payload.size() > message_bytes_max_) return false;
  service_ = service;
  service_payload_.assign(payload.begin(), payload.end());
  service_slot_ = Slot::waiting;
  return true;
}

void PeerSender::link_down() {
  control_.clear();
  appends_.clear();
  service_slot_ = Slot::empty;
  in_flight_ = false;
  if (catch_up_ == CatchUp::ready || catch_up_ == CatchUp::sending) catch_up_ = CatchUp::idle;
}

void PeerSender::sent() {
  in_flight_ = false;
  if (catch_up_ == CatchUp::sending) catch_up_ = CatchUp::idle;
  if (service_slot_ == Slot::sending) service_slot_ = Slot::empty;
}

std::uint32_t PeerSender::flush(peer::Links& links, const FrameRing& ring, wal::Log& wal, Nanos now) {
  if (in_flight_ || (control_.empty() && appends_.empty() && service_slot_ != Slot::waiting) ||
      !links.can_send(peer_))
    return 0;
  outgoing_.clear();
  pieces_.clear();
  bytes_ = 0;
  pinned_frame_ = UINT64_MAX;
  for (; !control_.empty() && !outgoing_.full(); control_.pop()) add(control_.front(), pieces_.size());
  while (!appends_.empty() && !outgoing_.full() && !pieces_.full() && bytes_ < kSendBytesMax) {
    if (!add_append(ring, wal)) break;
  }
  if (service_slot_ == Slot::waiting && !outgoing_.full() && !pieces_.full()) add_service();
  if (outgoing_.empty()) return 0;
  in_flight_ = true;
  sent_at_ = now;
  links.send(peer_, std::span<const peer::Outgoing>(outgoing_.begin(), outgoing_.size()));
  return static_cast<std::uint32_t>(outgoing_.size());
}

void PeerSender::add(const raft::Message& message, std::size_t first_piece) {
  peer::Outgoing outgoing;
  outgoing.message = message;
  outgoing.payload =
      std::span<const struct iovec>(pieces_.begin() + first_piece, pieces_.size() - first_piece);
  outgoing_.push_back(outgoing);
}

void PeerSender::add_service() {
  const std::size_t first_piece = pieces_.size();
  if (!service_payload_.empty()) pieces_.push_back({service_payload_.data(), service_payload_.size()});
  peer::Outgoing outgoing;
  outgoing.message = service_;
  outgoing.payload =
      std::span<const struct iovec>(pieces_.begin() + first_piece, pieces_.size() - first_piece);
  outgoing_.push_back(outgoing);
  service_slot_ = Slot::sending;
}

// Puts the entries of the oldest waiting AppendEntries beside it, as many as are at hand and fit. A message
// that is only partly served stays in front, shortened. False: nothing more can be added to this send.
bool PeerSender::add_append(const FrameRing& ring, wal::Log& wal) {
  raft::Message& message = appends_.front();
  auto& append = std::get<raft::AppendEntries>(message.payload);
  const Index first = append.prev_index.next();
  const Index last = append.prev_index + append.count;
  const std::size_t first_piece = pieces_.size();
  std::uint32_t count = 0;
  std::uint64_t bytes = 0;
  bool more = true;
  if (const std::uint64_t sequence = ring.sequence_of(first); sequence != kNoEntry) {
    const std::uint64_t end = sequence + (append.count - 1);
    while (count < append.count && !pieces_.full() && bytes_ + bytes < kSendBytesMax) {
      const FrameRing::Slice slice = ring.slice(sequence + count, end);
      if (bytes + slice.bytes > message_bytes_max_) break;
      pieces_.push_back({const_cast<std::byte*>(slice.data), slice.bytes});
      pinned_frame_ = std::min(pinned_frame_, slice.frame);
      count += slice.entries;
      bytes += slice.bytes;
    }
  } else if (catch_up_ == CatchUp::ready && read_.first == first && read_.term == append.entries_term) {
    count = static_cast<std::uint32_t>(std::min(read_.last, last) - append.prev_index);
    pieces_.push_back({const_cast<std::byte*>(read_.entries.data()), read_.entries.size()});
    bytes = read_.entries.size();
    catch_up_ = CatchUp::sending;
    more = false;  // the buffer is in use until this is sent
  } else {
    if (catch_up_ == CatchUp::ready) catch_up_ = CatchUp::idle;  // not wanted any more
    if (catch_up_ == CatchUp::idle) {
      if (wal.has(first)) {
        read_wal(wal, first, last);
      } else {
        appends_.pop();  // the core will find out that the peer needs a snapshot
      }
    }
    return false;
  }
  raft::Message part = message;
  auto& part_append = std::get<raft::AppendEntries>(part.payload);
  part_append.count = count;
  part_append.bytes = bytes;
  bytes_ += bytes;
  add(part, first_piece);
  if (count == append.count) {
    appends_.pop();
  } else {
    append.prev_index = append.prev_index + count;
    append.prev_term = append.entries_term;
    append.count -= count;
  }
  return more;
}

void PeerSender::read_wal(wal::Log& wal, Index first, Index last) {
  if (memory_.empty()) memory_.resize(std::size_t{message_bytes_max_} + kBlockBytes);
  const std::size_t address = reinterpret_cast<std::uintptr_t>(memory_.data());
  const std::size_t shift = align_up(std::uint64_t{address}, kBlockBytes) - address;
  catch_up_ = CatchUp::reading;
  read_ = {};
  read_.first = first;
  read_.last_max = last;
  read_.buffer = ByteSpan(memory_).subspan(shift, message_bytes_max_);
  read_.context = this;
  read_.done = &PeerSender::on_read;
  wal.read(read_);
}

// After a failure the core's heartbeats find the peer where it was, and ask again.
void PeerSender::on_read(wal::EntryRead& read, Errc code) {
  auto& self = *static_cast<PeerSender*>(read.context);
  self.catch_up_ = code == Errc::ok ? CatchUp::ready : CatchUp::idle;
  self.read_error_ = code == Errc::ok ? std::string() : read.detail;
  self.read_damage_ = code == Errc::corruption;
  if (code != Errc::ok) self.appends_.clear();
}

}  // namespace esc::replica
