#include "discard.h"

namespace esc::peer {

void Discard::drop(io::AcceptedSocket socket) {
  const auto adopted = net_.adopt(socket, *this);
  if (!adopted) return;  // then adopt() has closed it
  ++open_;
  net_.close(*adopted);
}

}  // namespace esc::peer
