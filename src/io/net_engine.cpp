// Connections: opening, receiving, closing. Sends are in net_send.cpp.
#include "net_engine.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "esc/base/assert.h"
#include "socket.h"
#include "tag.h"

namespace esc::io {

namespace {

constexpr std::uint16_t kClientBufferGroup = 0;
constexpr Nanos kAcceptRetry = 100 * kMillisecond;

Errc close_reason_of(int error) {
  switch (error) {
    case ETIMEDOUT: return Errc::timeout;
    case ECANCELED: return Errc::closed;
    default: return Errc::io_error;  // reset, refused, unreachable: all the same to the owner
  }
}

std::uint64_t tag_of(RequestKind kind, const Connection& connection) {
  return make_tag(kind, connection.slot, connection.generation);
}

}  // namespace

NetEngine::NetEngine(SubmissionRing& ring, TimerHeap& timers, const LoopOptions& options, LoopStats& stats)
    : ring_(ring),
      timers_(timers),
      options_(options),
      stats_(stats),
      buffers_(kClientBufferGroup, options),
      table_(options.connections_max, stats.slab_growths),
      gather_(stats.slab_growths) {}

NetEngine::~NetEngine() {
  for (const auto& listener : listeners_) {
    timers_.disarm(listener->retry);
    if (listener->fd >= 0) ::close(listener->fd);
  }
  table_.for_each_open([](Connection& connection) {
    if (connection.notifications > 0) return abandon_unacknowledged(connection);
    ::shutdown(connection.fd, SHUT_RDWR);  // the ring may hold the socket a moment longer
    ::close(connection.fd);
  });
}

// --- listening ---

Result<std::uint16_t> NetEngine::listen(const std::string& host, std::uint16_t port, AcceptHandler& handler) {
  const Result<ListeningSocket> socket = open_listening_socket(host, port, options_.listen_backlog);
  if (!socket) return std::unexpected(socket.error());
  auto listener = std::make_unique<Listener>();
  listener->engine = this;
  listener->index = static_cast<std::uint32_t>(listeners_.size());
  listener->fd = socket->fd;
  listener->handler = &handler;
  listener->retry.context = listener.get();
  listener->retry.fire = [](Timer& timer) {
    auto& self = *static_cast<Listener*>(timer.context);
    self.engine->arm_accept(self);
  };
  listeners_.push_back(std::move(listener));
  arm_accept(*listeners_.back());
  return socket->port;
}

void NetEngine::arm_accept(Listener& listener) {
  io_uring_prep_multishot_accept(&ring_.next_sqe(make_tag(RequestKind::accept, listener.index)), listener.fd,
                                 nullptr, nullptr, SOCK_CLOEXEC);
}

void NetEngine::stop_listening() {
  for (const auto& listener : listeners_) {
    if (listener->fd < 0) continue;
    timers_.disarm(listener->retry);
    io_uring_sqe& sqe = ring_.next_sqe(make_tag(RequestKind::ignored));
    io_uring_prep_cancel64(&sqe, make_tag(RequestKind::accept, listener->index), 0);
    ::shutdown(listener->fd, SHUT_RDWR);  // refuses from now on; the ring still holds the descriptor
    ::close(listener->fd);
    listener->fd = -1;
  }
}

void NetEngine::complete_accept(const Completion& completion) {
  ESC_ASSERT(tag_slot(completion.tag) < listeners_.size());
  Listener& listener = *listeners_[tag_slot(completion.tag)];
  const bool stopped = listener.fd < 0;
  if (completion.result >= 0) {
    if (stopped) {
      ::close(completion.result);
    } else {
      ++stats_.accepted;
      listener.handler->on_accepted(AcceptedSocket{completion.result});
    }
  } else if (!stopped) {
    ++stats_.accept_errors;
  }
  if ((completion.flags & IORING_CQE_F_MORE) != 0 || listener.fd < 0) return;
  // Out of descriptors or memory: accepting again at once would fail again at once.
  const bool passing = completion.result >= 0 || completion.result == -ECONNABORTED;
  if (passing) return arm_accept(listener);
  timers_.arm(listener.retry, now_ + kAcceptRetry);
}

// --- opening ---

std::expected<ConnectionId, Errc> NetEngine::adopt(AcceptedSocket socket, ConnectionHandler& handler) {
  ESC_ASSERT(socket.fd >= 0);
  Connection* const connection = table_.take(handler, socket.fd);
  if (connection == nullptr) {
    ++stats_.connections_refused;
    ::close(socket.fd);
    return std::unexpected(Errc::busy);
  }
  ++stats_.connections_opened;
  connection->connected = true;
  tune_stream(socket.fd, options_.tcp_user_timeout_ms);
  arm_receive(*connection);
  return ConnectionId{.slot = connection->slot, .generation = connection->generation};
}

std::expected<ConnectionId, Errc> NetEngine::connect(const std::string& host, std::uint16_t port,
                                                     ConnectionHandler& handler) {
  const std::expected<SocketAddress, Errc> address = numeric_address(host, port);
  if (!address) return std::unexpected(address.error());
  const int fd = ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0)
    return std::unexpected(errno == EMFILE || errno == ENFILE ? Errc::busy : errc_from_errno(errno));
  Connection* const connection = table_.take(handler, fd);
  if (connection == nullptr) {
    ++stats_.connections_refused;
    ::close(fd);
    return std::unexpected(Errc::busy);
  }
  ++stats_.connections_opened;
  tune_stream(fd, options_.tcp_user_timeout_ms);
  ESC_ASSERT(address->bytes <= sizeof connection->address);
  std::memcpy(&connection->address, &address->storage, address->bytes);
  io_uring_prep_connect(&ring_.next_sqe(tag_of(RequestKind::connect, *connection)), fd,
                        reinterpret_cast<const sockaddr*>(&connection->address), address->bytes);
  connection->connect_in_kernel = true;
  return ConnectionId{.slot = connection->slot, .generation = connection->generation};
}

Connection& NetEngine::owner_of(const Completion& completion) {
  Connection& connection = table_.at(tag_slot(completion.tag));
  // A slot is not reused before the kernel is done with it.
  ESC_ASSERT(connection.open);
  ESC_ASSERT(connection.generation == tag_generation(completion.tag));
  return connection;
}

void NetEngine::complete_connect(const Completion& completion) {
  Connection& connection = owner_of(completion);
  ESC_ASSERT(connection.connect_in_kernel);
  connection.connect_in_kernel = false;
  if (connection.closing) return close_when_quiet(connection);
  if (completion.result < 0) return begin_close(connection, close_reason_of(-completion.result));
  connection.connected = true;
  if (!connection.paused) arm_receive(connection);
  if (connection.sending) prepare_send(connection);
  connection.handler->on_connected();
}

// --- receiving ---

void NetEngine::arm_receive(Connection& connection) {
  ESC_ASSERT(!connection.receive_in_kernel);
  ESC_ASSERT(!connection.closing);
  io_uring_sqe& sqe = ring_.next_sqe(tag_of(RequestKind::receive, connection));
  io_uring_prep_recv_multishot(&sqe, connection.fd, nullptr, 0, 0);
  sqe.flags |= IOSQE_BUFFER_SELECT;
  sqe.buf_group = buffers_.group();
  connection.receive_in_kernel = true;
  ++stats_.receive_arms;
}

void NetEngine::cancel_receive(Connection& connection) {
  io_uring_sqe& sqe = ring_.next_sqe(make_tag(RequestKind::ignored));
  io_uring_prep_cancel64(&sqe, tag_of(RequestKind::receive, connection), 0);
}

void NetEngine::complete_receive(const Completion& completion) {
  Connection& connection = owner_of(completion);
  ESC_ASSERT(connection.receive_in_kernel);
  const bool more = (completion.flags & IORING_CQE_F_MORE) != 0;
  if (!more) connection.receive_in_kernel = false;
  if ((completion.flags & IORING_CQE_F_BUFFER) != 0) {
    const std::uint32_t buffer = ReceiveBuffers::buffer_of(completion);
    const std::uint32_t bytes = completion.result > 0 ? static_cast<std::uint32_t>(completion.result) : 0;
    const ByteView view = buffers_.lend(buffer, bytes);
    if (bytes == 0 || connection.closing) {
      buffers_.give_back(buffer);
    } else {
      ++stats_.receives;
      stats_.received_bytes += bytes;
      connection.handler->on_received(view, ReceiveLoan{buffer});
    }
  }
  if (connection.closing) return close_when_quiet(connection);
  // An end in the middle of our send is not orderly (and may hide a reset whose error the send consumed).
  if (completion.result == 0)
    return begin_close(connection, connection.sending ? Errc::io_error : Errc::closed);
  if (completion.result < 0 && completion.result != -ENOBUFS && completion.result != -ECANCELED) {
    return begin_close(connection, close_reason_of(-completion.result));
  }
  if (more) return;
  if (connection.detaching) return close_when_quiet(connection);
  if (completion.result == -ENOBUFS) ++stats_.receive_starved;
  if (connection.paused) return;
  // Multishot ended: by starvation, by a cancellation that a resume has overtaken, or because the
  // completion queue was full.
  if (completion.result == -ENOBUFS) return starved_.push_back(connection);
  arm_receive(connection);
}

void NetEngine::pause_receive(ConnectionId id) {
  Connection* const connection = table_.find(id);
  if (connection == nullptr || connection->closing || connection->paused || connection->detaching) return;
  connection->paused = true;
  if (connection->linked()) connection->unlink();  // starved
  if (connection->receive_in_kernel) cancel_receive(*connection);
}

void NetEngine::resume_receive(ConnectionId id) {
  Connection* const connection = table_.find(id);
  if (connection == nullptr || connection->closing || !connection->paused) return;  // nor detaching, then
  connection->paused = false;
  // If the cancelled receive is still in the kernel, its completion arms the next one.
  if (connection->connected && !connection->receive_in_kernel) arm_receive(*connection);
}

void NetEngine::release(ReceiveLoan loan) {
  buffers_.give_back(loan.buffer);
}

// --- closing ---

void NetEngine::close(ConnectionId id) {
  Connection* const connection = table_.find(id);
  if (connection != nullptr) begin_close(*connection, Errc::closed);
}

void NetEngine::detach(ConnectionId id) {
  Connection* const connection = table_.find(id);
  if (connection == nullptr || connection->closing || connection->detaching) return;
  ESC_ASSERT_MSG(connection->connected && !connection->sending && !connection->paused,
                 "only a quiet connection can change hands");
  connection->detaching = true;
  if (connection->linked()) connection->unlink();  // starved
  if (connection->receive_in_kernel) cancel_receive(*connection);
  close_when_quiet(*connection);
}

void NetEngine::set_peer_timeout(ConnectionId id, std::uint32_t timeout_ms) {
  const Connection* const connection = table_.find(id);
  if (connection != nullptr && !connection->closing) watch_peer(connection->fd, timeout_ms);
}

std::string NetEngine::peer_address(ConnectionId id) {
  const Connection* const connection = table_.find(id);
  return connection == nullptr ? std::string() : peer_of(connection->fd);
}

void NetEngine::begin_close(Connection& connection, Errc reason) {
  if (connection.closing) return;
  connection.closing = true;
  connection.close_reason = reason;
  if (connection.linked()) connection.unlink();  // starved, or detached but not yet reported
  if (connection.requests_in_kernel()) {
    io_uring_sqe& sqe = ring_.next_sqe(make_tag(RequestKind::ignored));
    io_uring_prep_cancel_fd(&sqe, connection.fd, IORING_ASYNC_CANCEL_ALL);
  }
  close_when_quiet(connection);
}

void NetEngine::close_when_quiet(Connection& connection) {
  ESC_ASSERT(connection.closing || connection.detaching);
  if (!connection.requests_in_kernel() && connection.notifications > 0) abandon_unacknowledged(connection);
  if (connection.kernel_busy() || connection.linked()) return;
  closed_.push_back(connection);
}

std::uint32_t NetEngine::run_deferred(Nanos now) {
  now_ = now;
  std::uint32_t closings = 0;
  // A handler that closes others from on_closed adds to the list; the bound leaves them for later.
  for (const std::uint32_t bound = table_.open(); closings < bound && !closed_.empty(); ++closings) {
    finish(closed_.pop_front());
  }
  // One receive per free buffer. An idle connection among them may leave its buffer unused, but then
  // it has left this list, so the others' turn comes.
  for (std::uint32_t free = buffers_.available(); free > 0 && !starved_.empty(); --free) {
    arm_receive(starved_.pop_front());
  }
  return closings;
}

// Frees the slot and says how it ended.
void NetEngine::finish(Connection& connection) {
  drop_pieces(connection);
  ConnectionHandler& handler = *connection.handler;
  const Errc reason = connection.close_reason;
  const AcceptedSocket socket{connection.fd};
  const bool closing = connection.closing;
  if (closing && socket.fd >= 0) ::close(socket.fd);
  table_.put_back(connection);
  ++(closing ? stats_.connections_closed : stats_.connections_detached);
  if (closing) {
    handler.on_closed(reason);
  } else {
    handler.on_detached(socket);
  }
}

}  // namespace esc::io
