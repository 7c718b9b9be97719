// The links of one group on one node: one TCP connection per peer node, found, authenticated, kept, replaced.
//
// Between two nodes the one with the lower id dials; the other gets the socket through accept(). A link is up
// when both sides have proved that they know the cluster's secret. A newer connection of the same peer takes
// the place of an older one, but only once it is authenticated; on_link_down then comes before on_link_up.
//
// Sending: send() hands many messages to the kernel as one gathered send, without copying payloads; the
// pieces are the caller's and stay unchanged until on_sent or on_link_down. One send at a time per link.
// Receiving: a message that lies wholly in one receive buffer is handed over in place, a longer one is
// assembled in a buffer of the link. Payloads are valid during the call only, and not aligned.
//
// Threading: the core that owns the group; call do_work once per turn or by next_deadline(). Callbacks come
// from the loop, never from inside a call made here; they may call everything here but
// do_work and destruction.
// Memory: 13 KiB per link and an assembly buffer of payload_bytes_max, made when a connection is first up
// and reused; nothing is allocated while a link is up. Lifetime: destroy when stopped(), or when the loop is
// not polled any more.
// Errors: nothing here fails for the caller; a link is up or it is not, and the log says why.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "esc/base/units.h"
#include "esc/io/env.h"
#include "esc/obs/log.h"
#include "esc/peer/codec.h"
#include "esc/peer/handshake.h"

namespace esc::peer {

class Discard;

inline constexpr std::size_t kMessagesPerSend = 64;
inline constexpr std::size_t kPiecesPerSend = 512;  // payload pieces of all messages of a send

struct LinkOptions {
  std::uint64_t cluster_id = 0;
  std::string cluster_name;  // for messages
  NodeId self{};
  GroupId group{};
  std::uint64_t incarnation = 0;  // of this node's data of the group; peers learn it in the handshake
  std::string secret;             // any bytes; authentication is as good as its entropy
  std::uint16_t version_min = kProtocolVersion;
  std::uint16_t version_max = kProtocolVersion;
  std::uint32_t payload_bytes_max = 1152 * 1024;  // a WAL frame of 1 MiB and some
  Nanos retry_min = 20 * kMillisecond;            // between attempts to dial; doubles, with jitter
  Nanos retry_max = 500 * kMillisecond;
  // The node with the lower id dials. When nothing of it is heard for this long the other one does, only to
  // be refused: it may have been removed, and hears of it in this way.
  Nanos ask_after = 2 * kSecond;
  Nanos ask_every = 5 * kSecond;
  Nanos connect_timeout = kSecond;
  Nanos handshake_timeout = 2 * kSecond;
  std::uint32_t silence_timeout_ms = 2'000;  // the other machine acknowledges nothing: the link is down
};

struct PeerAddress {
  NodeId node{};
  std::string host;  // numeric; names are resolved where blocking is allowed
  std::uint16_t port = 0;
  bool operator==(const PeerAddress&) const = default;
};

// One message of a send.
struct Outgoing {
  std::variant<raft::Message, Service> message;  // from and to are the link's
  std::span<const struct iovec> payload{};       // borrowed: the array until send() returns, the bytes longer
};

class LinkHandler {
 public:
  virtual ~LinkHandler() = default;
  virtual void on_link_up(NodeId node) = 0;
  // Memory of a send in flight is free again. Errc::closed for an orderly end by either side.
  virtual void on_link_down(NodeId node, Errc reason) = 0;
  // `message.from` and `.to` have been checked against the link: a peer cannot speak for another.
  virtual void on_message(const raft::Message& message, ByteView payload) = 0;
  virtual void on_service(NodeId node, Service service, ByteView payload) = 0;
  // The gathered send is complete, its memory is free again, can_send() is true.
  virtual void on_sent(NodeId node) = 0;
};

// Since construction, over all peers.
struct LinkStats {
  std::uint64_t messages_sent = 0;
  std::uint64_t messages_received = 0;
  std::uint64_t messages_assembled = 0;  // did not lie in one receive buffer
  std::uint64_t bytes_sent = 0;          // headers and payloads
  std::uint64_t bytes_received = 0;
  std::uint64_t sends = 0;
  std::uint64_t dials = 0;
  std::uint64_t links_up = 0;  // the first one of each peer included
  std::uint64_t links_down = 0;
  std::uint64_t handshake_failures = 0;
  std::uint64_t protocol_errors = 0;
  std::uint64_t zero_copy_ended = 0;  // connections whose large sends the kernel copies after all
};

class Links {
 public:
  // `secret` must not be empty.
  Links(io::Env env, obs::LogSource log, LinkOptions options, LinkHandler& handler);
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // Adds a peer, or changes its address: a link to the old one is closed and dialled anew.
  void set_peer(const PeerAddress& address);
  // Closes its link; on_link_down follows when it was up. Unknown: nothing.
  void remove_peer(NodeId node);
  // Who is told to have been removed when it dials.
  void set_removed(std::vector<NodeId> nodes) { removed_ = std::move(nodes); }

  // A socket on which the Acceptor has read this Hello. Takes it over; refuses it politely if need be.
  void accept(const Hello& hello, io::AcceptedSocket socket);

  [[nodiscard]] bool up(NodeId node) const;
  // Which incarnation of its data the peer has said to be, of a link that is up; otherwise 0.
  [[nodiscard]] std::uint64_t incarnation(NodeId node) const;
  // Up, and no send in flight.
  [[nodiscard]] bool can_send(NodeId node) const;
  // Only when can_send(). 1 to kMessagesPerSend messages, in this order; payloads of at most
  // payload_bytes_max each; at most kPiecesPerSend pieces (all asserted). on_sent or on_link_down follows.
  void send(NodeId node, std::span<const Outgoing> messages);

  // Ends the link (it is dialled again); `why` is logged.
  void close(NodeId node, std::string_view why);

  // Dials, and ends what takes too long. Returns the amount of work done.
  std::uint32_t do_work(Nanos now);
  [[nodiscard]] Nanos next_deadline() const;

  // Closes everything, dials no more, refuses what comes. on_link_down still comes for links that are up.
  void shutdown();
  // After shutdown: no connection is left.
  [[nodiscard]] bool stopped() const;

  [[nodiscard]] const LinkStats& stats() const { return stats_; }

 private:
  class Channel;
  struct Peer;
  friend class Channel;

  [[nodiscard]] Peer* find(NodeId node) const;
  [[nodiscard]] Channel* up_channel(NodeId node) const;
  [[nodiscard]] Channel* take_channel();
  void dial(Peer& peer, Nanos now);
  [[nodiscard]] static bool wants_dial(const Peer& peer);
  [[nodiscard]] static bool connected(const Peer& peer);
  void dial_later(Peer& peer, bool refused);
  [[nodiscard]] Refusal judge(const Hello& hello) const;
  void refuse_quietly(const Hello& hello, io::AcceptedSocket socket);
  void authenticated(Channel& channel);
  void try_promote(Peer& peer);
  void channel_closed(Channel& channel, Errc reason);
  void link_down(Peer& peer, Errc reason);
  void close_channels(Peer& peer, Errc reason);
  void log_refusal(Peer* peer, NodeId node, Refusal refusal, bool by_peer, const std::string& detail);
  void log_failed_handshake(Peer* peer, NodeId node, std::string_view what);
  void log_unreachable(Peer& peer, Errc reason);
  [[nodiscard]] Nonce fresh_nonce();
  [[nodiscard]] ByteView secret() const { return as_bytes(options_.secret); }
  [[nodiscard]] bool dials(NodeId node) const { return options_.self < node; }

  io::Env env_;
  obs::LogSource log_;
  const LinkOptions options_;
  LinkHandler& handler_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::vector<std::unique_ptr<Channel>> channels_;  // reused; addresses are stable
  std::unique_ptr<Discard> discard_;
  std::vector<struct iovec> pieces_;  // of the send being prepared
  obs::LogLimiter stranger_limiter_;  // about nodes that are no peers
  std::uint64_t nonces_made_ = 0;
  std::vector<NodeId> removed_;
  bool shut_down_ = false;
  bool peers_removed_ = false;
  LinkStats stats_;
};

}  // namespace esc::peer
