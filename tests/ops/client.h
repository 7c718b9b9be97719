// A blocking client on a plain socket, so that tests can be as rude as the world is.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

namespace esc::ops::test {

struct Response {
  int status = 0;
  std::string head;  // first line and fields
  std::string body;
  [[nodiscard]] bool has(std::string_view text) const { return head.find(text) != std::string::npos; }
};

class Client {
 public:
  explicit Client(std::uint16_t port, int receive_buffer_bytes = 0)
      : fd_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (receive_buffer_bytes > 0) {
      (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof receive_buffer_bytes);
    }
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  ~Client() {
    if (fd_ >= 0) ::close(fd_);
  }
  Client(Client&& other) noexcept
      : fd_(std::exchange(other.fd_, -1)),
        connected_(other.connected_),
        received_(std::move(other.received_)) {}
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;
  Client& operator=(Client&&) = delete;

  [[nodiscard]] bool connected() const { return connected_; }

  Client& send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) break;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return *this;
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }

  // The next response; status 0 when the connection ended, or nothing came, before it was complete.
  Response receive(bool head_only = false, int timeout_ms = 5000) {
    std::size_t head_end = 0;
    while ((head_end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive_some(timeout_ms)) return {};
    }
    Response response{.head = received_.substr(0, head_end + 2)};
    received_.erase(0, head_end + 4);
    const std::size_t at = response.head.find("Content-Length: ");
    if (at == std::string::npos) return {};
    const std::size_t length = head_only ? 0 : std::strtoul(response.head.c_str() + at + 16, nullptr, 10);
    while (received_.size() < length) {
      if (!receive_some(timeout_ms)) return {};
    }
    response.body = received_.substr(0, length);
    received_.erase(0, length);
    response.status = std::atoi(response.head.c_str() + 9);
    return response;
  }

  Response get(const std::string& path) {
    send("GET " + path + " HTTP/1.1\r\nHost: node\r\n\r\n");
    return receive();
  }

  // Whether the server ends the connection within the time. Bytes that come before are thrown away.
  [[nodiscard]] bool closed_within(int timeout_ms) {
    while (readable(timeout_ms)) {
      char bytes[4096];
      if (::recv(fd_, bytes, sizeof bytes, 0) <= 0) return true;
    }
    return false;
  }

 private:
  [[nodiscard]] bool readable(int timeout_ms) const {
    pollfd wait{fd_, POLLIN, 0};
    return ::poll(&wait, 1, timeout_ms) == 1;
  }
  bool receive_some(int timeout_ms) {
    char bytes[65536];
    if (!readable(timeout_ms)) return false;
    const ssize_t length = ::recv(fd_, bytes, sizeof bytes, 0);
    if (length <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(length));
    return true;
  }

  int fd_;
  bool connected_ = false;
  std::string received_;
};

}  // namespace esc::ops::test
