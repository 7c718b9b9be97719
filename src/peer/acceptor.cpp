#include "esc/peer/acceptor.h"

#include <algorithm>
#include <array>
#include <limits>
#include <string_view>

#include "discard.h"
#include "esc/base/assert.h"

namespace esc::peer {

// A socket that has not said Hello yet, or that is about to change hands.
class Acceptor::Pending final : public io::ConnectionHandler {
 public:
  explicit Pending(Acceptor& acceptor) : acceptor_(acceptor) {}

  // False when the Net has no slot for it (the socket is closed then).
  bool begin(io::AcceptedSocket socket) {
    const auto adopted = acceptor_.env_.net.adopt(socket, *this);
    if (!adopted) return false;
    connection_ = *adopted;
    state_ = State::waiting;
    have_ = 0;
    deadline_ = acceptor_.env_.clock.now() + kHelloTimeout;
    return true;
  }
  void close() {
    state_ = State::closing;
    acceptor_.env_.net.close(connection_);
  }
  [[nodiscard]] bool free() const { return state_ == State::free; }
  // Of a Hello that has not come.
  [[nodiscard]] Nanos deadline() const {
    return state_ == State::waiting ? deadline_ : std::numeric_limits<Nanos>::max();
  }

 private:
  enum class State : std::uint8_t { free, waiting, leaving, closing };

  void on_received(ByteView bytes, io::ReceiveLoan loan) override {
    take(bytes);
    acceptor_.env_.net.release(loan);
  }
  void take(ByteView bytes) {
    if (state_ == State::closing) return;
    const std::size_t wanted = kHelloBytes - have_;  // nothing when it is leaving
    if (bytes.size() > wanted) return garbage();
    std::ranges::copy(bytes, bytes_.begin() + static_cast<std::ptrdiff_t>(have_));
    have_ += bytes.size();
    if (have_ < kHelloBytes) return;
    const auto hello = decode_hello(bytes_);
    if (!hello) return garbage();
    hello_ = *hello;
    state_ = State::leaving;
    acceptor_.env_.net.detach(connection_);
  }
  void garbage() {
    ++acceptor_.stats_.garbage;
    acceptor_.refuse("something that is not an escd node has connected to the peer port",
                     "point clients at the kafka address of cluster.nodes, nodes at the peer address");
    close();
  }
  void on_sent() override {}
  void on_closed(Errc) override { state_ = State::free; }
  void on_detached(io::AcceptedSocket socket) override {
    state_ = State::free;
    ++acceptor_.stats_.handed_over;
    acceptor_.handler_.on_hello(hello_, socket);
  }

  Acceptor& acceptor_;
  io::ConnectionId connection_;
  State state_ = State::free;
  Nanos deadline_ = 0;
  std::size_t have_ = 0;
  std::array<std::byte, kHelloBytes> bytes_{};
  Hello hello_;
};

Acceptor::Acceptor(io::Env env, obs::LogSource log, HelloHandler& handler)
    : env_(env), log_(log), handler_(handler), discard_(std::make_unique<Discard>(env.net)) {
  for (std::size_t i = 0; i < kPendingMax; ++i) pending_.push_back(std::make_unique<Pending>(*this));
}

Acceptor::~Acceptor() = default;

void Acceptor::on_accepted(io::AcceptedSocket socket) {
  ++stats_.accepted;
  if (shut_down_) return discard_->drop(socket);
  const auto slot = std::ranges::find_if(pending_, [](const auto& pending) { return pending->free(); });
  if (slot == pending_.end()) {
    ++stats_.overflows;
    refuse("too many connections to the peer port that say nothing", "keep strangers off the peer port");
    return discard_->drop(socket);
  }
  if (!(*slot)->begin(socket)) {
    ++stats_.overflows;
    refuse("all connection slots of the core are used", "raise limits.connections");
  }
}

std::uint32_t Acceptor::do_work(Nanos now) {
  std::uint32_t work = 0;
  for (const auto& pending : pending_) {
    if (now < pending->deadline()) continue;
    ++work;
    ++stats_.timeouts;
    refuse("a connection to the peer port has not said who it is in time",
           "keep strangers off the peer port");
    pending->close();
  }
  return work;
}

Nanos Acceptor::next_deadline() const {
  Nanos deadline = std::numeric_limits<Nanos>::max();
  for (const auto& pending : pending_) deadline = std::min(deadline, pending->deadline());
  return deadline;
}

void Acceptor::shutdown() {
  shut_down_ = true;
  for (const auto& pending : pending_) {
    if (!pending->free()) pending->close();
  }
}

bool Acceptor::stopped() const {
  return shut_down_ && discard_->quiet() &&
         std::ranges::all_of(pending_, [](const auto& p) { return p->free(); });
}

void Acceptor::refuse(std::string_view cause, std::string_view fix) {
  log_.log_limited(limiter_, obs::Level::warn, "peer_port_refused", {{"cause", cause}, {"fix", fix}});
}

}  // namespace esc::peer
