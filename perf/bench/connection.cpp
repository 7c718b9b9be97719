#include "connection.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "clocks.h"

namespace esc::bench {

namespace {

constexpr std::size_t kReceiveBytesMin = 64 * kKiB;
constexpr std::uint32_t kFrameBytesMax = 1u << 30;
constexpr std::size_t kSendPiecesMax = 512;

Result<int> connect_to(const addrinfo& target, Nanos timeout) {
  const int fd = ::socket(target.ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return fail(errc_from_errno(errno), std::string("socket: ") + std::strerror(errno));
  int error = 0;
  if (::connect(fd, target.ai_addr, target.ai_addrlen) != 0) {
    error = errno;
    if (error == EINPROGRESS) {
      pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
      const int ready = ::poll(&wait, 1, static_cast<int>(timeout / kMillisecond));
      socklen_t length = sizeof error;
      if (ready <= 0) {
        error = ETIMEDOUT;
      } else {
        ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
      }
    }
  }
  if (error != 0) {
    ::close(fd);
    return fail(Errc::closed, std::strerror(error));
  }
  return fd;
}

}  // namespace

Result<Address> parse_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  unsigned port = 0;
  if (colon != std::string_view::npos) {
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, port);
    if (error != std::errc() || stop != end || port > 65535) port = 0;
  }
  if (port == 0 || colon == 0) {
    return fail(Errc::invalid_argument, "'" + std::string(text) + "' is not host:port");
  }
  std::string_view host = text.substr(0, colon);
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return Address{std::string(host), static_cast<std::uint16_t>(port)};
}

std::string to_string(const Address& address) {
  return address.host + ":" + std::to_string(address.port);
}

Connection::Connection(int fd) : fd_(fd), in_(kReceiveBytesMin) {}

Connection::~Connection() {
  ::close(fd_);
}

Result<std::unique_ptr<Connection>> Connection::open(const Address& address, Nanos timeout) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* list = nullptr;
  const int error = ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &list);
  if (error != 0) return fail(Errc::not_found, "cannot resolve " + address.host + ": " + gai_strerror(error));
  Result<int> fd = fail(Errc::not_found, "no address");
  for (const addrinfo* target = list; target != nullptr && !fd; target = target->ai_next) {
    fd = connect_to(*target, timeout);
  }
  ::freeaddrinfo(list);
  if (!fd)
    return fail(fd.error().code, "cannot connect to " + to_string(address) + ": " + fd.error().message);
  const int on = 1;
  ::setsockopt(*fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return std::unique_ptr<Connection>(new Connection(*fd));
}

bool Connection::flush() {
  while (pending()) {
    msghdr message{};
    message.msg_iov = out_.data() + out_head_;
    message.msg_iovlen = std::min(out_.size() - out_head_, kSendPiecesMax);
    const ssize_t sent = ::sendmsg(fd_, &message, MSG_NOSIGNAL);
    if (sent < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN;
    }
    auto left = static_cast<std::size_t>(sent);
    while (left > 0) {
      iovec& piece = out_[out_head_];
      const std::size_t step = std::min(left, piece.iov_len);
      piece.iov_base = static_cast<std::byte*>(piece.iov_base) + step;
      piece.iov_len -= step;
      left -= step;
      if (piece.iov_len == 0) ++out_head_;
    }
  }
  out_.clear();
  out_head_ = 0;
  return true;
}

// Keeps the unread bytes at the front, with room for the rest of an announced frame.
void Connection::make_room() {
  const std::size_t unread = in_end_ - in_begin_;
  if (in_begin_ > 0) {
    std::memmove(in_.data(), in_.data() + in_begin_, unread);
    in_begin_ = 0;
    in_end_ = unread;
  }
  std::size_t wanted = kReceiveBytesMin;
  if (unread >= 4) wanted = std::max(wanted, std::size_t{load_be<std::uint32_t>(in_.data())} + 4);
  if (in_.size() < wanted && wanted <= kFrameBytesMax) in_.resize(wanted + wanted / 4);
}

bool Connection::receive() {
  if (in_begin_ == in_end_) in_begin_ = in_end_ = 0;
  if (in_.size() - in_end_ < kReceiveBytesMin / 2 || in_begin_ > 0) make_room();
  while (true) {
    const ssize_t got = ::recv(fd_, in_.data() + in_end_, in_.size() - in_end_, 0);
    if (got > 0) {
      in_end_ += static_cast<std::size_t>(got);
      return true;
    }
    if (got < 0 && errno == EINTR) continue;
    return got < 0 && errno == EAGAIN;
  }
}

std::optional<ByteView> Connection::next_frame() {
  const std::size_t unread = in_end_ - in_begin_;
  if (unread < 4) return std::nullopt;
  const auto size = load_be<std::uint32_t>(in_.data() + in_begin_);
  if (size < 4 || size > kFrameBytesMax) {
    broken_ = true;
    return std::nullopt;
  }
  if (unread < std::size_t{size} + 4) return std::nullopt;
  const ByteView frame(in_.data() + in_begin_ + 4, size);
  in_begin_ += std::size_t{size} + 4;
  return frame;
}

Result<ByteView> Connection::round_trip(ByteView request, Nanos timeout) {
  const Nanos deadline = monotonic_nanos() + timeout;
  queue(request);
  while (true) {
    if (!flush()) return fail(Errc::closed, "the server closed the connection");
    if (const auto frame = next_frame()) return *frame;
    if (broken()) return fail(Errc::corruption, "the server sent an impossible frame size");
    const Nanos left = deadline - monotonic_nanos();
    if (left <= 0) return fail(Errc::timeout, "the server did not answer in time");
    const short events = pending() ? POLLIN | POLLOUT : POLLIN;
    pollfd wait{.fd = fd_, .events = events, .revents = 0};
    ::poll(&wait, 1, static_cast<int>(left / kMillisecond) + 1);
    if ((wait.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !receive()) {
      return fail(Errc::closed, "the server closed the connection");
    }
  }
}

}  // namespace esc::bench
