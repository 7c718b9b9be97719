// The node's door for its peers, on core 0: every connection says in its Hello which group it is for, and is
// handed to the core that owns the group. Private to the shard.
//
// Threading: core 0. Memory: one small object per connection on its way between cores.
#pragma once

#include <functional>
#include <string>

#include "esc/peer/acceptor.h"

namespace esc::shard {

// A peer's connection on its way to its group's core; owned by whoever holds the message.
struct PeerVisit {
  peer::Hello hello;
  io::AcceptedSocket socket;
};

class PeerDoor final : private peer::HelloHandler {
 public:
  using Deliver = std::function<void(std::unique_ptr<PeerVisit>)>;
  PeerDoor(io::Env env, obs::LogSource log, Deliver deliver);

  [[nodiscard]] Status listen(const std::string& host, std::uint16_t port);
  std::uint32_t do_work(Nanos now) { return acceptor_.do_work(now); }
  [[nodiscard]] Nanos next_deadline() const { return acceptor_.next_deadline(); }
  void shutdown() { acceptor_.shutdown(); }
  [[nodiscard]] bool stopped() const { return acceptor_.stopped(); }

 private:
  void on_hello(const peer::Hello& hello, io::AcceptedSocket socket) override;

  io::Net& net_;
  Deliver deliver_;
  peer::Acceptor acceptor_;
};

}  // namespace esc::shard
