#include "esc/peer/links.h"

#include <algorithm>
#include <array>
#include <limits>

#include "channel.h"
#include "discard.h"
#include "esc/base/assert.h"

namespace esc::peer {

namespace {

constexpr std::size_t kChannelsMax = 64;  // connections at once, handshakes included
constexpr Nanos kLasting = 2 * kSecond;   // a link that was up so long starts over with short retries
constexpr std::uint32_t kDoublingsMax = 16;

}  // namespace

Links::Links(io::Env env, obs::LogSource log, LinkOptions options, LinkHandler& handler)
    : env_(env),
      log_(log),
      options_(std::move(options)),
      handler_(handler),
      discard_(std::make_unique<Discard>(env.net)) {
  ESC_ASSERT_MSG(!options_.secret.empty(), "links need the cluster's secret");
  ESC_ASSERT(options_.self != NodeId(0));
  ESC_ASSERT(options_.retry_min > 0 && options_.retry_min <= options_.retry_max);
  pieces_.reserve(kMessagesPerSend + kPiecesPerSend);
  channels_.reserve(kChannelsMax);
  stranger_limiter_.burst = 1;  // a node that was removed comes again and again
}

Links::~Links() = default;

Links::Peer* Links::find(NodeId node) const {
  const auto found = std::ranges::find_if(
      peers_, [node](const auto& peer) { return peer->address.node == node && !peer->removed; });
  return found != peers_.end() ? found->get() : nullptr;
}

Links::Channel* Links::up_channel(NodeId node) const {
  const Peer* const peer = find(node);
  return peer != nullptr && peer->active != nullptr && peer->active->up() ? peer->active : nullptr;
}

Links::Channel* Links::take_channel() {
  const auto found = std::ranges::find_if(channels_, [](const auto& channel) { return channel->free(); });
  if (found != channels_.end()) return found->get();
  if (channels_.size() == kChannelsMax) return nullptr;
  return channels_.emplace_back(std::make_unique<Channel>(*this)).get();
}

Nonce Links::fresh_nonce() {
  const std::array<std::uint64_t, 6> seeds = {
      env_.prng.next(),
      env_.prng.next(),
      static_cast<std::uint64_t>(env_.clock.now()),
      static_cast<std::uint64_t>(env_.clock.wall_ms()),
      ++nonces_made_,
      std::uint64_t{options_.self.value()} << 32 | options_.group.value()};
  return make_nonce(secret(), seeds);
}

// --- peers ---

void Links::set_peer(const PeerAddress& address) {
  ESC_ASSERT_MSG(address.node != options_.self && address.node != NodeId(0), "a peer is another node");
  Peer* const peer = find(address.node);
  if (peer == nullptr) {
    peers_.push_back(std::make_unique<Peer>());
    peers_.back()->address = address;
    return;
  }
  if (peer->address == address) return;
  peer->address = address;
  peer->attempts = 0;
  if (dials(address.node)) peer->retry_at = 0;
  // Where the other side dials, its address does not matter here.
  if (dials(address.node)) close_channels(*peer, Errc::closed);
}

void Links::remove_peer(NodeId node) {
  Peer* const peer = find(node);
  if (peer == nullptr) return;
  peer->removed = true;
  peers_removed_ = true;
  close_channels(*peer, Errc::closed);
}

// Also those whose handshake is still going on.
void Links::close_channels(Peer& peer, Errc reason) {
  for (const auto& channel : channels_) {
    if (channel->peer() == &peer) channel->close(reason);
  }
}

void Links::close(NodeId node, std::string_view why) {
  Peer* const peer = find(node);
  if (peer == nullptr) return;
  log_.log_limited(peer->refusal_limiter, obs::Level::info, "peer_link_closing",
                   {{"group", options_.group}, {"peer", node}, {"cause", why}});
  close_channels(*peer, Errc::closed);
}

// --- dialling ---

bool Links::connected(const Peer& peer) {
  return peer.active != nullptr || peer.next != nullptr || peer.dialling != nullptr;
}

bool Links::wants_dial(const Peer& peer) {
  return !peer.removed && (peer.renew ? peer.dialling == nullptr && peer.next == nullptr : !connected(peer));
}

void Links::dial(Peer& peer, Nanos now) {
  ++stats_.dials;
  peer.renew = false;
  peer.retry_at = now + (dials(peer.address.node) ? options_.retry_max : options_.ask_every);
  Channel* const channel = take_channel();
  const Errc result = channel != nullptr ? channel->dial(peer) : Errc::busy;
  if (result == Errc::ok) {
    peer.dialling = channel;
    return;
  }
  log_unreachable(peer, result);
  dial_later(peer, result == Errc::invalid_argument);
}

// Doubling with jitter; at once slow when the other side has refused, as that needs an operator.
void Links::dial_later(Peer& peer, bool refused) {
  const std::uint32_t doublings = std::min(peer.attempts, kDoublingsMax);
  const Nanos step =
      refused ? options_.retry_max : std::min(options_.retry_max, options_.retry_min << doublings);
  ++peer.attempts;
  if (!dials(peer.address.node)) {
    peer.retry_at = env_.clock.now() + options_.ask_every;
    return;
  }
  const Nanos jitter = static_cast<Nanos>(env_.prng.below(static_cast<std::uint64_t>(step / 2) + 1));
  peer.retry_at = env_.clock.now() + step - jitter;
}

std::uint32_t Links::do_work(Nanos now) {
  std::uint32_t work = 0;
  for (const auto& channel : channels_) {
    if (now < channel->deadline()) continue;
    ++work;
    channel->expire();
  }
  if (shut_down_) return work;
  for (const auto& peer : peers_) {
    if (!wants_dial(*peer) || now < peer->retry_at) continue;
    if (peer->retry_at == 0 && !dials(peer->address.node)) {
      peer->retry_at = now + options_.ask_after;
      continue;
    }
    ++work;
    dial(*peer, now);
  }
  if (peers_removed_) {
    const auto in_use = [this](const Peer* peer) {
      return std::ranges::any_of(channels_,
                                 [peer](const auto& c) { return !c->free() && c->peer() == peer; });
    };
    std::erase_if(peers_, [&](const auto& peer) { return peer->removed && !in_use(peer.get()); });
    peers_removed_ = std::ranges::any_of(peers_, [](const auto& peer) { return peer->removed; });
  }
  return work;
}

Nanos Links::next_deadline() const {
  Nanos deadline = std::numeric_limits<Nanos>::max();
  for (const auto& channel : channels_) deadline = std::min(deadline, channel->deadline());
  if (shut_down_) return deadline;
  for (const auto& peer : peers_) {
    if (wants_dial(*peer)) deadline = std::min(deadline, peer->retry_at);
  }
  return deadline;
}

// --- accepting ---

Refusal Links::judge(const Hello& hello) const {
  if (common_version(hello, options_.version_min, options_.version_max) == 0) return Refusal::version;
  if (hello.cluster_id != options_.cluster_id) return Refusal::cluster;
  if (hello.to != options_.self) return Refusal::wrong_node;
  if (hello.group != options_.group) return Refusal::wrong_group;
  if (std::ranges::find(removed_, hello.from) != removed_.end()) return Refusal::removed;
  if (hello.from >= options_.self) return Refusal::direction;
  if (find(hello.from) == nullptr) return Refusal::unknown_node;
  return Refusal::none;
}

void Links::accept(const Hello& hello, io::AcceptedSocket socket) {
  if (shut_down_) return discard_->drop(socket);
  const Refusal refusal = judge(hello);
  Peer* const peer = refusal == Refusal::none ? find(hello.from) : nullptr;
  if (refusal != Refusal::none) {
    ++stats_.handshake_failures;
    Peer* const known = find(hello.from);
    if (refusal == Refusal::direction && known != nullptr) {
      // It asks why nobody dials it; it is dialled now. A link that is up here is dead there, and where
      // nothing is sent nobody notices: it stays until a new one is up, because a Hello proves nothing.
      if (connected(*known)) {
        known->renew = true;
      } else {
        known->retry_at = 0;
      }
      return refuse_quietly(hello, socket);
    }
    std::string detail;
    if (refusal == Refusal::version)
      detail = "it speaks " + std::to_string(hello.version_min) + " to " + std::to_string(hello.version_max);
    if (refusal == Refusal::wrong_node) detail = "it looked for node " + std::to_string(hello.to.value());
    if (refusal == Refusal::wrong_group)
      detail = "it looked for group " + std::to_string(hello.group.value());
    log_refusal(known, hello.from, refusal, false, detail);
  }
  Channel* const channel = take_channel();
  if (channel == nullptr) {
    log_refusal(peer, hello.from, Refusal::busy, false, {});
    return discard_->drop(socket);
  }
  // The Net is out of slots: it has closed the socket.
  if (channel->accept(peer, hello, socket, refusal) != Errc::ok)
    log_refusal(peer, hello.from, Refusal::busy, false, {});
}

void Links::refuse_quietly(const Hello& hello, io::AcceptedSocket socket) {
  Channel* const channel = take_channel();
  if (channel == nullptr) return discard_->drop(socket);
  (void)channel->accept(nullptr, hello, socket, Refusal::direction);
}

// --- links ---

void Links::authenticated(Channel& channel) {
  Peer& peer = *channel.peer();
  if (peer.removed || shut_down_) return channel.close(Errc::closed);
  if (peer.dialling == &channel) peer.dialling = nullptr;
  if (peer.next != nullptr) peer.next->close(Errc::closed);
  peer.next = &channel;
  // The peer would not come again if it still had the old one.
  if (peer.active != nullptr) peer.active->close(Errc::closed);
  try_promote(peer);
}

void Links::try_promote(Peer& peer) {
  if (peer.active != nullptr || peer.next == nullptr || !peer.next->ready()) return;
  peer.active = std::exchange(peer.next, nullptr);
  peer.up_since = env_.clock.now();
  ++stats_.links_up;
  log_.info("peer_link_up", {{"group", options_.group}, {"peer", peer.address.node}});
  peer.active->go_up();
}

void Links::channel_closed(Channel& channel, Errc reason) {
  Peer* const peer = channel.peer();
  if (peer == nullptr) return;
  if (peer->next == &channel) peer->next = nullptr;
  if (peer->dialling == &channel) {
    peer->dialling = nullptr;
    if (!channel.refused() && !shut_down_ && !peer->removed) log_unreachable(*peer, reason);
    return dial_later(*peer, channel.refused());
  }
  if (peer->active != &channel) return;
  peer->active = nullptr;
  link_down(*peer, reason);
}

void Links::link_down(Peer& peer, Errc reason) {
  ++stats_.links_down;
  if (env_.clock.now() - peer.up_since >= kLasting) peer.attempts = 0;
  dial_later(peer, false);
  if (!dials(peer.address.node)) peer.retry_at = env_.clock.now() + options_.ask_after;
  log_.info("peer_link_down", {{"group", options_.group}, {"peer", peer.address.node}, {"reason", reason}});
  handler_.on_link_down(peer.address.node, reason);
  try_promote(peer);
}

bool Links::up(NodeId node) const {
  return up_channel(node) != nullptr;
}

std::uint64_t Links::incarnation(NodeId node) const {
  const Channel* const channel = up_channel(node);
  return channel != nullptr ? channel->incarnation() : 0;
}

bool Links::can_send(NodeId node) const {
  const Channel* const channel = up_channel(node);
  return channel != nullptr && !channel->sending();
}

void Links::send(NodeId node, std::span<const Outgoing> messages) {
  Channel* const channel = up_channel(node);
  ESC_ASSERT_MSG(channel != nullptr, "a send on a link that is down");
  channel->send(messages);
}

void Links::shutdown() {
  shut_down_ = true;
  for (const auto& channel : channels_) channel->close(Errc::closed);
}

bool Links::stopped() const {
  return shut_down_ && discard_->quiet() &&
         std::ranges::all_of(channels_, [](const auto& c) { return c->free(); });
}

// --- log ---

void Links::log_refusal(Peer* peer, NodeId node, Refusal refusal, bool by_peer, const std::string& detail) {
  log_.log_limited(peer != nullptr ? peer->refusal_limiter : stranger_limiter_, obs::Level::error,
                   "peer_refused",
                   {{"group", options_.group},
                    {"peer", node},
                    {"cluster", std::string_view(options_.cluster_name)},
                    {"refused_by", by_peer ? "peer" : "this node"},
                    {"cause", cause(refusal)},
                    {"detail", std::string_view(detail)},
                    {"fix", fix(refusal)}});
}

void Links::log_failed_handshake(Peer* peer, NodeId node, std::string_view what) {
  log_.log_limited(
      peer != nullptr ? peer->refusal_limiter : stranger_limiter_, obs::Level::error, "peer_handshake_failed",
      {{"group", options_.group},
       {"peer", node},
       {"cause", what},
       {"fix", "check that the peer addresses in cluster.nodes lead to running nodes of this cluster"}});
}

void Links::log_unreachable(Peer& peer, Errc reason) {
  if (!dials(peer.address.node)) return;  // it was only to be asked; the other side logs its own attempts
  log_.log_limited(
      peer.unreachable_limiter, obs::Level::warn, "peer_unreachable",
      {{"group", options_.group},
       {"peer", peer.address.node},
       {"host", std::string_view(peer.address.host)},
       {"port", peer.address.port},
       {"cause",
        reason == Errc::io_error ? "nothing listens there, or the host is not reachable" : to_string(reason)},
       {"fix", "start the node, or correct its peer address in cluster.nodes; it is tried again"}});
}

}  // namespace esc::peer
