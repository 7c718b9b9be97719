// The sending half of NetEngine: one gather list per connection, sent in windows.
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/base/units.h"
#include "net_engine.h"
#include "tag.h"

namespace esc::io {

namespace {

constexpr std::uint64_t kSendMax = kGiB;  // below the kernel's 2 GiB cap; larger pieces are continued
// WAITALL: the kernel itself continues a partial send when the peer makes room.
constexpr int kSendFlags = MSG_NOSIGNAL | MSG_WAITALL;

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
  if (connection.pieces_left <= 1) {
    // No piece at all is a send of nothing: it completes through the loop like any other.
    const iovec piece = connection.pieces_left == 1 ? connection.pieces[0] : iovec{};
    io_uring_prep_send(&sqe, connection.fd, piece.iov_base, std::min<std::uint64_t>(piece.iov_len, kSendMax),
                       kSendFlags);
    return;
  }
  connection.message = msghdr{};
  connection.message.msg_iov = connection.pieces;
  connection.message.msg_iovlen = connection.pieces_left;
  io_uring_prep_sendmsg(&sqe, connection.fd, &connection.message, kSendFlags);
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
  ESC_ASSERT(connection.send_in_kernel);
  connection.send_in_kernel = false;
  if (completion.result > 0) stats_.sent_bytes += static_cast<std::uint64_t>(completion.result);
  if (connection.closing) return close_when_quiet(connection);
  if (completion.result < 0) {
    return begin_close(connection, completion.result == -ETIMEDOUT ? Errc::timeout : Errc::io_error);
  }
  consume_sent(connection, static_cast<std::uint64_t>(completion.result));
  if (connection.pieces_left > 0) return prepare_send(connection);
  connection.sending = false;
  ++stats_.sends;
  connection.handler->on_sent();
}

}  // namespace esc::io
