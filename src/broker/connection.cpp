#include "connection.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace esc::broker {
namespace {

// First pool buffer of a request that spans receive buffers; it grows fourfold as bytes arrive.
constexpr std::size_t kPartialBytesFirst = 64 * 1024;
constexpr std::size_t kPartialGrowth = 4;
constexpr std::size_t kReservedPart = 16;  // of the pool, for requests that are here in full

}  // namespace

void Connection::open(io::ConnectionId id, Nanos now) {
  id_ = id;
  closing_ = receive_paused_ = sending_ = false;
  prefix_bytes_ = frame_bytes_ = partial_used_ = request_count_ = answers_in_send_ = 0;
  request_bytes_ = 0;
  sending_bytes_ = 0;
  search_since = 0;
  last_progress_ = now;
}

void Connection::on_received(ByteView bytes, io::ReceiveLoan loan) {
  last_progress_ = broker_.env().clock.now();
  if (closing_) {
    broker_.env().net.release(loan);
    return;
  }
  broker_.retain_loan(loan);
  if (!stalled_.empty()) {
    stall(bytes, loan);
    return;
  }
  const ByteView rest = consume(bytes, loan);
  if (rest.empty() || closing_) {
    broker_.release_loan(loan);
  } else {
    stall(rest, loan);
  }
}

void Connection::stall(ByteView rest, io::ReceiveLoan loan) {
  if (!receive_paused_) {
    receive_paused_ = true;
    broker_.env().net.pause_receive(id_);
  }
  if (stalled_.full()) {  // the kernel delivered far more after the pause than it may: give up on this client
    broker_.release_loan(loan);
    close();
    return;
  }
  stalled_.push_back({rest, loan});
}

bool Connection::may_start_request() const {
  return request_count_ < broker_.options().connection_requests_max &&
         request_bytes_ < broker_.options().connection_bytes_max;
}

ByteView Connection::consume(ByteView bytes, io::ReceiveLoan loan) {
  ESC_ASSERT(!in_consume_);
  in_consume_ = true;
  while (!bytes.empty() && !closing_) {
    if (frame_bytes_ == 0 && !begin_frame(bytes)) break;
    if (frame_bytes_ == 0) continue;  // closing, or the prefix is not complete
    if (partial_.empty()) {
      if (!may_start_request()) break;
      if (bytes.size() >= frame_bytes_) {
        const ByteView frame = bytes.first(frame_bytes_);
        bytes = bytes.subspan(frame_bytes_);
        start_request(frame, loan, {});
        continue;
      }
    }
    if (partial_used_ == partial_.size() && !grow_partial()) {
      broker_.wait_for_memory(*this);
      break;
    }
    const std::size_t step =
        std::min({bytes.size(), partial_.size() - partial_used_, std::size_t{frame_bytes_} - partial_used_});
    std::memcpy(partial_.data() + partial_used_, bytes.data(), step);
    partial_used_ += static_cast<std::uint32_t>(step);
    bytes = bytes.subspan(step);
    if (partial_used_ == frame_bytes_) {
      const ByteSpan assembled = partial_;
      partial_ = {};
      partial_used_ = 0;
      start_request(ByteView(assembled).first(frame_bytes_), {}, assembled);
    }
  }
  in_consume_ = false;
  return bytes;
}

// Reads the size prefix. False: no request can be started now.
bool Connection::begin_frame(ByteView& bytes) {
  const std::size_t step = std::min(bytes.size(), prefix_.size() - prefix_bytes_);
  std::memcpy(prefix_.data() + prefix_bytes_, bytes.data(), step);
  prefix_bytes_ += static_cast<std::uint32_t>(step);
  bytes = bytes.subspan(step);
  if (prefix_bytes_ < prefix_.size()) return true;
  prefix_bytes_ = 0;
  const auto size = wire::frame_size(prefix_, broker_.options().request_bytes_max);
  if (!size) {
    broker_.metrics().protocol_errors.add();
    const auto announced = load_be<std::int32_t>(prefix_.data());
    broker_.log().log_limited(broker_.client_limiter(), obs::Level::warn, "client_closed",
                              {{"reason", size.error().reason},
                               {"client", address()},
                               {"announced_bytes", announced},
                               {"request_bytes_max", broker_.options().request_bytes_max},
                               {"protocol_errors_total", broker_.metrics().protocol_errors.value()}});
    close();
    return true;
  }
  frame_bytes_ = *size;
  return true;
}

bool Connection::grow_partial() {
  const std::size_t wanted = std::min<std::size_t>(
      frame_bytes_, partial_.empty() ? kPartialBytesFirst : partial_.size() * kPartialGrowth);
  // Requests that have to be assembled, and may never be, leave something to those that are here: these need
  // little, and end.
  BufferPool& pool = broker_.request_pool();
  const std::size_t assembly_max = pool.capacity() - pool.capacity() / kReservedPart;
  if (pool.used() + std::bit_ceil(wanted) > assembly_max) return false;
  const ByteSpan larger = pool.allocate(wanted);
  if (larger.empty()) return false;
  if (!partial_.empty()) {
    std::memcpy(larger.data(), partial_.data(), partial_used_);
    pool.free(partial_);
  }
  partial_ = larger;
  return true;
}

void Connection::drop_partial() {
  if (!partial_.empty()) broker_.request_pool().free(partial_);
  partial_ = {};
  partial_used_ = frame_bytes_ = 0;
}

void Connection::start_request(ByteView frame, io::ReceiveLoan loan, ByteSpan assembled) {
  Request* request = broker_.new_request();
  if (request == nullptr) {
    if (!assembled.empty()) broker_.request_pool().free(assembled);
    close();
    return;
  }
  frame_bytes_ = 0;
  request->connection = this;
  request->frame = frame;
  request->frame_bytes = static_cast<std::uint32_t>(frame.size());
  request->assembled = assembled;
  if (assembled.empty()) {
    request->loan = loan;
    broker_.retain_loan(loan);
  }
  requests_.push_back(*request);
  ++request_count_;
  request_bytes_ += frame.size();
  broker_.dispatch(*request);
}

void Connection::retry() {
  if (closing_ || in_consume_ || stalled_.empty() || memory_waiter_.linked()) return;
  while (!stalled_.empty() && !closing_) {
    Stalled& first = stalled_[0];
    const ByteView rest = consume(first.rest, first.loan);
    if (closing_) return;  // close() has released the stalled buffers
    if (!rest.empty()) {
      first.rest = rest;
      return;
    }
    broker_.release_loan(first.loan);
    stalled_.erase_at(0);
  }
  if (receive_paused_ && !closing_) {
    receive_paused_ = false;
    broker_.env().net.resume_receive(id_);
  }
}

// Sends every answer at the head of the line that is final, as one gathered write.
void Connection::send_answers() {
  if (sending_ || closing_) return;
  FixedVector<struct iovec, kPiecesPerSend> pieces;
  bool stop = false;
  std::span<const struct iovec> alone;  // an answer of very many pieces travels by itself
  answers_in_send_ = 0;
  sending_bytes_ = 0;
  requests_.for_each([&](Request& request) {
    stop = stop || !request.complete || answers_in_send_ == kAnswersPerSend ||
           (request.response.size() > pieces.room() && !pieces.empty());
    if (stop) return;
    sending_bytes_ += request.response_bytes;
    ++answers_in_send_;
    stop = request.close_after;
    if (request.response.size() > pieces.room()) {
      alone = request.response;
      stop = true;
    } else {
      for (const struct iovec& piece : request.response) pieces.push_back(piece);
    }
  });
  if (answers_in_send_ == 0) return;
  if (alone.empty()) alone = {pieces.begin(), pieces.size()};
  if (alone.empty()) {  // nothing to say (acks=0)
    on_sent();
    return;
  }
  sending_ = true;
  broker_.env().net.send(id_, alone);
}

void Connection::on_sent() {
  sending_ = false;
  last_progress_ = broker_.env().clock.now();
  bool close_now = false;
  for (; answers_in_send_ > 0; --answers_in_send_) {
    Request& request = requests_.pop_front();
    --request_count_;
    request_bytes_ -= request.frame_bytes;
    close_now = close_now || request.close_after;
    broker_.release(request);
  }
  if (close_now) {
    close();
    return;
  }
  send_answers();
  start_first();
  retry();
}

// The oldest unanswered request may have waited for that.
void Connection::start_first() {
  if (closing_ || requests_.empty()) return;
  Request& request = requests_.front();
  if (request.when_first == nullptr) return;
  const auto start = request.when_first;
  request.when_first = nullptr;
  start(broker_, request);
}

// Parked fetches need not wait any longer. What an end sets off may release answered requests, so the search
// begins anew after each.
void Connection::hurry() {
  while (!closing_) {
    io::Timer* parked = nullptr;
    requests_.for_each([&](Request& request) {
      if (parked == nullptr && !request.complete && request.timer.armed()) parked = &request.timer;
    });
    if (parked == nullptr) return;
    broker_.env().clock.disarm(*parked);
    parked->fire(*parked);
  }
}

// Gives back everything that waits for more bytes.
void Connection::abandon_input() {
  if (closing_) return;
  closing_ = true;
  if (memory_waiter_.linked()) memory_waiter_.unlink();
  drop_partial();
  for (const Stalled& stalled : stalled_) broker_.release_loan(stalled.loan);
  stalled_.clear();
}

void Connection::close() {
  if (closing_) return;
  abandon_input();
  broker_.env().net.close(id_);
}

void Connection::on_closed(Errc) {
  abandon_input();
  // Requests still being worked on finish without a connection.
  while (!requests_.empty()) {
    Request& request = requests_.pop_front();
    request.connection = nullptr;
    if (request.complete || request.when_first != nullptr) {
      broker_.release(request);
    } else if (request.timer.armed()) {  // a parked fetch need not wait for nobody
      broker_.env().clock.disarm(request.timer);
      request.timer.fire(request.timer);
    }
  }
  broker_.forget(*this);
}

}  // namespace esc::broker
