// The state of one connection slot, and the gather lists of its sends.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <array>
#include <cstdint>

#include "esc/base/intrusive_list.h"
#include "esc/io/net.h"

namespace esc::io {

// Part of a long gather list: as many pieces as one kernel send takes.
struct GatherBlock {
  static constexpr std::uint32_t kPieces = 63;
  GatherBlock* next = nullptr;
  std::uint32_t count = 0;
  std::array<iovec, kPieces> pieces;
};
static_assert(sizeof(GatherBlock) == 1024);

struct Connection : ListNode<Connection> {
  static constexpr std::uint32_t kInlinePieces = 4;  // a response header and a few batches

  ConnectionHandler* handler = nullptr;
  int fd = -1;
  std::uint32_t slot = 0;
  std::uint32_t generation = 0;
  std::uint32_t next_free = UINT32_MAX;

  bool open = false;  // the slot is in use
  bool connected = false;
  bool closing = false;    // no more callbacks but on_closed
  bool detaching = false;  // no more requests; the socket leaves when the kernel has let go of it
  bool paused = false;     // the owner does not want bytes
  bool connect_in_kernel = false;
  bool receive_in_kernel = false;
  bool send_in_kernel = false;
  bool sending = false;              // a send() is not complete
  bool zero_copy = false;            // allowed, and not found useless yet
  bool zero_copy_in_kernel = false;  // the send in the kernel is one
  std::uint32_t notifications = 0;   // zero-copy sends whose memory the kernel may still read
  Errc close_reason = Errc::closed;

  // What remains of the current send: a window of pieces, then blocks behind it.
  iovec* pieces = nullptr;
  std::uint32_t pieces_left = 0;
  GatherBlock* blocks = nullptr;  // the block `pieces` points into, if any, and its successors
  msghdr message{};
  std::array<iovec, kInlinePieces> inline_pieces{};

  // Only while connecting; the kernel reads it at submission.
  union {
    sockaddr_in v4;
    sockaddr_in6 v6;
  } address{};

  [[nodiscard]] bool requests_in_kernel() const {
    return connect_in_kernel || receive_in_kernel || send_in_kernel;
  }
  [[nodiscard]] bool kernel_busy() const { return requests_in_kernel() || notifications > 0; }
};
static_assert(sizeof(Connection) <= 256, "thousands of idle connections must stay cheap");

}  // namespace esc::io
