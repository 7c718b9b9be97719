#include "peer_door.h"

#include <utility>

namespace esc::shard {

PeerDoor::PeerDoor(io::Env env, obs::LogSource log, Deliver deliver)
    : net_(env.net), deliver_(std::move(deliver)), acceptor_(env, log, *this) {}

Status PeerDoor::listen(const std::string& host, std::uint16_t port) {
  auto bound = net_.listen(host, port, acceptor_);
  if (!bound) return std::unexpected(std::move(bound.error()));
  return {};
}

void PeerDoor::on_hello(const peer::Hello& hello, io::AcceptedSocket socket) {
  deliver_(std::make_unique<PeerVisit>(PeerVisit{hello, socket}));
}

}  // namespace esc::shard
