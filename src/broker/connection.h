// One client connection: cuts the byte stream into requests, sends the answers in request order.
//
// A request that lies in one receive buffer is used in place; one that spans buffers is put together in a
// pool buffer that grows with the bytes that really arrive, so that announcing a large size costs nothing.
// Too many unanswered requests, or no memory, stop the receive; TCP's window does the rest.
#pragma once

#include <array>

#include "esc/base/fixed_vector.h"
#include "esc/base/intrusive_list.h"
#include "esc/broker/broker.h"
#include "esc/io/net.h"

namespace esc::broker {

// Links a connection into the list of those that wait for request memory.
struct MemoryWaiter : ListNode<MemoryWaiter> {
  Connection* connection = nullptr;
};

class Connection : public io::ConnectionHandler, public ListNode<Connection> {
 public:
  static constexpr std::size_t kAnswersPerSend = 64;
  static constexpr std::size_t kPiecesPerSend = 256;

  explicit Connection(Broker& broker) : broker_(broker) { memory_waiter_.connection = this; }

  void open(io::ConnectionId id, Nanos now);
  void on_received(ByteView bytes, io::ReceiveLoan loan) override;
  void on_sent() override;
  void on_closed(Errc reason) override;

  // The answer of one of this connection's requests is final.
  void answer_ready() { send_answers(); }
  void close();
  // Ends the wait of its parked fetches.
  void hurry();
  // Memory may have become free.
  void retry();
  // Of the client, for people; empty when it has gone. A system call.
  [[nodiscard]] std::string address() const { return broker_.env().net.peer_address(id_); }
  // No earlier request of this connection is unanswered.
  [[nodiscard]] bool is_first(const Request& request) { return &requests_.front() == &request; }
  [[nodiscard]] MemoryWaiter& memory_waiter() { return memory_waiter_; }

  // Since when the client looks for leaders in vain, 0: it does not. See elsewhere.h.
  Nanos search_since = 0;

  // For eviction: since when it makes no progress, and the memory it holds meanwhile.
  [[nodiscard]] bool sending() const { return sending_; }
  [[nodiscard]] Nanos last_progress() const { return last_progress_; }
  [[nodiscard]] std::size_t partial_bytes() const { return partial_.size(); }
  [[nodiscard]] std::size_t sending_bytes() const { return sending_bytes_; }

 private:
  struct Stalled {
    ByteView rest;
    io::ReceiveLoan loan;
  };

  // Consumes `bytes` as far as possible; the rest is what a stall left over.
  ByteView consume(ByteView bytes, io::ReceiveLoan loan);
  [[nodiscard]] bool may_start_request() const;
  [[nodiscard]] bool begin_frame(ByteView& bytes);
  [[nodiscard]] bool grow_partial();
  void start_request(ByteView frame, io::ReceiveLoan loan, ByteSpan assembled);
  void stall(ByteView rest, io::ReceiveLoan loan);
  void send_answers();
  void start_first();
  void drop_partial();
  void abandon_input();

  Broker& broker_;
  io::ConnectionId id_;
  MemoryWaiter memory_waiter_;
  IntrusiveList<Request> requests_;  // unanswered, in order
  std::uint32_t request_count_ = 0;
  std::uint64_t request_bytes_ = 0;

  std::array<std::byte, 4> prefix_{};
  std::uint32_t prefix_bytes_ = 0;
  std::uint32_t frame_bytes_ = 0;  // announced size of the frame being received, 0: between frames
  ByteSpan partial_;               // pool buffer
  std::uint32_t partial_used_ = 0;

  FixedVector<Stalled, 64> stalled_;
  bool receive_paused_ = false;
  bool closing_ = false;
  bool in_consume_ = false;
  bool sending_ = false;
  std::uint32_t answers_in_send_ = 0;
  std::size_t sending_bytes_ = 0;
  Nanos last_progress_ = 0;
  friend class Broker;
};

}  // namespace esc::broker
