#include "kafka_link.h"

#include <utility>

namespace esc::escsim {

KafkaLink::KafkaLink(sim::SimLoop& loop, std::string host, std::uint16_t port) : loop_(loop) {
  const auto id = loop.connect(host, port, *this);
  if (id) {
    id_ = *id;
  } else {
    dead_ = closed_ = true;
  }
}

KafkaLink::~KafkaLink() = default;

void KafkaLink::enqueue(std::vector<std::byte> bytes, wire::ApiKey api, std::int16_t version, Nanos timeout,
                        Answer answer) {
  if (dead_) return answer(nullptr);
  calls_.push_back({api, version, correlation_, loop_.now() + timeout, std::move(answer)});
  out_.push_back(std::move(bytes));
  send_next();
}

void KafkaLink::send_next() {
  if (!connected_ || sending_ || dead_ || out_.empty()) return;
  sending_ = true;
  const struct iovec piece{out_.front().data(), out_.front().size()};
  loop_.send(id_, {&piece, 1});
}

void KafkaLink::on_connected() {
  connected_ = true;
  send_next();
}

void KafkaLink::on_sent() {
  sending_ = false;
  out_.pop_front();
  send_next();
}

void KafkaLink::on_received(ByteView bytes, io::ReceiveLoan loan) {
  in_.insert(in_.end(), bytes.begin(), bytes.end());
  loop_.release(loan);
  std::size_t at = 0;
  while (!dead_ && in_.size() - at >= wire::kSizePrefixBytes) {
    const auto size = load_be<std::uint32_t>(in_.data() + at);
    if (in_.size() - at - wire::kSizePrefixBytes < size) break;
    const ByteView frame = ByteView(in_).subspan(at + wire::kSizePrefixBytes, size);
    at += wire::kSizePrefixBytes + size;
    ESC_ASSERT_MSG(!calls_.empty(), "an answer without a request");
    const Call call = std::move(calls_.front());
    calls_.pop_front();
    const auto response = wire::parse_response(frame, call.api, call.version);
    ESC_ASSERT_MSG(response && response->correlation_id == call.correlation, "answers come in order");
    call.answer(&response->body);
  }
  in_.erase(in_.begin(), in_.begin() + static_cast<std::ptrdiff_t>(at));
}

void KafkaLink::fail_all() {
  dead_ = true;
  for (std::deque<Call> calls = std::exchange(calls_, {}); const Call& call : calls) call.answer(nullptr);
}

void KafkaLink::on_closed(Errc) {
  closed_ = true;
  fail_all();
}

void KafkaLink::close() {
  if (!dead_) {
    loop_.close(id_);
    fail_all();
  }
}

void KafkaLink::check_timeouts() {
  if (!dead_ && !calls_.empty() && calls_.front().deadline <= loop_.now()) close();
}

}  // namespace esc::escsim
