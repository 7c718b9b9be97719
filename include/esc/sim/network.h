// The simulated network: hosts, byte streams between them, and what goes wrong on the way.
//
// A stream is TCP as its users see it: bytes arrive in order and whole, or the connection ends. Latency, the
// sizes in which bytes arrive, resets, one-way blockages, dead hosts and half-open connections come from the
// Prng and from whoever drives the faults. A blocked direction delays bytes until it is unblocked, or until
// the sender's user timeout ends the connection.
//
// Hosts are numbered; host n has the address "10.0.0.n". SimLoop is the door through which a core uses it.
//
// Threading: one thread. Deterministic. Memory: bounded by the send and receive buffers of each stream.
#pragma once

#include <sys/uio.h>

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/prng.h"
#include "esc/base/result.h"
#include "esc/io/net.h"
#include "esc/sim/clock.h"

namespace esc::sim {

class SimLoop;

using HostNumber = std::uint32_t;
[[nodiscard]] std::string address_of(HostNumber host);

struct NetworkOptions {
  Nanos latency_min = 15 * kMicrosecond;
  Nanos latency_max = 120 * kMicrosecond;
  // One segment in this many takes up to `slow_max`; 0: none.
  std::uint32_t slow_one_in = 0;
  Nanos slow_max = 20 * kMillisecond;
  // One arrival in this many is handed over in pieces cut anywhere; 0: none.
  std::uint32_t split_one_in = 4;
  std::uint64_t send_buffer_bytes = 256 * kKiB;
  std::uint64_t receive_buffer_bytes = 256 * kKiB;
  Nanos connect_timeout = 2 * kSecond;
  Nanos user_timeout = 8 * kSecond;  // of unacknowledged bytes
  Nanos retransmit_max = 200 * kMillisecond;
};

class Network {
 public:
  Network(SimClock& clock, Prng prng, const NetworkOptions& options);
  ~Network();
  Network(const Network&) = delete;
  Network& operator=(const Network&) = delete;

  // --- what goes wrong ---
  // Bytes from one host to another no longer arrive, until unblock().
  void block(HostNumber from, HostNumber to);
  void unblock(HostNumber from, HostNumber to);
  void unblock_all();
  [[nodiscard]] bool blocked(HostNumber from, HostNumber to) const { return blocked_.contains({from, to}); }
  // Ends every connection between the two with a reset.
  void reset(HostNumber a, HostNumber b);
  // The process of the host is gone: its listeners and connections are. With `power` the host is silent, too,
  // until boot(): peers learn of it by timeouts, or by a reset once it answers again.
  void kill(HostNumber host, bool power);
  void boot(HostNumber host);

  [[nodiscard]] const NetworkOptions& options() const { return options_; }

 private:
  friend class SimLoop;
  struct Segment {
    Nanos at = 0;
    std::vector<std::byte> bytes;
    bool end = false;  // FIN
  };
  // One end of a stream, and the wire that leads away from it.
  struct End {
    int fd = -1;
    HostNumber host = 0;
    HostNumber peer_host = 0;
    std::weak_ptr<End> peer;
    // Its owner; null between accept (or detach) and adopt.
    SimLoop* loop = nullptr;
    io::ConnectionHandler* handler = nullptr;
    io::ConnectionId id;
    bool connected = false;
    bool closing = false;  // on_closed is due or has run
    bool gone = false;     // the socket is closed: what arrives is answered with a reset
    bool paused = false;
    bool readable_posted = false;
    Errc close_reason = Errc::closed;
    std::vector<std::byte> received;
    std::size_t received_head = 0;
    bool end_received = false;
    // The one outstanding send.
    bool sending = false;
    std::vector<struct iovec> pieces;
    std::vector<std::byte> unsent;
    std::size_t unsent_head = 0;
    // The wire.
    std::deque<Segment> wire;
    bool pump_scheduled = false;
    Nanos last_arrival = 0;
    std::uint64_t outstanding = 0;  // bytes sent and not acknowledged
    std::uint64_t unacknowledged_delivered = 0;
    Nanos last_progress = 0;
    bool timeout_scheduled = false;
    Nanos peer_timeout = 0;  // of a peer that does not answer at all; 0: not watched
    Nanos last_contact = 0;
    [[nodiscard]] std::size_t unread() const { return received.size() - received_head; }
  };
  using EndPtr = std::shared_ptr<End>;
  struct Listener {
    SimLoop* loop = nullptr;
    io::AcceptHandler* handler = nullptr;
  };

  // For SimLoop.
  [[nodiscard]] Result<std::uint16_t> listen(HostNumber host, std::uint16_t port, SimLoop& loop,
                                             io::AcceptHandler& handler);
  void stop_listening(const SimLoop& loop);
  [[nodiscard]] EndPtr connect(HostNumber from, HostNumber to, std::uint16_t port, SimLoop& loop);
  [[nodiscard]] EndPtr take(int fd) const;
  void send(const EndPtr& end, std::span<const struct iovec> pieces);
  void close(const EndPtr& end);
  void consumed(const EndPtr& end);
  void watch_peer(const EndPtr& end, Nanos timeout);
  void forget(const EndPtr& end);

  EndPtr make_end(HostNumber host, HostNumber peer_host);
  [[nodiscard]] Nanos latency();
  void try_connect(const EndPtr& end, HostNumber to, std::uint16_t port);
  void push(const EndPtr& end);
  void put_on_wire(End& end, Segment segment);
  void schedule_pump(const EndPtr& end, Nanos at);
  void pump(const EndPtr& end);
  [[nodiscard]] bool deliver_head(const EndPtr& end);
  void acknowledge(const EndPtr& end, std::uint64_t bytes);
  void watch_timeout(const EndPtr& end);
  void check_peer(const EndPtr& end);
  void fail(const EndPtr& end, Errc reason);
  void answer_reset(const EndPtr& sender);
  void finish_send(const EndPtr& end);

  SimClock& clock_;
  Prng prng_;
  NetworkOptions options_;
  std::map<int, EndPtr> ends_;
  int next_fd_ = 1;
  std::map<std::pair<HostNumber, std::uint16_t>, Listener> listeners_;
  std::uint16_t next_port_ = 20'000;
  std::set<std::pair<HostNumber, HostNumber>> blocked_;
  std::set<HostNumber> silent_;  // without power
  struct Dial {
    EndPtr end;
    HostNumber to = 0;
    std::uint16_t port = 0;
  };
  std::vector<Dial> waiting_dials_;  // whose first packet does not get through
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace esc::sim
