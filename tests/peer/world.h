// Nodes of one group in one loop over loopback: each with an Acceptor, Links and a recording handler.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../io/loop_fixture.h"
#include "../io/peer.h"
#include "esc/io/posix_files.h"
#include "esc/peer/acceptor.h"
#include "esc/peer/links.h"
#include "messages.h"

namespace esc::peer::test {

struct Received {
  NodeId from;
  std::variant<raft::Message, Service> message;
  std::string payload;
};

struct Recorder : LinkHandler {
  void on_link_up(NodeId node) override { events.push_back("up " + std::to_string(node.value())); }
  void on_link_down(NodeId node, Errc reason) override {
    events.push_back("down " + std::to_string(node.value()));
    last_reason = reason;
  }
  void on_message(const raft::Message& m, ByteView payload) override {
    received.push_back({m.from, m, std::string(as_text(payload))});
    if (then) then(received.back());
  }
  void on_service(NodeId node, Service service, ByteView payload) override {
    received.push_back({node, service, std::string(as_text(payload))});
    if (then) then(received.back());
  }
  void on_sent(NodeId) override { ++sent; }

  [[nodiscard]] std::size_t count(const std::string& event) const {
    return static_cast<std::size_t>(std::ranges::count(events, event));
  }

  std::vector<std::string> events;
  std::vector<Received> received;
  std::function<void(const Received&)> then;
  std::size_t sent = 0;
  Errc last_reason = Errc::ok;
};

struct World;

struct Node : HelloHandler {
  Node(World& world, LinkOptions options);
  ~Node() override;
  void on_hello(const Hello& hello, io::AcceptedSocket socket) override {
    hellos.push_back(hello);
    links->accept(hello, socket);
  }
  [[nodiscard]] NodeId id() const { return options.self; }

  World& world;
  LinkOptions options;
  Recorder handler;
  std::unique_ptr<Links> links;
  std::unique_ptr<Acceptor> acceptor;
  std::vector<Hello> hellos;
  std::uint16_t port = 0;
};

struct World {
  explicit World(std::string listen_host = "127.0.0.1")
      : host(std::move(listen_host)), loop(io::test::make_loop({.zero_copy_round_trip_max = 10 * kSecond})) {
    log_file = std::tmpfile();
    logger = std::make_unique<obs::Logger>(obs::LoggerOptions{.fd = ::fileno(log_file)});
  }
  ~World() {
    nodes.clear();
    loop.reset();
    logger.reset();
    std::fclose(log_file);
  }

  [[nodiscard]] static LinkOptions options(std::uint32_t self) {
    return {.cluster_id = 0xc1,
            .cluster_name = "test",
            .self = NodeId(self),
            .group = GroupId(3),
            .secret = "sesame"};
  }
  Node& add(LinkOptions link_options) {
    nodes.push_back(std::make_unique<Node>(*this, std::move(link_options)));
    return *nodes.back();
  }
  Node& add(std::uint32_t self) { return add(options(self)); }
  static void introduce(Node& a, Node& b) {
    a.links->set_peer({.node = b.id(), .host = b.world.host, .port = b.port});
    b.links->set_peer({.node = a.id(), .host = a.world.host, .port = a.port});
  }

  void turn() {
    Nanos deadline = loop->now() + 10 * kMillisecond;
    for (const auto& node : nodes) {
      node->links->do_work(loop->now());
      node->acceptor->do_work(loop->now());
      deadline = std::min({deadline, node->links->next_deadline(), node->acceptor->next_deadline()});
    }
    loop->poll(deadline);
  }
  bool run_until(const std::function<bool()>& condition, Nanos limit = 10 * kSecond) {
    loop->poll(0);
    const Nanos end = loop->now() + limit;
    while (!condition()) {
      if (loop->now() > end) return false;
      turn();
    }
    return true;
  }
  void run_for(Nanos time) {
    (void)run_until([] { return false; }, time);
  }
  bool connect(Node& a, Node& b) {
    introduce(a, b);
    return run_until([&] { return a.links->can_send(b.id()) && b.links->can_send(a.id()); });
  }
  [[nodiscard]] std::string log() {
    std::string text;
    std::rewind(log_file);
    std::vector<char> buffer(1 << 16);
    for (std::size_t n; (n = std::fread(buffer.data(), 1, buffer.size(), log_file)) > 0;)
      text.append(buffer.data(), n);
    return text;
  }

  const std::string host;
  std::FILE* log_file = nullptr;
  std::unique_ptr<obs::Logger> logger;
  std::unique_ptr<io::UringLoop> loop;
  io::PosixFiles files;
  Prng prng{42};
  unsigned raw_dialled = 0;
  std::vector<std::unique_ptr<Node>> nodes;
};

inline Node::Node(World& owner, LinkOptions link_options) : world(owner), options(std::move(link_options)) {
  const io::Env env{*world.loop, world.files, *world.loop, *world.loop, world.prng};
  const obs::LogSource log = world.logger->source("node" + std::to_string(options.self.value()));
  links = std::make_unique<Links>(env, log, options, handler);
  acceptor = std::make_unique<Acceptor>(env, log, *this);
  const auto bound = world.loop->listen(world.host, 0, *acceptor);
  EXPECT_TRUE(bound);
  port = *bound;
}

inline Node::~Node() {
  links->shutdown();
  acceptor->shutdown();
  EXPECT_TRUE(io::test::run_until(*world.loop, [this] { return links->stopped() && acceptor->stopped(); }));
}

// A dialler by hand, which need not keep the rules: a blocking socket and the codec.
struct RawDialler {
  RawDialler(World& owner, Node& to) : world(owner), acceptor(to), socket(to.port) {
    hello = {.version_min = 1,
             .version_max = 1,
             .from = NodeId(1),
             .to = to.id(),
             .group = to.options.group,
             .cluster_id = to.options.cluster_id,
             .nonce = make_nonce(as_bytes("raw"), {})};
    hello.nonce[0] = static_cast<std::byte>(++world.raw_dialled);
  }
  bool write(ByteView bytes) { return socket.write(std::string(as_text(bytes))); }
  bool say_hello() {
    std::array<std::byte, kHelloBytes> bytes;
    encode(hello, bytes);
    return write(bytes);
  }
  // What the other side says within a second, at least `bytes`.
  std::string hear(std::size_t bytes) {
    std::string text;
    (void)world.run_until([&] { return (text += socket.read_available()).size() >= bytes; }, kSecond);
    return text;
  }
  std::optional<Challenge> hear_challenge() {
    const std::string text = hear(kChallengeBytes);
    if (text.size() != kChallengeBytes) return std::nullopt;
    const ByteView bytes = as_bytes(text);
    return decode_challenge(bytes.first<kChallengeBytes>());
  }
  [[nodiscard]] std::vector<std::byte> confirmation(const Challenge& challenge,
                                                    std::string_view secret = "sesame") const {
    std::array<std::byte, kConfirmBytes> bytes;
    encode(Confirm{.proof = prove(as_bytes(secret), Role::dialler, hello, challenge)}, bytes);
    return {bytes.begin(), bytes.end()};
  }
  bool handshake() {
    if (!say_hello()) return false;
    const auto challenge = hear_challenge();
    return challenge && challenge->refusal == Refusal::none && write(confirmation(*challenge));
  }
  bool connect() {
    const std::size_t ups = acceptor.handler.count("up 1");
    return handshake() && world.run_until([&] { return acceptor.handler.count("up 1") == ups + 1; });
  }
  [[nodiscard]] Route route() const { return {.from = hello.from, .to = hello.to, .group = hello.group}; }
  bool closed_by_other_side() {
    return world.run_until([&] { return socket.closed_by_other_side(); }, kSecond);
  }

  World& world;
  Node& acceptor;
  io::test::Peer socket;
  Hello hello;
};

inline std::vector<Outgoing> one(std::variant<raft::Message, Service> message,
                                 std::span<const struct iovec> payload = {}) {
  return {Outgoing{.message = std::move(message), .payload = payload}};
}

inline struct iovec piece_of(std::string& text) {
  return {text.data(), text.size()};
}

}  // namespace esc::peer::test
