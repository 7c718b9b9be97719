#include "esc/sim/network.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "esc/base/assert.h"
#include "esc/sim/loop.h"

namespace esc::sim {

std::string address_of(HostNumber host) {
  return "10.0.0." + std::to_string(host);
}

Network::Network(SimClock& clock, Prng prng, const NetworkOptions& options)
    : clock_(clock), prng_(prng), options_(options) {}

Network::~Network() {
  *alive_ = false;
}

Nanos Network::latency() {
  if (options_.slow_one_in > 0 && prng_.chance(1, options_.slow_one_in))
    return prng_.between(options_.latency_max, options_.slow_max);
  return prng_.between(options_.latency_min, options_.latency_max);
}

// --- faults ---

void Network::block(HostNumber from, HostNumber to) {
  blocked_.insert({from, to});
}

// What was held back arrives with the next retransmission.
void Network::unblock(HostNumber from, HostNumber to) {
  if (blocked_.erase({from, to}) == 0) return;
  const auto soon = [this] { return clock_.now() + prng_.between(kMicrosecond, options_.retransmit_max); };
  for (const auto& [fd, end] : ends_) {
    if (end->host == from && end->peer_host == to && !end->wire.empty()) schedule_pump(end, soon());
    if (end->host == to && end->peer_host == from && end->unacknowledged_delivered > 0) {
      const std::uint64_t bytes = std::exchange(end->unacknowledged_delivered, 0);
      acknowledge(end, bytes);
    }
  }
  const std::vector<Dial> dials = std::exchange(waiting_dials_, {});
  for (const Dial& dial : dials) {
    clock_.schedule(soon(), [this, dial, alive = alive_] {
      if (*alive) try_connect(dial.end, dial.to, dial.port);
    });
  }
}

void Network::unblock_all() {
  const auto blocked = blocked_;
  for (const auto& [from, to] : blocked) unblock(from, to);
}

void Network::reset(HostNumber a, HostNumber b) {
  const auto ends = ends_;
  for (const auto& [fd, end] : ends) {
    if ((end->host != a || end->peer_host != b) && (end->host != b || end->peer_host != a)) continue;
    end->wire.clear();
    if (end->gone) {
      ends_.erase(fd);
    } else {
      fail(end, Errc::io_error);
    }
  }
}

void Network::kill(HostNumber host, bool power) {
  std::erase_if(listeners_, [host](const auto& entry) { return entry.first.first == host; });
  if (power) silent_.insert(host);
  const auto ends = ends_;
  for (const auto& [fd, end] : ends) {
    if (end->host != host) continue;
    end->closing = end->gone = true;
    end->loop = nullptr;
    if (power) {
      // What has left may still arrive, as far as nothing was lost.
      if (!end->wire.empty()) end->wire.resize(prng_.below(end->wire.size() + 1));
    } else if (const EndPtr peer = end->peer.lock()) {
      if (prng_.chance(1, 2)) end->wire.clear();
      answer_reset(peer);
    }
    ends_.erase(fd);
  }
}

void Network::boot(HostNumber host) {
  silent_.erase(host);
  for (const auto& [fd, end] : ends_) {
    if (end->peer_host == host && !end->wire.empty())
      schedule_pump(end, clock_.now() + prng_.between(0, options_.retransmit_max));
  }
}

// --- opening ---

Network::EndPtr Network::make_end(HostNumber host, HostNumber peer_host) {
  auto end = std::make_shared<End>();
  end->fd = next_fd_++;
  end->host = host;
  end->peer_host = peer_host;
  ends_.emplace(end->fd, end);
  return end;
}

Result<std::uint16_t> Network::listen(HostNumber host, std::uint16_t port, SimLoop& loop,
                                      io::AcceptHandler& handler) {
  if (port == 0) port = next_port_++;
  if (!listeners_.emplace(std::pair{host, port}, Listener{&loop, &handler}).second) {
    return esc::fail(Errc::already_exists,
                     address_of(host) + ":" + std::to_string(port) + " is in use: choose another port");
  }
  return port;
}

void Network::stop_listening(const SimLoop& loop) {
  std::erase_if(listeners_, [&loop](const auto& entry) { return entry.second.loop == &loop; });
}

Network::EndPtr Network::connect(HostNumber from, HostNumber to, std::uint16_t port, SimLoop& loop) {
  EndPtr end = make_end(from, to);
  end->loop = &loop;
  clock_.schedule(clock_.now() + latency(), [this, end, to, port, alive = alive_] {
    if (*alive) try_connect(end, to, port);
  });
  clock_.schedule(clock_.now() + options_.connect_timeout, [this, end, alive = alive_] {
    if (*alive && !end->connected) fail(end, Errc::timeout);
  });
  return end;
}

void Network::try_connect(const EndPtr& end, HostNumber to, std::uint16_t port) {
  if (end->closing || end->connected) return;
  if (blocked(end->host, to) || blocked(to, end->host)) {
    waiting_dials_.push_back({end, to, port});
    return;
  }
  if (silent_.contains(to)) return;  // the timeout tells
  const auto found = listeners_.find({to, port});
  if (found == listeners_.end()) return fail(end, Errc::io_error);  // refused
  EndPtr accepted = make_end(to, end->host);
  accepted->peer = end;
  accepted->connected = true;
  end->peer = accepted;
  end->connected = true;
  found->second.loop->post(
      {.kind = SimLoop::Ready::Kind::accepted, .acceptor = found->second.handler, .fd = accepted->fd});
  clock_.schedule(clock_.now() + latency(), [this, end, alive = alive_] {
    if (!*alive || end->closing) return;
    end->loop->post({.kind = SimLoop::Ready::Kind::connected, .connection = end->id});
    push(end);
  });
}

Network::EndPtr Network::take(int fd) const {
  const auto found = ends_.find(fd);
  return found == ends_.end() ? nullptr : found->second;
}

// --- sending ---

void Network::send(const EndPtr& end, std::span<const struct iovec> pieces) {
  if (end->closing) return;
  ESC_ASSERT_MSG(!end->sending, "one send at a time per connection");
  end->sending = true;
  end->pieces.assign(pieces.begin(), pieces.end());
  end->unsent.clear();
  end->unsent_head = 0;
  for (const struct iovec& piece : pieces) {
    const auto* from = static_cast<const std::byte*>(piece.iov_base);
    end->unsent.insert(end->unsent.end(), from, from + piece.iov_len);
  }
  if (end->connected) push(end);
}

// Moves what the send buffer takes onto the wire.
void Network::push(const EndPtr& end) {
  if (!end->sending || end->closing) return;
  const std::size_t left = end->unsent.size() - end->unsent_head;
  const std::uint64_t room =
      options_.send_buffer_bytes - std::min(options_.send_buffer_bytes, end->outstanding);
  const std::size_t step = std::min<std::uint64_t>(left, room);
  if (step > 0) {
    const auto from = end->unsent.begin() + static_cast<std::ptrdiff_t>(end->unsent_head);
    if (end->outstanding == 0) end->last_progress = clock_.now();
    end->outstanding += step;
    put_on_wire(*end, {0, {from, from + static_cast<std::ptrdiff_t>(step)}, false});
    schedule_pump(end, end->wire.front().at);
    watch_timeout(end);
    end->unsent_head += step;
  }
  if (end->unsent_head == end->unsent.size()) finish_send(end);
}

// The memory was the caller's until now, who promised not to touch it.
void Network::finish_send(const EndPtr& end) {
  std::size_t at = 0;
  for (const struct iovec& piece : end->pieces) {
    ESC_ASSERT_MSG(
        piece.iov_len == 0 || std::memcmp(piece.iov_base, end->unsent.data() + at, piece.iov_len) == 0,
        "bytes of a send changed before on_sent");
    at += piece.iov_len;
  }
  end->loop->post({.kind = SimLoop::Ready::Kind::sent, .connection = end->id});
}

void Network::put_on_wire(End& end, Segment segment) {
  end.last_arrival = std::max(clock_.now() + latency(), end.last_arrival);
  segment.at = end.last_arrival;
  end.wire.push_back(std::move(segment));
}

void Network::schedule_pump(const EndPtr& end, Nanos at) {
  if (end->pump_scheduled) return;
  end->pump_scheduled = true;
  clock_.schedule(at, [this, end, alive = alive_] {
    if (!*alive) return;
    end->pump_scheduled = false;
    pump(end);
  });
}

void Network::pump(const EndPtr& end) {
  while (!end->wire.empty()) {
    if (end->wire.front().at > clock_.now()) return schedule_pump(end, end->wire.front().at);
    if (!deliver_head(end)) break;
  }
  if (end->gone && end->wire.empty()) ends_.erase(end->fd);
}

// False: it stays on the wire until something changes.
bool Network::deliver_head(const EndPtr& end) {
  if (blocked(end->host, end->peer_host) || silent_.contains(end->peer_host)) return false;
  const EndPtr peer = end->peer.lock();
  if (peer == nullptr || peer->gone) {
    end->wire.clear();
    answer_reset(end);
    return false;
  }
  Segment& head = end->wire.front();
  if (peer->unread() >= options_.receive_buffer_bytes) return false;  // consumed() comes back
  if (peer->received_head == peer->received.size()) {
    peer->received.clear();
    peer->received_head = 0;
  }
  peer->received.insert(peer->received.end(), head.bytes.begin(), head.bytes.end());
  peer->end_received |= head.end;
  const std::uint64_t bytes = head.bytes.size();
  end->wire.pop_front();
  if (blocked(peer->host, end->host)) {
    end->unacknowledged_delivered += bytes;
  } else {
    acknowledge(end, bytes);
  }
  if (peer->loop != nullptr) peer->loop->post_readable(*peer);
  return true;
}

void Network::acknowledge(const EndPtr& end, std::uint64_t bytes) {
  end->outstanding -= std::min(bytes, end->outstanding);
  end->last_progress = clock_.now();
  if (end->unsent_head < end->unsent.size()) push(end);
}

void Network::consumed(const EndPtr& end) {
  const EndPtr peer = end->peer.lock();
  if (peer != nullptr && !peer->wire.empty()) schedule_pump(peer, clock_.now());
}

void Network::watch_timeout(const EndPtr& end) {
  if (end->timeout_scheduled) return;
  end->timeout_scheduled = true;
  clock_.schedule(end->last_progress + options_.user_timeout, [this, end, alive = alive_] {
    if (!*alive) return;
    end->timeout_scheduled = false;
    if (end->outstanding == 0 || end->closing) return;
    if (clock_.now() - end->last_progress >= options_.user_timeout) {
      end->wire.clear();
      return fail(end, Errc::timeout);
    }
    watch_timeout(end);
  });
}

// Keep-alive: the connection ends when the other machine has been out of reach for so long, idle or not.
void Network::watch_peer(const EndPtr& end, Nanos timeout) {
  const bool watched = end->peer_timeout > 0;
  end->peer_timeout = timeout;
  end->last_contact = clock_.now();
  if (!watched) check_peer(end);
}

void Network::check_peer(const EndPtr& end) {
  if (end->closing || end->peer_timeout == 0) return;
  const bool reachable = !blocked(end->host, end->peer_host) && !blocked(end->peer_host, end->host) &&
                         !silent_.contains(end->peer_host);
  if (reachable) end->last_contact = clock_.now();
  if (clock_.now() - end->last_contact >= end->peer_timeout) {
    end->wire.clear();
    return fail(end, Errc::timeout);
  }
  clock_.schedule(clock_.now() + end->peer_timeout / 4 + 1, [this, end, alive = alive_] {
    if (*alive) check_peer(end);
  });
}

// --- closing ---

// The connection of `sender` is unknown at the other side.
void Network::answer_reset(const EndPtr& sender) {
  clock_.schedule(clock_.now() + latency(), [this, sender, alive = alive_] {
    if (!*alive) return;
    // A reset is lost like anything else; the next retransmission would ask for it again.
    if (blocked(sender->peer_host, sender->host)) {
      clock_.schedule(clock_.now() + options_.retransmit_max, [this, sender, again = alive_] {
        if (*again && !sender->closing) answer_reset(sender);
      });
      return;
    }
    sender->wire.clear();
    fail(sender, Errc::io_error);
  });
}

void Network::fail(const EndPtr& end, Errc reason) {
  if (end->closing) return;
  end->closing = true;
  end->close_reason = reason;
  if (end->loop == nullptr) return forget(end);
  end->loop->post({.kind = SimLoop::Ready::Kind::closed, .connection = end->id});
}

// By its own side. Bytes that were sent still arrive; unread ones make it a reset, as Linux does.
void Network::close(const EndPtr& end) {
  if (end->closing) return;
  const bool unread = end->unread() > 0;
  const bool half_sent = end->sending && end->unsent_head < end->unsent.size();
  fail(end, Errc::closed);
  const EndPtr peer = end->peer.lock();
  if (peer == nullptr || !end->connected) return;
  if (unread || half_sent) {
    end->wire.clear();
    answer_reset(peer);
  } else {
    put_on_wire(*end, {0, {}, true});
    schedule_pump(end, end->wire.front().at);
  }
}

// The socket is closed: its owner has been told.
void Network::forget(const EndPtr& end) {
  end->gone = true;
  end->loop = nullptr;
  end->sending = false;
  // Only the wire keeps it.
  if (end->wire.empty()) {
    ends_.erase(end->fd);
  } else {
    schedule_pump(end, end->wire.front().at);
  }
}

}  // namespace esc::sim
