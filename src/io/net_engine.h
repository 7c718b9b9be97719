// Connections over the ring: multishot accept and receive, one send at a time, closing in two steps
// (cancel what is in the kernel; when it has let go, on_closed).
//
// A slot is freed only by run_deferred(), never inside a callback, so callbacks may call anything.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "connection_table.h"
#include "esc/base/intrusive_list.h"
#include "esc/io/net.h"
#include "esc/io/uring_loop.h"
#include "receive_buffers.h"
#include "submission_ring.h"
#include "timer_heap.h"

namespace esc::io {

class NetEngine {
 public:
  NetEngine(SubmissionRing& ring, TimerHeap& timers, const LoopOptions& options, LoopStats& stats);
  NetEngine(const NetEngine&) = delete;
  NetEngine& operator=(const NetEngine&) = delete;
  ~NetEngine();
  [[nodiscard]] Status open() { return buffers_.open(ring_); }

  [[nodiscard]] Result<std::uint16_t> listen(const std::string& host, std::uint16_t port,
                                             AcceptHandler& handler);
  void stop_listening();
  [[nodiscard]] std::expected<ConnectionId, Errc> adopt(AcceptedSocket socket, ConnectionHandler& handler);
  [[nodiscard]] std::expected<ConnectionId, Errc> connect(const std::string& host, std::uint16_t port,
                                                          ConnectionHandler& handler);
  void send(ConnectionId id, std::span<const iovec> pieces);
  void pause_receive(ConnectionId id);
  void resume_receive(ConnectionId id);
  void release(ReceiveLoan loan);
  void close(ConnectionId id);
  void detach(ConnectionId id);
  void set_peer_timeout(ConnectionId id, std::uint32_t timeout_ms);
  void allow_zero_copy(ConnectionId id);
  [[nodiscard]] std::string peer_address(ConnectionId id);

  void complete_accept(const Completion& completion);
  void complete_receive(const Completion& completion);
  void complete_send(const Completion& completion);
  void complete_connect(const Completion& completion);

  // Closings whose requests are over, and receives that waited for buffers. Returns closings done.
  std::uint32_t run_deferred(Nanos now);

  [[nodiscard]] std::uint32_t connections_open() const { return table_.open(); }
  [[nodiscard]] std::uint32_t buffers_lent() const { return buffers_.lent(); }

 private:
  struct Listener {
    NetEngine* engine = nullptr;
    std::uint32_t index = 0;
    int fd = -1;  // -1 after stop_listening
    AcceptHandler* handler = nullptr;
    Timer retry;  // after an error that would come back at once
  };

  void arm_accept(Listener& listener);
  void arm_receive(Connection& connection);
  void cancel_receive(Connection& connection);
  void load_pieces(Connection& connection, std::span<const iovec> pieces);
  void prepare_send(Connection& connection);
  void consume_sent(Connection& connection, std::uint64_t bytes);
  void drop_pieces(Connection& connection);
  [[nodiscard]] bool wants_zero_copy(const Connection& connection) const;
  void complete_notification(Connection& connection, std::int32_t usage);
  void end_zero_copy(Connection& connection, bool copied);
  void finish_send(Connection& connection);
  static void abandon_unacknowledged(Connection& connection);
  void begin_close(Connection& connection, Errc reason);
  void close_when_quiet(Connection& connection);
  void finish(Connection& connection);
  [[nodiscard]] Connection& owner_of(const Completion& completion);

  SubmissionRing& ring_;
  TimerHeap& timers_;
  const LoopOptions& options_;
  LoopStats& stats_;
  Nanos now_ = 0;
  ReceiveBuffers buffers_;
  ConnectionTable table_;
  GatherPool gather_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  IntrusiveList<Connection> starved_;  // want to receive, found no buffer
  IntrusiveList<Connection> closed_;   // closing or detaching, nothing in the kernel
};

}  // namespace esc::io
