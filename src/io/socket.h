// Blocking, cold socket work: addresses, listening sockets, options.
#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <string>

#include "esc/base/result.h"

namespace esc::io {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  [[nodiscard]] const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

// Numeric IPv4 or IPv6. Errc::invalid_argument otherwise.
[[nodiscard]] std::expected<SocketAddress, Errc> numeric_address(const std::string& host, std::uint16_t port);
// A name or a number; an empty host or "*" is every interface.
[[nodiscard]] Result<SocketAddress> resolve_for_listening(const std::string& host, std::uint16_t port);
// A listening socket, and the port it got.
struct ListeningSocket {
  int fd = -1;
  std::uint16_t port = 0;
};
[[nodiscard]] Result<ListeningSocket> open_listening_socket(const std::string& host, std::uint16_t port,
                                                            std::uint32_t backlog);
// "192.0.2.1:9092", "[2001:db8::1]:9092"; empty when the socket is not connected.
[[nodiscard]] std::string peer_of(int fd);
// Latency and liveness options of an established connection; failures are ignored (not TCP, say).
void tune_stream(int fd, std::uint32_t user_timeout_ms);
// Probes the other machine every second when idle, and gives it up after `timeout_ms` without an answer.
void watch_peer(int fd, std::uint32_t timeout_ms);

}  // namespace esc::io
