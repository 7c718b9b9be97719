// A TCP connection to one broker: non-blocking, sends borrowed bytes, yields whole frames.
// Threading: single owner.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/base/units.h"

namespace esc::bench {

struct Address {
  std::string host;
  std::uint16_t port = 0;
  friend bool operator==(const Address&, const Address&) = default;
};
[[nodiscard]] Result<Address> parse_address(std::string_view text);  // host:port, [ipv6]:port
[[nodiscard]] std::string to_string(const Address& address);

class Connection {
 public:
  // Blocks until connected or refused.
  [[nodiscard]] static Result<std::unique_ptr<Connection>> open(const Address& address, Nanos timeout);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  // `bytes` stay valid and unchanged until pending() is false.
  void queue(ByteView bytes) { out_.push_back({const_cast<std::byte*>(bytes.data()), bytes.size()}); }
  // Sends what the socket takes. False: the connection is gone.
  [[nodiscard]] bool flush();
  [[nodiscard]] bool pending() const { return out_head_ < out_.size(); }

  // Reads what has arrived. False: the connection is gone (frames read before remain available).
  [[nodiscard]] bool receive();
  // The next whole frame without its size prefix; valid until the next receive(). A size outside
  // [4, 1 GiB] closes the connection: broken() becomes true.
  [[nodiscard]] std::optional<ByteView> next_frame();
  [[nodiscard]] bool broken() const { return broken_; }

  // Blocking use, for cold requests: sends `request`, waits for one frame.
  [[nodiscard]] Result<ByteView> round_trip(ByteView request, Nanos timeout);

 private:
  explicit Connection(int fd);
  void make_room();

  int fd_;
  bool broken_ = false;
  std::vector<iovec> out_;
  std::size_t out_head_ = 0;
  std::vector<std::byte> in_;
  std::size_t in_begin_ = 0;
  std::size_t in_end_ = 0;
};

}  // namespace esc::bench
