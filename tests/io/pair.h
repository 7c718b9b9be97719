// One connection with both its ends at hand, and what to send over it.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "loop_fixture.h"
#include "peer.h"

namespace esc::io::test {

// The texts must outlive the send.
std::vector<iovec> pieces_of(std::vector<std::string>&& texts) = delete;
inline std::vector<iovec> pieces_of(const std::vector<std::string>& texts) {
  std::vector<iovec> pieces;
  for (const std::string& text : texts) pieces.push_back({const_cast<char*>(text.data()), text.size()});
  return pieces;
}

inline std::string pattern(std::size_t bytes) {
  std::string text(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i * 7 + (i >> 9));
  return text;
}

// One accepted connection with a Recorder behind it, and the peer at the other end.
struct Pair {
  explicit Pair(UringLoop& owner, int peer_receive_buffer = 0) : loop(owner), recorder(owner) {
    const auto port = loop.listen("127.0.0.1", 0, acceptor);
    EXPECT_TRUE(port);
    peer = std::make_unique<Peer>(*port, peer_receive_buffer);
    EXPECT_TRUE(run_until(loop, [&] { return !acceptor.sockets.empty(); }));
    const auto id = loop.adopt(acceptor.sockets.front(), recorder);
    EXPECT_TRUE(id);
    recorder.id = *id;
  }
  UringLoop& loop;
  Acceptor acceptor;
  Recorder recorder;
  std::unique_ptr<Peer> peer;
};

}  // namespace esc::io::test
