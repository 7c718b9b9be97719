// Where sockets go that nobody wants: a plain descriptor can only be closed by a Net.
#pragma once

#include <cstdint>

#include "esc/io/net.h"

namespace esc::peer {

class Discard final : public io::ConnectionHandler {
 public:
  explicit Discard(io::Net& net) : net_(net) {}
  void drop(io::AcceptedSocket socket);
  // None of the sockets dropped is still open. The Discard may go only then.
  [[nodiscard]] bool quiet() const { return open_ == 0; }

 private:
  void on_received(ByteView, io::ReceiveLoan loan) override { net_.release(loan); }
  void on_sent() override {}
  void on_closed(Errc) override { --open_; }

  io::Net& net_;
  std::uint32_t open_ = 0;
};

}  // namespace esc::peer
