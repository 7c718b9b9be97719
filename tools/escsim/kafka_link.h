// One connection of a simulated client to one broker: requests out, answers in order, a time limit on each.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/arena.h"
#include "esc/io/net.h"
#include "esc/sim/loop.h"
#include "esc/wire/codec.h"
#include "esc/wire/message.h"

namespace esc::escsim {

class KafkaLink final : public io::ConnectionHandler {
 public:
  // The answer's body without header, or null when the connection ended or took too long first.
  using Answer = std::function<void(const ByteView* body)>;

  KafkaLink(sim::SimLoop& loop, std::string host, std::uint16_t port);
  ~KafkaLink() override;
  KafkaLink(const KafkaLink&) = delete;
  KafkaLink& operator=(const KafkaLink&) = delete;

  template <class Request>
  void call(const Request& request, std::int16_t version, Nanos timeout, Answer answer) {
    wire::Writer writer(scratch_);
    wire::encode_request(writer, request, version, ++correlation_, "escsim");
    ESC_ASSERT(!writer.overflowed());
    const ByteView bytes = ByteView(scratch_).first(writer.position());
    enqueue({bytes.begin(), bytes.end()}, Request::kApi, version, timeout, std::move(answer));
  }
  // Closed, or never opened: throw it away.
  [[nodiscard]] bool dead() const { return dead_; }
  [[nodiscard]] bool destructible() const { return closed_; }
  [[nodiscard]] std::size_t waiting() const { return calls_.size(); }
  void close();
  // Fails what has waited too long, and with it the connection.
  void check_timeouts();
  [[nodiscard]] Nanos next_deadline() const { return calls_.empty() ? INT64_MAX : calls_.front().deadline; }

  // io::ConnectionHandler
  void on_received(ByteView bytes, io::ReceiveLoan loan) override;
  void on_sent() override;
  void on_closed(Errc reason) override;
  void on_connected() override;

 private:
  struct Call {
    wire::ApiKey api{};
    std::int16_t version = 0;
    std::int32_t correlation = 0;
    Nanos deadline = 0;
    Answer answer;
  };
  void enqueue(std::vector<std::byte> bytes, wire::ApiKey api, std::int16_t version, Nanos timeout,
               Answer answer);
  void send_next();
  void fail_all();

  sim::SimLoop& loop_;
  io::ConnectionId id_;
  bool connected_ = false;
  bool sending_ = false;
  bool dead_ = false;
  bool closed_ = false;
  std::int32_t correlation_ = 0;
  std::deque<std::vector<std::byte>> out_;
  std::deque<Call> calls_;
  std::vector<std::byte> in_;
  std::vector<std::byte> scratch_ = std::vector<std::byte>(64 * 1024);  // a request while it is encoded
};

// Decodes an answer; its memory lives as long as this.
template <class Message>
class Decoded {
 public:
  Decoded(ByteView body, std::int16_t version)
      : bytes_(body.size() * 16 + 4096),
        block_(std::make_unique_for_overwrite<std::byte[]>(bytes_)),
        arena_({block_.get(), bytes_}) {
    auto message = wire::decode<Message>(body, version, arena_);
    if (message) message_ = *message;
  }
  [[nodiscard]] explicit operator bool() const { return message_.has_value(); }
  [[nodiscard]] const Message* operator->() const { return &*message_; }

 private:
  std::size_t bytes_;
  std::unique_ptr<std::byte[]> block_;  // not cleared: most of it is never touched
  Arena arena_;
  std::optional<Message> message_;
};

}  // namespace esc::escsim
