// The door of a node: reads exactly one Hello from each socket that connects to the peer port, then gives
// hello and socket to whoever owns the group, perhaps on another core.
//
// Nothing is judged here but the form: the Links of the group answer. Whoever sends anything else, or nothing
// for a while, is closed with a rate-limited log line.
//
// Threading: the core whose Net listens. Memory: kPendingMax slots, made at construction. Lifetime: destroy
// when stopped(), or when the loop is not polled any more.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "esc/base/units.h"
#include "esc/io/env.h"
#include "esc/obs/log.h"
#include "esc/peer/handshake.h"

namespace esc::peer {

class Discard;

class HelloHandler {
 public:
  virtual ~HelloHandler() = default;
  // Takes the socket over: to the Links of hello.group on their core. When this node has no such group, any
  // other Links of it will do: they refuse, and tell the dialler why.
  virtual void on_hello(const Hello& hello, io::AcceptedSocket socket) = 0;
};

struct AcceptorStats {
  std::uint64_t accepted = 0;
  std::uint64_t handed_over = 0;
  std::uint64_t garbage = 0;    // not a Hello
  std::uint64_t timeouts = 0;   // no Hello in time
  std::uint64_t overflows = 0;  // too many at once
};

class Acceptor final : public io::AcceptHandler {
 public:
  static constexpr std::size_t kPendingMax = 64;
  static constexpr Nanos kHelloTimeout = 2 * kSecond;

  Acceptor(io::Env env, obs::LogSource log, HelloHandler& handler);
  ~Acceptor() override;
  Acceptor(const Acceptor&) = delete;
  Acceptor& operator=(const Acceptor&) = delete;

  // For Net::listen(host, port, acceptor).
  void on_accepted(io::AcceptedSocket socket) override;

  std::uint32_t do_work(Nanos now);
  [[nodiscard]] Nanos next_deadline() const;

  // Closes what is pending and everything that still comes.
  void shutdown();
  [[nodiscard]] bool stopped() const;
  [[nodiscard]] const AcceptorStats& stats() const { return stats_; }

 private:
  class Pending;
  friend class Pending;

  void refuse(std::string_view cause, std::string_view fix);

  io::Env env_;
  obs::LogSource log_;
  HelloHandler& handler_;
  std::vector<std::unique_ptr<Pending>> pending_;
  std::unique_ptr<Discard> discard_;
  obs::LogLimiter limiter_;
  bool shut_down_ = false;
  AcceptorStats stats_;
};

}  // namespace esc::peer
