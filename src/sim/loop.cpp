#include "esc/sim/loop.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "esc/base/assert.h"

namespace esc::sim {
namespace {

// Callbacks of one turn; the rest comes in the next.
constexpr std::size_t kCallbacksPerTurn = 64;

std::optional<HostNumber> host_of(const std::string& address) {
  constexpr std::string_view kNet = "10.0.0.";
  HostNumber host = 0;
  if (!address.starts_with(kNet)) return std::nullopt;
  const char* const end = address.data() + address.size();
  const auto [stop, error] = std::from_chars(address.data() + kNet.size(), end, host);
  if (error != std::errc() || stop != end) return std::nullopt;
  return host;
}

}  // namespace

Nanos HostClock::global(Nanos at) const {
  Nanos guess = (at - offset) - (at - offset) * drift_ppm / 1'000'000;
  while (local(guess) >= at) guess -= std::max<Nanos>(1, local(guess) - at);
  while (local(guess) < at) guess += std::max<Nanos>(1, (at - local(guess)) / 2);
  return guess;
}

SimLoop::SimLoop(SimClock& clock, Network& network, FileSystem& files, const HostClock& host_clock, Prng prng,
                 const SimLoopOptions& options)
    : clock_(clock),
      network_(network),
      host_clock_(host_clock),
      prng_(prng),
      options_(options),
      disk_(clock, files, prng.fork(1), options.disk),
      now_(host_clock.local(clock.now())),
      buffers_(options.receive_buffers) {
  disk_.set_deliver([this](io::DiskOp& op) { post({.kind = Ready::Kind::disk, .op = &op}); });
}

SimLoop::~SimLoop() {
  *alive_ = false;
}

// --- running ---

void SimLoop::run_at(Nanos global) {
  if (dead_) return;
  global = std::max(global, clock_.now());
  if (run_at_ != 0 && run_at_ <= global) return;
  run_at_ = global;
  const std::uint64_t ticket = ++ticket_;
  clock_.schedule(global, [this, ticket, alive = alive_] {
    if (*alive) on_run_event(ticket);
  });
}

void SimLoop::on_run_event(std::uint64_t ticket) {
  if (dead_ || ticket != ticket_) return;
  run_at_ = 0;
  if (paused_ || blocking_) {
    run_missed_ = true;
    return;
  }
  if (run_) run_();
}

void SimLoop::pause(bool paused) {
  paused_ = paused;
  if (paused || !std::exchange(run_missed_, false)) return;
  run_at(clock_.now());
}

void SimLoop::set_blocking(bool blocking) {
  blocking_ = blocking;
  if (blocking || !std::exchange(run_missed_, false)) return;
  run_at(clock_.now());
}

void SimLoop::wake() {
  woken_ = true;
  run_at(clock_.now() + prng_.between(options_.turn_min, options_.turn_max));
}

void SimLoop::post(Ready ready) {
  if (dead_) return;
  ready_.push_back(ready);
  wake();
}

std::uint32_t SimLoop::deliver() {
  now_ = std::max(now_, host_clock_.local(clock_.now()));
  std::uint32_t work = 0;
  for (std::size_t left = std::min(ready_.size(), kCallbacksPerTurn); left > 0 && !dead_; --left) {
    const Ready ready = ready_.front();
    ready_.pop_front();
    dispatch(ready);
    ++work;
  }
  return work + fire_timers();
}

std::uint32_t SimLoop::poll(Nanos wait_until) {
  if (blocking_) {
    const Nanos until = host_clock_.global(wait_until);
    while (ready_.empty() && !dead_ && clock_.next_at() <= until) clock_.step();
    if (ready_.empty() && clock_.now() < until) clock_.run_until(until);
    return deliver();
  }
  woken_ = false;
  const std::uint32_t work = deliver();
  if (dead_) return work;
  Nanos next = clock_.now() + prng_.between(options_.turn_min, options_.turn_max);
  if (options_.gap_one_in > 0 && prng_.chance(1, options_.gap_one_in))
    next += prng_.between(options_.turn_max, options_.gap_max);
  if (work == 0 && !woken_ && ready_.empty() && wait_until > now_) {
    const Nanos deadline = timers_.empty() ? wait_until : std::min(wait_until, timers_.begin()->first.first);
    next = std::max(next, host_clock_.global(deadline));
  }
  run_at(next);
  return work;
}

void SimLoop::dispatch(const Ready& ready) {
  switch (ready.kind) {
    case Ready::Kind::disk: return ready.op->done(*ready.op);
    case Ready::Kind::accepted: return ready.acceptor->on_accepted({ready.fd});
    case Ready::Kind::connected:
    case Ready::Kind::sent:
    case Ready::Kind::readable:
    case Ready::Kind::detached:
    case Ready::Kind::closed: break;
  }
  Network::EndPtr* const found = find(ready.connection);
  if (found == nullptr) return;
  const Network::EndPtr end = *found;
  if (ready.kind == Ready::Kind::closed) return finish_close(end);
  if (ready.kind == Ready::Kind::readable) end->readable_posted = false;
  if (end->closing) return;
  if (ready.kind == Ready::Kind::detached) return finish_detach(end);
  if (ready.kind == Ready::Kind::connected) {
    end->handler->on_connected();
  } else if (ready.kind == Ready::Kind::sent) {
    end->sending = false;
    end->handler->on_sent();
  } else {
    read_some(end);
  }
}

// --- disk and time ---

std::uint32_t SimLoop::disk_ops_in_flight() const {
  const auto waiting = std::count_if(ready_.begin(), ready_.end(),
                                     [](const Ready& ready) { return ready.kind == Ready::Kind::disk; });
  return static_cast<std::uint32_t>(disk_.in_flight() + static_cast<std::size_t>(waiting));
}

void SimLoop::crash(CrashKind kind) {
  dead_ = true;
  disk_.interrupt(kind);
  ready_.clear();
  timers_.clear();
  slots_.clear();
}

WallMs SimLoop::wall_ms() const {
  return host_clock_.wall_start_ms + host_clock_.local(clock_.now()) / kMillisecond;
}

void SimLoop::arm(io::Timer& timer, Nanos deadline) {
  disarm(timer);
  timer.deadline = deadline;
  timer.heap_slot = timer_sequence_++;
  timers_.emplace(std::pair{deadline, timer.heap_slot}, &timer);
  // Armed by a callback of the network between turns: the core may be asleep.
  run_at(std::max(clock_.now() + options_.turn_max, host_clock_.global(deadline)));
}

void SimLoop::disarm(io::Timer& timer) {
  if (!timer.armed()) return;
  timers_.erase({timer.deadline, timer.heap_slot});
  timer.heap_slot = UINT32_MAX;
}

std::uint32_t SimLoop::fire_timers() {
  std::uint32_t fired = 0;
  while (!timers_.empty() && timers_.begin()->first.first <= now_ && fired < kCallbacksPerTurn) {
    io::Timer& timer = *timers_.begin()->second;
    timers_.erase(timers_.begin());
    timer.heap_slot = UINT32_MAX;
    timer.fire(timer);
    ++fired;
  }
  return fired;
}

// --- connections ---

Network::EndPtr* SimLoop::find(io::ConnectionId id) {
  if (id.slot >= slots_.size() || slots_[id.slot].generation != id.generation ||
      slots_[id.slot].end == nullptr)
    return nullptr;
  return &slots_[id.slot].end;
}

Result<std::uint16_t> SimLoop::listen(const std::string&, std::uint16_t port, io::AcceptHandler& handler) {
  return network_.listen(options_.host, port, *this, handler);
}

void SimLoop::stop_listening() {
  network_.stop_listening(*this);
}

std::expected<io::ConnectionId, Errc> SimLoop::attach(const Network::EndPtr& end,
                                                      io::ConnectionHandler& handler) {
  if (open_ == options_.connections_max) {
    network_.close(end);
    return std::unexpected(Errc::busy);
  }
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<std::uint32_t>(slots_.size()));
    slots_.emplace_back();
  }
  const std::uint32_t slot = free_slots_.back();
  free_slots_.pop_back();
  ++open_;
  slots_[slot].end = end;
  end->id = {slot, ++slots_[slot].generation};
  end->handler = &handler;
  end->loop = this;
  return end->id;
}

std::expected<io::ConnectionId, Errc> SimLoop::adopt(io::AcceptedSocket socket,
                                                     io::ConnectionHandler& handler) {
  const Network::EndPtr end = network_.take(socket.fd);
  if (end == nullptr) {  // reset meanwhile: the kernel says so when the socket is read
    auto dead = std::make_shared<Network::End>();
    auto id = attach(dead, handler);
    if (id) network_.fail(dead, Errc::io_error);
    return id;
  }
  const auto id = attach(end, handler);
  if (id) post_readable(*end);
  return id;
}

std::expected<io::ConnectionId, Errc> SimLoop::connect(const std::string& host, std::uint16_t port,
                                                       io::ConnectionHandler& handler) {
  const auto to = host_of(host);
  if (!to) return std::unexpected(Errc::invalid_argument);
  if (open_ == options_.connections_max) return std::unexpected(Errc::busy);
  return attach(network_.connect(options_.host, *to, port, *this), handler);
}

void SimLoop::send(io::ConnectionId connection, std::span<const struct iovec> pieces) {
  if (Network::EndPtr* end = find(connection)) network_.send(*end, pieces);
}

void SimLoop::pause_receive(io::ConnectionId connection) {
  if (Network::EndPtr* end = find(connection)) (*end)->paused = true;
}

void SimLoop::resume_receive(io::ConnectionId connection) {
  Network::EndPtr* const end = find(connection);
  if (end == nullptr || !(*end)->paused) return;
  (*end)->paused = false;
  post_readable(**end);
}

void SimLoop::close(io::ConnectionId connection) {
  if (Network::EndPtr* found = find(connection)) {
    const Network::EndPtr end = *found;
    network_.close(end);
  }
}

void SimLoop::detach(io::ConnectionId connection) {
  Network::EndPtr* const end = find(connection);
  if (end == nullptr || (*end)->closing) return;
  ESC_ASSERT_MSG((*end)->connected && !(*end)->sending && !(*end)->paused,
                 "only a quiet connection can change hands");
  post({.kind = Ready::Kind::detached, .connection = connection});
}

void SimLoop::set_peer_timeout(io::ConnectionId connection, std::uint32_t timeout_ms) {
  if (Network::EndPtr* end = find(connection)) network_.watch_peer(*end, Nanos{timeout_ms} * kMillisecond);
}

std::string SimLoop::peer_address(io::ConnectionId connection) {
  const Network::EndPtr* const end = find(connection);
  return end == nullptr ? std::string() : "host " + std::to_string((*end)->peer_host);
}

void SimLoop::release(io::ReceiveLoan loan) {
  ESC_ASSERT(loan.buffer < buffers_.size() && buffers_[loan.buffer].lent);
  Buffer& buffer = buffers_[loan.buffer];
  buffer.lent = false;
  --lent_;
  // Whoever still looks sees that the bytes are gone.
  std::fill(buffer.bytes.begin(), buffer.bytes.end(), std::byte{0xDD});
  if (starved_.empty()) return;
  const io::ConnectionId next = starved_.front();
  starved_.erase(starved_.begin());
  if (Network::EndPtr* end = find(next)) post_readable(**end);
}

void SimLoop::post_readable(Network::End& end) {
  if (end.readable_posted || end.closing || end.paused) return;
  if (end.unread() == 0 && !end.end_received) return;
  end.readable_posted = true;
  post({.kind = Ready::Kind::readable, .connection = end.id});
}

// One buffer's worth, or less: the stream may be cut anywhere.
void SimLoop::read_some(const Network::EndPtr& end) {
  if (end->paused) return;
  if (end->unread() == 0) {
    if (!end->end_received) return;
    return network_.fail(end, end->sending ? Errc::io_error : Errc::closed);
  }
  if (lent_ == buffers_.size()) {
    starved_.push_back(end->id);
    return;
  }
  const auto free = std::find_if(buffers_.begin(), buffers_.end(), [](const Buffer& b) { return !b.lent; });
  std::size_t bytes = std::min<std::size_t>(end->unread(), options_.receive_buffer_bytes);
  const std::uint32_t split = network_.options().split_one_in;
  if (split > 0 && prng_.chance(1, split)) bytes = 1 + prng_.below(bytes);
  const auto from = end->received.begin() + static_cast<std::ptrdiff_t>(end->received_head);
  free->bytes.assign(from, from + static_cast<std::ptrdiff_t>(bytes));
  free->lent = true;
  ++lent_;
  end->received_head += bytes;
  network_.consumed(end);
  post_readable(*end);
  end->handler->on_received(free->bytes, {static_cast<std::uint32_t>(free - buffers_.begin())});
}

void SimLoop::free_slot(const Network::EndPtr& end) {
  slots_[end->id.slot].end = nullptr;
  free_slots_.push_back(end->id.slot);
  --open_;
}

void SimLoop::finish_close(const Network::EndPtr& end) {
  io::ConnectionHandler& handler = *end->handler;
  free_slot(end);
  network_.forget(end);
  handler.on_closed(end->close_reason);
}

void SimLoop::finish_detach(const Network::EndPtr& end) {
  io::ConnectionHandler& handler = *end->handler;
  free_slot(end);
  end->loop = nullptr;
  end->handler = nullptr;
  handler.on_detached({end->fd});
}

}  // namespace esc::sim
