// A blocking client socket and a recording connection handler.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <string>
#include <utility>
#include <vector>

#include "esc/io/net.h"

namespace esc::io::test {

class Peer {
 public:
  explicit Peer(std::uint16_t port, int receive_buffer = 0) {
    fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (receive_buffer > 0) ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    timeval limit{.tv_sec = 10, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  }
  Peer(Peer&& other) noexcept : fd_(std::exchange(other.fd_, -1)), connected_(other.connected_) {}
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer() { close(); }

  [[nodiscard]] bool connected() const { return connected_; }
  [[nodiscard]] int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  // An abortive close: the other side sees a reset.
  void reset() {
    const linger abort{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_LINGER, &abort, sizeof abort);
    close();
  }
  // True when everything was taken at once or blocking.
  bool write(const std::string& text) {
    return ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  // What is there now, without waiting.
  std::string read_available() {
    const ssize_t count = ::recv(fd_, read_buffer_.data(), read_buffer_.size(), MSG_DONTWAIT);
    return count > 0 ? read_buffer_.substr(0, static_cast<std::size_t>(count)) : std::string();
  }
  // Writes what fits now, without waiting; returns the bytes taken.
  std::size_t write_available(const std::string& text) {
    const ssize_t count = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return count > 0 ? static_cast<std::size_t>(count) : 0;
  }
  bool closed_by_other_side() {
    char byte;
    return ::recv(fd_, &byte, 1, MSG_DONTWAIT) == 0;
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
  std::string read_buffer_ = std::string(64 << 10, '\0');
};

// Records what happens; releases loans at once unless told to keep them.
struct Recorder : ConnectionHandler {
  explicit Recorder(Net& owner) : net(owner) {}
  void on_received(ByteView bytes, ReceiveLoan loan) override {
    EXPECT_EQ(closed, 0) << "bytes after on_closed";
    received += as_text(bytes);
    if (keep_loans) {
      loans.push_back(loan);
    } else {
      net.release(loan);
    }
  }
  void on_sent() override { ++sent; }
  void on_closed(Errc why) override {
    ++closed;
    reason = why;
  }
  void on_connected() override { ++connected; }
  void on_zero_copy_ended(bool copied) override {
    ++zero_copy_ended;
    zero_copy_copied = copied;
  }
  void on_detached(AcceptedSocket socket) override { detached.push_back(socket); }

  Net& net;
  ConnectionId id;
  std::string received;
  std::vector<ReceiveLoan> loans;
  std::vector<AcceptedSocket> detached;
  bool keep_loans = false;
  int sent = 0;
  int closed = 0;
  int connected = 0;
  int zero_copy_ended = 0;
  bool zero_copy_copied = false;
  Errc reason = Errc::ok;
};

struct Acceptor : AcceptHandler {
  void on_accepted(AcceptedSocket socket) override { sockets.push_back(socket); }
  std::vector<AcceptedSocket> sockets;
};

}  // namespace esc::io::test
