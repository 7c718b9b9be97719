// One connection of a link: dialled or accepted, handshake, then messages.
//
//   dialled:   connecting -> hello_sent -> ready -> up
//   accepted:                challenge_sent -> ready -> up
//
// `ready` is authenticated, but its own last send, or the connection it replaces, is not over yet; bytes
// that arrive meanwhile are held. `refusing`: a refusal is on its way, the other side closes.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "esc/io/net.h"
#include "esc/peer/links.h"

namespace esc::peer {

struct Links::Peer {
  PeerAddress address;
  Channel* active = nullptr;    // up, or was until it closes
  Channel* next = nullptr;      // ready
  Channel* dialling = nullptr;  // connecting or hello_sent
  Nanos retry_at = 0;           // of the node that does not dial: to ask
  std::uint32_t attempts = 0;   // dialled in vain since the last link that lasted
  Nanos up_since = 0;
  bool removed = false;
  bool renew = false;           // the other side says that it has no link
  bool zero_copy_said = false;  // that it is of no use here
  obs::LogLimiter refusal_limiter{.burst = 1, .interval = 10 * kSecond};
  obs::LogLimiter unreachable_limiter{.burst = 1, .interval = 10 * kSecond};
};

class Links::Channel final : public io::ConnectionHandler {
 public:
  enum class State : std::uint8_t {
    free,
    connecting,
    hello_sent,
    challenge_sent,
    refusing,
    ready,
    up,
    closing
  };

  explicit Channel(Links& links) : links_(links) {}

  [[nodiscard]] Errc dial(Peer& peer);
  // `peer` may be null with a refusal.
  [[nodiscard]] Errc accept(Peer* peer, const Hello& hello, io::AcceptedSocket socket, Refusal refusal);
  void close(Errc reason);
  void go_up();
  void send(std::span<const Outgoing> messages);

  [[nodiscard]] bool free() const { return state_ == State::free; }
  [[nodiscard]] bool up() const { return state_ == State::up; }
  [[nodiscard]] bool sending() const { return sending_; }
  [[nodiscard]] bool ready() const { return state_ == State::ready && !sending_; }
  // Of the handshake.
  [[nodiscard]] Nanos deadline() const;
  void expire();

  [[nodiscard]] Peer* peer() const { return peer_; }
  [[nodiscard]] bool refused() const { return refused_; }
  // Of the other side's data, authenticated.
  [[nodiscard]] std::uint64_t incarnation() const {
    return dialled_ ? challenge_.incarnation : hello_.incarnation;
  }

 private:
  struct Held {
    ByteView bytes;
    io::ReceiveLoan loan;
  };

  void on_connected() override;
  void on_received(ByteView bytes, io::ReceiveLoan loan) override;
  void on_sent() override;
  void on_closed(Errc reason) override;
  void on_zero_copy_ended(bool copied) override;

  void consume(ByteView bytes, io::ReceiveLoan loan);
  [[nodiscard]] ByteView take_handshake(ByteView bytes);
  void handle_challenge();
  void handle_confirm();
  void refuse(Refusal refusal);
  void fail_handshake(std::string_view what);
  void send_block(std::size_t bytes);
  [[nodiscard]] ByteView assemble(ByteView bytes);
  void take_messages(ByteView bytes);
  void deliver(const Header& header, ByteView payload);
  void protocol_error(std::string_view what);
  [[nodiscard]] Nanos now() const { return links_.env_.clock.now(); }

  Links& links_;
  Peer* peer_ = nullptr;  // null: being refused
  io::ConnectionId connection_;
  State state_ = State::free;
  bool sending_ = false;
  bool refused_ = false;
  bool dialled_ = false;
  Errc close_reason_ = Errc::ok;  // set by close()
  Nanos deadline_ = 0;

  Hello hello_;
  Challenge challenge_;
  std::size_t handshake_have_ = 0;
  std::array<std::byte, kChallengeBytes> handshake_in_{};
  std::array<std::byte, kChallengeBytes> handshake_out_{};
  std::vector<Held> held_;

  std::array<std::byte, kMessagesPerSend * kHeaderBytes> headers_{};
  std::unique_ptr<std::byte[]> assembly_;  // kHeaderBytes + payload_bytes_max
  std::size_t assembled_ = 0;
};

}  // namespace esc::peer
