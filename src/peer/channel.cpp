#include "channel.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::peer {

// --- beginning and end ---

Errc Links::Channel::dial(Peer& peer) {
  ESC_ASSERT(free());
  const LinkOptions& options = links_.options_;
  const auto connection = links_.env_.net.connect(peer.address.host, peer.address.port, *this);
  if (!connection) return connection.error();
  connection_ = *connection;
  links_.env_.net.set_peer_timeout(connection_, options.silence_timeout_ms);
  peer_ = &peer;
  refused_ = false;
  dialled_ = true;
  state_ = State::connecting;
  deadline_ = now() + options.connect_timeout;
  hello_ = Hello{.version_min = options.version_min,
                 .version_max = options.version_max,
                 .from = options.self,
                 .to = peer.address.node,
                 .group = options.group,
                 .cluster_id = options.cluster_id,
                 .incarnation = options.incarnation,
                 .nonce = links_.fresh_nonce()};
  return Errc::ok;
}

void Links::Channel::on_connected() {
  if (state_ != State::connecting) return;
  state_ = State::hello_sent;
  deadline_ = now() + links_.options_.handshake_timeout;
  encode(hello_, std::span(handshake_out_).first<kHelloBytes>());
  send_block(kHelloBytes);
}

Errc Links::Channel::accept(Peer* peer, const Hello& hello, io::AcceptedSocket socket, Refusal refusal) {
  ESC_ASSERT(free());
  ESC_ASSERT(peer != nullptr || refusal != Refusal::none);
  const LinkOptions& options = links_.options_;
  const auto connection = links_.env_.net.adopt(socket, *this);
  if (!connection) return connection.error();
  connection_ = *connection;
  links_.env_.net.set_peer_timeout(connection_, options.silence_timeout_ms);
  peer_ = peer;
  refused_ = false;
  dialled_ = false;
  hello_ = hello;
  deadline_ = now() + options.handshake_timeout;
  challenge_ = Challenge{.refusal = refusal,
                         .version_min = options.version_min,
                         .version_max = options.version_max,
                         .cluster_id = options.cluster_id};
  if (refusal == Refusal::none) {
    challenge_.version = common_version(hello, options.version_min, options.version_max);
    challenge_.incarnation = options.incarnation;
    challenge_.nonce = links_.fresh_nonce();
    challenge_.proof = prove(links_.secret(), Role::acceptor, hello_, challenge_);
  }
  state_ = refusal == Refusal::none ? State::challenge_sent : State::refusing;
  encode(challenge_, handshake_out_);
  send_block(kChallengeBytes);
  return Errc::ok;
}

void Links::Channel::close(Errc reason) {
  if (state_ == State::free || state_ == State::closing) return;
  state_ = State::closing;
  close_reason_ = reason;
  links_.env_.net.close(connection_);
}

void Links::Channel::on_closed(Errc reason) {
  for (const Held& held : held_) links_.env_.net.release(held.loan);
  held_.clear();
  if (close_reason_ != Errc::ok) reason = close_reason_;
  state_ = State::free;
  sending_ = false;
  handshake_have_ = 0;
  assembled_ = 0;
  close_reason_ = Errc::ok;
  links_.channel_closed(*this, reason);
}

Nanos Links::Channel::deadline() const {
  switch (state_) {
    case State::free:
    case State::up:
    case State::closing: return std::numeric_limits<Nanos>::max();
    case State::connecting:
    case State::hello_sent:
    case State::challenge_sent:
    case State::refusing:
    case State::ready: return deadline_;
  }
  ESC_UNREACHABLE("a channel in no state");
}

void Links::Channel::expire() {
  if (state_ == State::hello_sent || state_ == State::challenge_sent) {
    return fail_handshake("the other side does not answer in time");
  }
  close(Errc::timeout);
}

// --- handshake ---

void Links::Channel::send_block(std::size_t bytes) {
  ESC_ASSERT(!sending_);
  sending_ = true;
  const struct iovec piece{handshake_out_.data(), bytes};
  links_.env_.net.send(connection_, {&piece, 1});
}

void Links::Channel::fail_handshake(std::string_view what) {
  ++links_.stats_.handshake_failures;
  links_.log_failed_handshake(peer_, peer_ != nullptr ? peer_->address.node : hello_.from, what);
  close(Errc::io_error);
}

// Takes what belongs to the handshake; returns the rest.
ByteView Links::Channel::take_handshake(ByteView bytes) {
  const std::size_t wanted = state_ == State::hello_sent ? kChallengeBytes : kConfirmBytes;
  const ByteView taken = bytes.first(std::min(bytes.size(), wanted - handshake_have_));
  std::ranges::copy(taken, handshake_in_.begin() + static_cast<std::ptrdiff_t>(handshake_have_));
  handshake_have_ += taken.size();
  if (handshake_have_ == wanted) {
    if (state_ == State::hello_sent) {
      handle_challenge();
    } else {
      handle_confirm();
    }
  }
  return bytes.subspan(taken.size());
}

// The dialler's side.
void Links::Channel::handle_challenge() {
  const auto challenge = decode_challenge(handshake_in_);
  if (!challenge) return fail_handshake("what answers at this address is not an escd node");
  challenge_ = *challenge;
  const LinkOptions& options = links_.options_;
  if (challenge_.refusal != Refusal::none) {
    ++links_.stats_.handshake_failures;
    refused_ = true;
    std::string detail;
    if (challenge_.refusal == Refusal::version)
      detail = "it speaks " + std::to_string(challenge_.version_min) + " to " +
               std::to_string(challenge_.version_max);
    const bool asked = challenge_.refusal == Refusal::direction && !links_.dials(peer_->address.node);
    if (!asked) links_.log_refusal(peer_, peer_->address.node, challenge_.refusal, true, detail);
    return close(Errc::closed);
  }
  if (sending_) return fail_handshake("an answer before the Hello was sent");
  if (challenge_.version < options.version_min || challenge_.version > options.version_max)
    return refuse(Refusal::version);
  if (challenge_.cluster_id != options.cluster_id) return refuse(Refusal::cluster);
  if (!equal(challenge_.proof, prove(links_.secret(), Role::acceptor, hello_, challenge_)))
    return refuse(Refusal::secret);
  encode(Confirm{.proof = prove(links_.secret(), Role::dialler, hello_, challenge_)},
         std::span(handshake_out_).first<kConfirmBytes>());
  send_block(kConfirmBytes);
  state_ = State::ready;
  links_.authenticated(*this);
}

// The dialler does not like the Challenge: it says why and lets the other side close.
void Links::Channel::refuse(Refusal refusal) {
  ++links_.stats_.handshake_failures;
  refused_ = true;
  links_.log_refusal(peer_, peer_->address.node, refusal, false, {});
  encode(Confirm{.refusal = refusal}, std::span(handshake_out_).first<kConfirmBytes>());
  state_ = State::refusing;
  send_block(kConfirmBytes);
}

// The acceptor's side.
void Links::Channel::handle_confirm() {
  const auto confirm = decode_confirm(std::span(handshake_in_).first<kConfirmBytes>());
  if (!confirm) return fail_handshake("the handshake ended in bytes that make no sense");
  const bool proved = equal(confirm->proof, prove(links_.secret(), Role::dialler, hello_, challenge_));
  if (confirm->refusal != Refusal::none || !proved) {
    ++links_.stats_.handshake_failures;
    const bool by_peer = confirm->refusal != Refusal::none;
    links_.log_refusal(peer_, hello_.from, by_peer ? confirm->refusal : Refusal::secret, by_peer, {});
    return close(Errc::closed);
  }
  state_ = State::ready;
  links_.authenticated(*this);
}

void Links::Channel::go_up() {
  ESC_ASSERT(ready());
  state_ = State::up;
  if (assembly_ == nullptr) {
    const std::size_t bytes = kHeaderBytes + std::size_t{links_.options_.payload_bytes_max};
    assembly_ = std::make_unique_for_overwrite<std::byte[]>(bytes);
  }
  assembled_ = 0;
  // Within one machine the kernel copies in any case.
  const std::string other_side = links_.env_.net.peer_address(connection_);
  if (!other_side.starts_with("127.") && !other_side.starts_with("[::1]"))
    links_.env_.net.allow_zero_copy(connection_);
  links_.handler_.on_link_up(peer_->address.node);
  if (held_.empty()) return;
  // Moved out: what the handler does now may close this channel.
  const std::vector<Held> held = std::move(held_);
  held_.clear();
  for (const Held& each : held) consume(each.bytes, each.loan);
  if (up()) links_.env_.net.resume_receive(connection_);
}

// --- sending ---

void Links::Channel::on_sent() {
  sending_ = false;
  if (state_ == State::ready) return links_.try_promote(*peer_);
  if (state_ == State::up) links_.handler_.on_sent(peer_->address.node);
}

void Links::Channel::on_zero_copy_ended(bool copied) {
  ++links_.stats_.zero_copy_ended;
  if (peer_ == nullptr || peer_->zero_copy_said) return;
  peer_->zero_copy_said = true;
  links_.log_.info("peer_zero_copy_off", {{"group", links_.options_.group},
                                          {"peer", peer_->address.node},
                                          {"cause", copied ? "the kernel copies on the way to this peer"
                                                           : "the kernel refuses it"}});
}

void Links::Channel::send(std::span<const Outgoing> messages) {
  ESC_ASSERT(up() && !sending_);
  ESC_ASSERT(!messages.empty() && messages.size() <= kMessagesPerSend);
  const Route route{.from = links_.options_.self, .to = peer_->address.node, .group = links_.options_.group};
  std::vector<struct iovec>& pieces = links_.pieces_;
  pieces.clear();
  std::size_t at = 0;
  for (const Outgoing& outgoing : messages) {
    const HeaderSpan header(headers_.data() + at, kHeaderBytes);
    // Headers without payload between them are neighbours: one piece.
    const bool joins =
        !pieces.empty() &&
        static_cast<std::byte*>(pieces.back().iov_base) + pieces.back().iov_len == header.data();
    if (joins) {
      pieces.back().iov_len += kHeaderBytes;
    } else {
      pieces.push_back({header.data(), kHeaderBytes});
    }
    PayloadInfo payload;
    std::uint64_t bytes = 0;
    for (const struct iovec& piece : outgoing.payload) {
      payload.crc = crc32c({static_cast<const std::byte*>(piece.iov_base), piece.iov_len}, payload.crc);
      bytes += piece.iov_len;
      pieces.push_back(piece);
    }
    ESC_ASSERT_MSG(bytes <= links_.options_.payload_bytes_max, "a payload above the link's limit");
    ESC_ASSERT_MSG(pieces.size() <= kMessagesPerSend + kPiecesPerSend, "too many pieces in a send");
    payload.bytes = static_cast<std::uint32_t>(bytes);
    std::visit([&](const auto& message) { encode(route, message, payload, header); }, outgoing.message);
    at += kHeaderBytes;
    links_.stats_.bytes_sent += kHeaderBytes + bytes;
  }
  links_.stats_.messages_sent += messages.size();
  ++links_.stats_.sends;
  sending_ = true;
  links_.env_.net.send(connection_, pieces);
}

// --- receiving ---

void Links::Channel::on_received(ByteView bytes, io::ReceiveLoan loan) {
  links_.stats_.bytes_received += bytes.size();
  consume(bytes, loan);
}

void Links::Channel::consume(ByteView bytes, io::ReceiveLoan loan) {
  if (state_ == State::hello_sent || state_ == State::challenge_sent) bytes = take_handshake(bytes);
  if (state_ == State::ready && !bytes.empty()) {
    held_.push_back({bytes, loan});
    return links_.env_.net.pause_receive(connection_);
  }
  if (state_ == State::up) take_messages(bytes);
  links_.env_.net.release(loan);
}

void Links::Channel::take_messages(ByteView bytes) {
  if (assembled_ > 0) bytes = assemble(bytes);
  while (up() && bytes.size() >= kHeaderBytes) {
    const auto header = decode(bytes.first<kHeaderBytes>(), links_.options_.payload_bytes_max);
    if (!header) return protocol_error(header.error());
    const std::size_t total = kHeaderBytes + header->payload.bytes;
    if (bytes.size() < total) break;
    deliver(*header, bytes.subspan(kHeaderBytes, header->payload.bytes));
    bytes = bytes.subspan(total);
  }
  if (!up() || bytes.empty()) return;
  ESC_ASSERT(bytes.size() < kHeaderBytes + std::size_t{links_.options_.payload_bytes_max});
  std::memcpy(assembly_.get(), bytes.data(), bytes.size());
  assembled_ = bytes.size();
}

// Completes the message begun in the assembly buffer as far as the bytes go; returns the rest.
ByteView Links::Channel::assemble(ByteView bytes) {
  const auto take = [&](std::size_t total) {
    const std::size_t count = std::min(bytes.size(), total - assembled_);
    std::memcpy(assembly_.get() + assembled_, bytes.data(), count);
    assembled_ += count;
    bytes = bytes.subspan(count);
  };
  if (assembled_ < kHeaderBytes) take(kHeaderBytes);
  if (assembled_ < kHeaderBytes) return {};
  const auto header = decode(HeaderView(assembly_.get(), kHeaderBytes), links_.options_.payload_bytes_max);
  if (!header) {
    protocol_error(header.error());
    return {};
  }
  const std::size_t total = kHeaderBytes + header->payload.bytes;
  take(total);
  if (assembled_ < total) return {};
  assembled_ = 0;
  ++links_.stats_.messages_assembled;
  deliver(*header, ByteView(assembly_.get() + kHeaderBytes, header->payload.bytes));
  return bytes;
}

void Links::Channel::deliver(const Header& header, ByteView payload) {
  const Route expected{
      .from = peer_->address.node, .to = links_.options_.self, .group = links_.options_.group};
  if (header.route != expected) return protocol_error("a message of or for somebody else");
  if (crc32c(payload) != header.payload.crc) return protocol_error("a payload whose checksum is wrong");
  ++links_.stats_.messages_received;
  if (const auto* message = std::get_if<raft::Message>(&header.message)) {
    links_.handler_.on_message(*message, payload);
  } else {
    links_.handler_.on_service(expected.from, std::get<Service>(header.message), payload);
  }
}

void Links::Channel::protocol_error(std::string_view what) {
  ++links_.stats_.protocol_errors;
  links_.log_.log_limited(
      peer_->refusal_limiter, obs::Level::error, "peer_protocol_error",
      {{"group", links_.options_.group},
       {"peer", peer_->address.node},
       {"cause", what},
       {"fix", "nothing once; when it repeats, check the network between the nodes and their releases"}});
  close(Errc::corruption);
}

}  // namespace esc::peer
