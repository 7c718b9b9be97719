// Contract of the network: stream connections with borrowed receive buffers and gathered sends.
//
// Threading: a Net belongs to one core; all calls and callbacks happen on it. Sockets accepted on
// one core may be adopted by another (`AcceptedSocket` is a plain value).
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <span>
#include <string>

#include "esc/base/bytes.h"
#include "esc/base/result.h"

namespace esc::io {

struct ConnectionId {
  std::uint32_t slot = UINT32_MAX;
  std::uint32_t generation = 0;
  [[nodiscard]] bool valid() const { return slot != UINT32_MAX; }
  bool operator==(const ConnectionId&) const = default;
};

struct AcceptedSocket {
  int fd = -1;
};

// A loan of a receive buffer: give it back with Net::release as soon as its bytes are used.
// Several loans of one physical buffer are not made: one loan, one release.
struct ReceiveLoan {
  std::uint32_t buffer = UINT32_MAX;
  [[nodiscard]] bool valid() const { return buffer != UINT32_MAX; }
};

// Callbacks of one connection. The handler outlives the connection (until on_closed returned).
class ConnectionHandler {
 public:
  virtual ~ConnectionHandler() = default;
  // Bytes arrived, in stream order. They stay valid until `loan` is released.
  virtual void on_received(ByteView bytes, ReceiveLoan loan) = 0;
  // The one outstanding send is complete: every byte is with the kernel and (for zero-copy) the
  // memory is no longer read. Not called when the connection fails; then on_closed is.
  virtual void on_sent() = 0;
  // The connection is gone (peer closed, reset, error, or close() was called). Called exactly once,
  // after the kernel no longer touches memory of an outstanding send. `reason` is Errc::closed for
  // an orderly end by either side.
  virtual void on_closed(Errc reason) = 0;
  // Only for connections made by connect(): established.
  virtual void on_connected() {}
  // Only after allow_zero_copy(): it is over for this connection. The kernel copies the bytes all the same
  // (`copied`), as within one machine, or does not take such sends. Nothing is lost.
  virtual void on_zero_copy_ended(bool /*copied*/) {}
  // Only after detach(), instead of on_closed: the connection is no longer this Net's, the socket is the
  // handler's. Bytes that came before have been delivered; what comes later waits in the socket.
  virtual void on_detached(AcceptedSocket) {}
};

class AcceptHandler {
 public:
  virtual ~AcceptHandler() = default;
  virtual void on_accepted(AcceptedSocket socket) = 0;
};

class Net {
 public:
  virtual ~Net() = default;
  // Starts to listen; returns the bound port (useful with port 0). Blocking; startup only.
  // An address in use is an error that names the address and what to do.
  [[nodiscard]] virtual Result<std::uint16_t> listen(const std::string& host, std::uint16_t port,
                                                     AcceptHandler& handler) = 0;
  // Stops accepting on every listener of this Net.
  virtual void stop_listening() = 0;
  // Takes over the socket and starts to receive. Errc::busy when all connection slots are used (the
  // socket is then closed).
  [[nodiscard]] virtual std::expected<ConnectionId, Errc> adopt(AcceptedSocket socket,
                                                                ConnectionHandler& handler) = 0;
  // Begins a TCP connection; on_connected or on_closed follows. `host` is a numeric address.
  [[nodiscard]] virtual std::expected<ConnectionId, Errc> connect(const std::string& host, std::uint16_t port,
                                                                  ConnectionHandler& handler) = 0;
  // Sends all pieces, in order. One send at a time per connection; the piece array is copied, the
  // bytes are the caller's and stay unchanged until on_sent or on_closed. Any number of pieces.
  virtual void send(ConnectionId connection, std::span<const struct iovec> pieces) = 0;
  // Stops and resumes the delivery of received bytes (back-pressure: TCP's window does the rest).
  // At most the bytes of already filled buffers are still delivered after a pause.
  virtual void pause_receive(ConnectionId connection) = 0;
  virtual void resume_receive(ConnectionId connection) = 0;
  virtual void release(ReceiveLoan loan) = 0;
  // Closes; on_closed follows from the loop. Ignored when the id is stale.
  virtual void close(ConnectionId connection) = 0;
  // Gives the socket away, so that another core's Net can adopt it; on_detached follows from the loop (or
  // on_closed, when the connection ends first). Only while no send is in flight and the receive is not
  // paused; bytes that arrive before on_detached are still delivered here, so the protocol must have the
  // other side silent at this point. Ignored when the id is stale.
  virtual void detach(ConnectionId connection) = 0;
  // Drops the connection (on_closed with Errc::timeout) when the other machine has acknowledged nothing
  // for about this long, idle or not. Without it the limits of the loop's options hold, which suit clients.
  virtual void set_peer_timeout(ConnectionId, std::uint32_t /*timeout_ms*/) {}
  // Large sends of this connection may be read where they lie until the other machine has acknowledged them;
  // on_sent comes that much later, and closing meanwhile resets the connection. A hint: without kernel
  // support sends are copied as ever.
  virtual void allow_zero_copy(ConnectionId) {}
  // The other side's numeric address and port, for people; empty when the connection is gone. A system call.
  [[nodiscard]] virtual std::string peer_address(ConnectionId) { return {}; }
};

}  // namespace esc::io
