// What waits to be sent to one peer, and what is on its way: at most one gathered send. Private to the group.
//
// Messages without entries overtake those with entries, so that heartbeats and votes never wait for a disk.
// Entries are sent straight from the ring's frames, which stay pinned meanwhile; what has left the ring is
// read from the WAL first. Full queues drop messages: the core repeats what matters.
//
// Threading: the group's core. Memory: fixed, but for the catch-up buffer, made when a peer first lags.
#pragma once

#include <array>
#include <string>
#include <utility>
#include <vector>

#include "esc/base/fixed_vector.h"
#include "esc/peer/links.h"
#include "esc/replica/frame_ring.h"
#include "esc/wal/log.h"

namespace esc::replica {

class PeerSender {
 public:
  // `message_bytes_max` bounds the entries of one message and holds the largest frame.
  PeerSender(NodeId peer, std::uint32_t message_bytes_max)
      : peer_(peer), message_bytes_max_(message_bytes_max) {}
  PeerSender(const PeerSender&) = delete;
  PeerSender& operator=(const PeerSender&) = delete;

  [[nodiscard]] NodeId peer() const { return peer_; }
  void queue(const raft::Message& message);
  // Copies a message of the floors above. False: the one before has not left yet (or too large a payload).
  [[nodiscard]] bool queue_service(peer::Service service, ByteView payload);
  // Leadership is lost: entries are not ours to send any more.
  void forget_entries() { appends_.clear(); }
  void link_down();
  void sent();

  // Starts the next send when the link is free. Returns the amount of work done.
  std::uint32_t flush(peer::Links& links, const FrameRing& ring, wal::Log& wal, Nanos now);

  // The oldest frame that a send still reads, UINT64_MAX when none.
  [[nodiscard]] std::uint64_t pinned_frame() const { return in_flight_ ? pinned_frame_ : UINT64_MAX; }
  [[nodiscard]] Nanos sent_at() const { return sent_at_; }
  // Not empty once: why the last read of the WAL failed.
  [[nodiscard]] std::string take_read_error() { return std::exchange(read_error_, {}); }
  // Whether the last one was about bytes that fail their checksum.
  [[nodiscard]] bool read_damage() const { return read_damage_; }

 private:
  // Oldest first, bounded.
  template <std::size_t Capacity>
  class Queue {
   public:
    [[nodiscard]] bool empty() const { return head_ == tail_; }
    [[nodiscard]] bool full() const { return tail_ - head_ == Capacity; }
    [[nodiscard]] raft::Message& front() { return items_[head_ % Capacity]; }
    void pop() { ++head_; }
    void push(const raft::Message& message) { items_[tail_++ % Capacity] = message; }
    void clear() { head_ = tail_; }

   private:
    std::size_t head_ = 0;
    std::size_t tail_ = 0;
    std::array<raft::Message, Capacity> items_;
  };
  enum class Slot : std::uint8_t { empty, waiting, sending };
  enum class CatchUp : std::uint8_t { idle, reading, ready, sending };
  static constexpr std::size_t kMessagesMax = 48;  // of one send
  static constexpr std::size_t kPiecesMax = 512;

  void add_service();
  [[nodiscard]] bool add_append(const FrameRing& ring, wal::Log& wal);
  void add(const raft::Message& message, std::size_t first_piece);
  void read_wal(wal::Log& wal, Index first, Index last);
  static void on_read(wal::EntryRead& read, Errc code);

  NodeId peer_;
  std::uint32_t message_bytes_max_;
  Queue<32> control_;
  Queue<128> appends_;
  FixedVector<peer::Outgoing, kMessagesMax> outgoing_;
  FixedVector<struct iovec, kPiecesMax> pieces_;
  std::uint64_t bytes_ = 0;  // of the send being put together
  bool in_flight_ = false;
  std::uint64_t pinned_frame_ = UINT64_MAX;
  Nanos sent_at_ = 0;

  Slot service_slot_ = Slot::empty;
  peer::Service service_;
  std::vector<std::byte> service_payload_;

  CatchUp catch_up_ = CatchUp::idle;
  wal::EntryRead read_;
  std::string read_error_;
  bool read_damage_ = false;
  std::vector<std::byte> memory_;  // aligned inside
};

}  // namespace esc::replica
