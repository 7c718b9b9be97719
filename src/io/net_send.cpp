// The sending half of NetEngine: one gather list per connection, sent in windows.
//
// A zero-copy send completes twice (io_uring_prep_sendmsg_zc(3)): with its result, and, if that says so, with
// a notification when the kernel does not read the memory any more. The next window need not wait for the
// notification of the one before; on_sent and on_closed wait for all.
#include <linux/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "esc/base/assert.h"
#include "esc/base/units.h"
#include "esc/obs/metrics.h"
#include "net_engine.h"
#include "tag.h"

namespace esc::io {

namespace {

constexpr std::uint64_t kSendMax = kGiB;  // below the kernel's 2 GiB cap; larger pieces are continued
// WAITALL: the kernel itself continues a partial send when the peer makes room.
constexpr int kSendFlags = MSG_NOSIGNAL | MSG_WAITALL;
// Of Linux 6.2, unknown to liburing 2.3.
constexpr std::uint16_t kReportUsage = 1u << 3;  // IORING_SEND_ZC_REPORT_USAGE
constexpr std::uint32_t kCopied = 1u << 31;      // IORING_NOTIF_USAGE_ZC_COPIED

// The socket, the kernel or a limit on pinned memory does not allow it; a plain send may well succeed.
bool refuses_zero_copy(int result) {
  return result == -EOPNOTSUPP || result == -EINVAL || result == -ENOMEM || result == -ENOBUFS;
}

// The shortest that TCP has seen; 0 when unknown.
Nanos round_trip(int fd) {
  tcp_info info{};
  socklen_t bytes = sizeof info;
  if (::getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &bytes) != 0) return 0;
  return Nanos{info.tcpi_min_rtt} * kMicrosecond;
}

}  // namespace

void NetEngine::send(ConnectionId id, std::span<const iovec> pieces) {
  Connection* const connection = table_.find(id);
  if (connection == nullptr || connection->closing) return;  // on_closed follows or has been called
  ESC_ASSERT_MSG(!connection->sending, "one send at a time per connection");
  ESC_ASSERT_MSG(!connection->detaching, "a connection that changes hands stays quiet");
  connection->sending = true;
  load_pieces(*connection, pieces);
  if (connection->connected) prepare_send(*connection);  // else complete_connect does
}

// Copies the piece array: into the slot when short, else into pooled blocks.
void NetEngine::load_pieces(Connection& connection, std::span<const iovec> pieces) {
  ESC_ASSERT(connection.blocks == nullptr);
  if (pieces.size() <= Connection::kInlinePieces) {
    std::ranges::copy(pieces, connection.inline_pieces.begin());
    connection.pieces = connection.inline_pieces.data();
    connection.pieces_left = static_cast<std::uint32_t>(pieces.size());
    return;
  }
  GatherBlock** link = &connection.blocks;
  while (!pieces.empty()) {
    GatherBlock& block = gather_.take();
    block.count = static_cast<std::uint32_t>(std::min<std::size_t>(pieces.size(), GatherBlock::kPieces));
    std::ranges::copy(pieces.first(block.count), block.pieces.begin());
    pieces = pieces.subspan(block.count);
    *link = &block;
    link = &block.next;
  }
  connection.pieces = connection.blocks->pieces.data();
  connection.pieces_left = connection.blocks->count;
}

void NetEngine::prepare_send(Connection& connection) {
  ESC_ASSERT(!connection.send_in_kernel);
  connection.send_in_kernel = true;
  ++stats_.send_ops;
  io_uring_sqe& sqe = ring_.next_sqe(make_tag(RequestKind::send, connection.slot, connection.generation));
  connection.zero_copy_in_kernel = wants_zero_copy(connection);
  if (connection.pieces_left <= 1 && !connection.zero_copy_in_kernel) {
    // No piece at all is a send of nothing: it completes through the loop like any other.
    const iovec piece = connection.pieces_left == 1 ? connection.pieces[0] : iovec{};
    io_uring_prep_send(&sqe, connection.fd, piece.iov_base, std::min<std::uint64_t>(piece.iov_len, kSendMax),
                       kSendFlags);
    return;
  }
  connection.message = msghdr{};
  connection.message.msg_iov = connection.pieces;
  connection.message.msg_iovlen = connection.pieces_left;
  if (!connection.zero_copy_in_kernel) {
    io_uring_prep_sendmsg(&sqe, connection.fd, &connection.message, kSendFlags);
    return;
  }
  ++stats_.zero_copy_sends;
  if (options_.zero_copy_sends != nullptr) options_.zero_copy_sends->add();
  io_uring_prep_sendmsg_zc(&sqe, connection.fd, &connection.message, kSendFlags);
  sqe.ioprio = kReportUsage;
}

void NetEngine::allow_zero_copy(ConnectionId id) {
  Connection* const connection = table_.find(id);
  if (connection == nullptr || connection->closing) return;
  connection->zero_copy = options_.zero_copy_bytes_min > 0 && ring_.supports(IORING_OP_SENDMSG_ZC) &&
                          round_trip(connection->fd) <= options_.zero_copy_round_trip_max;
}

bool NetEngine::wants_zero_copy(const Connection& connection) const {
  if (!connection.zero_copy) return false;
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < connection.pieces_left; ++i) bytes += connection.pieces[i].iov_len;
  return bytes >= options_.zero_copy_bytes_min;
}

// Moves the window past `bytes` and past empty pieces.
void NetEngine::consume_sent(Connection& connection, std::uint64_t bytes) {
  while (connection.pieces_left > 0) {
    iovec& piece = connection.pieces[0];
    if (bytes < piece.iov_len) {
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + bytes;
      piece.iov_len -= bytes;
      return;
    }
    bytes -= piece.iov_len;
    ++connection.pieces;
    if (--connection.pieces_left > 0 || connection.blocks == nullptr) continue;
    GatherBlock& spent = *connection.blocks;
    connection.blocks = spent.next;
    gather_.put_back(spent);
    if (connection.blocks == nullptr) continue;
    connection.pieces = connection.blocks->pieces.data();
    connection.pieces_left = connection.blocks->count;
  }
  ESC_ASSERT_MSG(bytes == 0, "the kernel sent more than it was given");
}

void NetEngine::drop_pieces(Connection& connection) {
  while (connection.blocks != nullptr) {
    GatherBlock& block = *connection.blocks;
    connection.blocks = block.next;
    gather_.put_back(block);
  }
  connection.pieces_left = 0;
  connection.sending = false;
}

void NetEngine::complete_send(const Completion& completion) {
  Connection& connection = owner_of(completion);
  if ((completion.flags & IORING_CQE_F_NOTIF) != 0)
    return complete_notification(connection, completion.result);
  ESC_ASSERT(connection.send_in_kernel);
  connection.send_in_kernel = false;
  const bool zero_copy = std::exchange(connection.zero_copy_in_kernel, false);
  if ((completion.flags & IORING_CQE_F_MORE) != 0) ++connection.notifications;
  if (completion.result > 0) stats_.sent_bytes += static_cast<std::uint64_t>(completion.result);
  if (connection.closing) return close_when_quiet(connection);
  if (zero_copy && refuses_zero_copy(completion.result)) {
    connection.zero_copy = false;
    prepare_send(connection);
    return end_zero_copy(connection, false);
  }
  if (completion.result < 0) {
    return begin_close(connection, completion.result == -ETIMEDOUT ? Errc::timeout : Errc::io_error);
  }
  consume_sent(connection, static_cast<std::uint64_t>(completion.result));
  if (connection.pieces_left > 0) return prepare_send(connection);
  if (connection.notifications == 0) finish_send(connection);
}

void NetEngine::finish_send(Connection& connection) {
  connection.sending = false;
  ++stats_.sends;
  connection.handler->on_sent();
}

// `usage`: whether the bytes went out without a copy, see IORING_SEND_ZC_REPORT_USAGE.
void NetEngine::complete_notification(Connection& connection, std::int32_t usage) {
  ESC_ASSERT(connection.notifications > 0);
  --connection.notifications;
  if (connection.closing) return close_when_quiet(connection);
  if (connection.zero_copy && (static_cast<std::uint32_t>(usage) & kCopied) != 0) {
    connection.zero_copy = false;
    end_zero_copy(connection, true);
    if (connection.closing) return;  // by the handler
  }
  if (connection.notifications == 0 && !connection.send_in_kernel) finish_send(connection);
}

void NetEngine::end_zero_copy(Connection& connection, bool copied) {
  ++stats_.zero_copy_ended;
  if (options_.zero_copy_ended != nullptr) options_.zero_copy_ended->add();
  connection.handler->on_zero_copy_ended(copied);
}

// An orderly close would go on sending, and reading our memory, until the other machine has acknowledged all
// or a time has passed. Dissolving the association (connect(2), AF_UNSPEC) resets it and throws away what is
// queued, at once, whoever else still holds the socket, such as requests of a ring that is being torn down.
// The notifications follow.
void NetEngine::abandon_unacknowledged(Connection& connection) {
  if (connection.fd < 0) return;
  const sockaddr nobody{.sa_family = AF_UNSPEC, .sa_data = {}};
  const linger reset{.l_onoff = 1, .l_linger = 0};  // should the kernel refuse that (EBUSY)
  (void)::setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  (void)::connect(connection.fd, &nobody, sizeof nobody);
  ::close(std::exchange(connection.fd, -1));
}

}  // namespace esc::io
