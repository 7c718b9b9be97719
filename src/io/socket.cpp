#include "socket.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace esc::io {

namespace {

// A silent peer is probed after a minute and given up after two.
constexpr int kKeepAliveIdleSeconds = 60;
constexpr int kKeepAliveIntervalSeconds = 15;
constexpr int kKeepAliveProbes = 4;

void set_option(int fd, int level, int option, int value) {
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

std::uint16_t bound_port(int fd) {
  SocketAddress address;
  address.bytes = sizeof address.storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes) != 0) return 0;
  if (address.storage.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6&>(address.storage).sin6_port);
  }
  return ntohs(reinterpret_cast<const sockaddr_in&>(address.storage).sin_port);
}

std::unexpected<Error> listen_failure(int error, const std::string& host, std::uint16_t port) {
  std::string message = "cannot listen on " + host + ":" + std::to_string(port) + ": " + std::strerror(error);
  if (error == EADDRINUSE) {
    message += "; another process has this port: stop it (ss -ltnp shows it) or choose another port";
    return fail(Errc::already_exists, std::move(message));
  }
  if (error == EADDRNOTAVAIL) message += "; this machine has no such address (ip address lists them)";
  if (error == EACCES) message += "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port";
  return fail(errc_from_errno(error), std::move(message));
}

}  // namespace

std::expected<SocketAddress, Errc> numeric_address(const std::string& host, std::uint16_t port) {
  SocketAddress result;
  auto& v4 = reinterpret_cast<sockaddr_in&>(result.storage);
  if (::inet_pton(AF_INET, host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(port);
    result.bytes = sizeof v4;
    return result;
  }
  auto& v6 = reinterpret_cast<sockaddr_in6&>(result.storage);
  if (::inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) == 1) {
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(port);
    result.bytes = sizeof v6;
    return result;
  }
  return std::unexpected(Errc::invalid_argument);
}

Result<SocketAddress> resolve_for_listening(const std::string& host, std::uint16_t port) {
  const std::string name = host.empty() || host == "*" ? "0.0.0.0" : host;
  if (auto numeric = numeric_address(name, port)) return *numeric;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* found = nullptr;
  const int result = ::getaddrinfo(name.c_str(), std::to_string(port).c_str(), &hints, &found);
  if (result != 0) {
    return fail(Errc::invalid_argument, "cannot resolve the listen address " + name + ": " +
                                            ::gai_strerror(result) + "; use an IP address of this machine");
  }
  SocketAddress address;
  address.bytes = found->ai_addrlen;
  std::memcpy(&address.storage, found->ai_addr, found->ai_addrlen);
  ::freeaddrinfo(found);
  return address;
}

Result<ListeningSocket> open_listening_socket(const std::string& host, std::uint16_t port,
                                              std::uint32_t backlog) {
  const Result<SocketAddress> address = resolve_for_listening(host, port);
  if (!address) return std::unexpected(address.error());
  // Blocking on purpose: io_uring answers EAGAIN instead of waiting when O_NONBLOCK is set.
  const int fd = ::socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return listen_failure(errno, host, port);
  set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);  // a restart does not wait for TIME_WAIT
  if (::bind(fd, address->get(), address->bytes) != 0 || ::listen(fd, static_cast<int>(backlog)) != 0) {
    const int error = errno;
    ::close(fd);
    return listen_failure(error, host, port);
  }
  return ListeningSocket{.fd = fd, .port = bound_port(fd)};
}

std::string peer_of(int fd) {
  SocketAddress address;
  address.bytes = sizeof address.storage;
  char host[NI_MAXHOST];
  char port[NI_MAXSERV];
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address.storage), &address.bytes) != 0 ||
      ::getnameinfo(address.get(), address.bytes, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return {};
  }
  const bool v6 = address.storage.ss_family == AF_INET6;
  return (v6 ? "[" + std::string(host) + "]" : std::string(host)) + ":" + port;
}

void tune_stream(int fd, std::uint32_t user_timeout_ms) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(user_timeout_ms));
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, kKeepAliveIdleSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, kKeepAliveIntervalSeconds);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, kKeepAliveProbes);
}

void watch_peer(int fd, std::uint32_t timeout_ms) {
  // With TCP_USER_TIMEOUT the number of unanswered probes does not count, only the time (tcp(7)).
  set_option(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(timeout_ms));
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
}

}  // namespace esc::io
