#include "drill_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "esc/base/assert.h"
#include "esc/wire/record_batch.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kRefresh = std::chrono::milliseconds(5);
// Only a node that hangs is waited for so long; a dead one refuses at once.
constexpr auto kPatience = std::chrono::milliseconds(1000);

}  // namespace

std::string drill_value(std::int32_t partition, std::uint64_t sequence) {
  return fmt::format("{} {} drill event {:-<64}", partition, sequence, "");
}

DrillWriter::DrillWriter(Bootstrap bootstrap, std::string topic, std::int32_t partition)
    : bootstrap_(std::move(bootstrap)), topic_(std::move(topic)), partition_(partition) {
  thread_ = std::thread([this] { run(); });
}

void DrillWriter::stop() {
  stopping_.store(true, std::memory_order_relaxed);
  if (thread_.joinable()) thread_.join();
}

void DrillWriter::run() {
  auto due = Clock::now();
  while (!stopping_.load(std::memory_order_relaxed)) {
    if (!client_ && !connect()) {
      std::this_thread::sleep_for(kRefresh);
      continue;
    }
    send_one();
    due = std::max(due + kInterval, Clock::now() - kInterval);  // a pause is not caught up in a burst
    std::this_thread::sleep_until(due);
  }
}

bool DrillWriter::connect() {
  const auto deadline = Clock::now() + kPatience;
  const auto leaders = find_leaders(bootstrap_, topic_, deadline);
  if (!leaders) {
    remember_trouble(leaders.error().message);
    return false;
  }
  const auto index = static_cast<std::size_t>(partition_);
  if (index >= leaders->size() || (*leaders)[index].node < 0) {
    remember_trouble("no leader is known");
    return false;
  }
  auto client = Client::connect((*leaders)[index].address, deadline);
  if (!client) {
    remember_trouble(client.error().message);
    return false;
  }
  client_.emplace(std::move(*client));
  connected_to_ = (*leaders)[index].node;
  return true;
}

// The same events go out again until they are acknowledged: sequences stay in order, and what was stored
// without an answer is stored twice.
void DrillWriter::send_one() {
  std::array<std::byte, 1024> buffer{};
  wire::BatchBuilder builder(buffer);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  for (std::uint32_t i = 0; i < kEventsPerBatch; ++i) {
    const std::string value = drill_value(partition_, sequence_ + i);
    const bool fits = builder.append(now_ms, std::nullopt, std::as_bytes(std::span(value)));
    ESC_ASSERT(fits);
  }
  const auto sent = Clock::now();
  client_->set_deadline(sent + kPatience);
  const auto produced = produce(*client_, {.topic = topic_, .partition = partition_}, builder.finish());
  if (!produced || produced->error != wire::ErrorCode::none) {
    remember_trouble(produced ? std::string(wire::to_string(produced->error)) : produced.error().message);
    client_.reset();
    std::this_thread::sleep_for(kRefresh);
    return;
  }
  leader_.store(connected_to_, std::memory_order_relaxed);
  const std::lock_guard lock(mutex_);
  acks_.push_back({Clock::now(), produced->base_offset, sequence_});
  sent_.push_back(sent);
  sequence_ += kEventsPerBatch;
}

std::size_t DrillWriter::ack_count() const {
  const std::lock_guard lock(mutex_);
  return acks_.size();
}

bool DrillWriter::acknowledged_after(Clock::time_point since, Deadline deadline) const {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      if (!sent_.empty() && sent_.back() > since) return true;
    }
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

double DrillWriter::longest_gap_ms(Clock::time_point since) const {
  const std::lock_guard lock(mutex_);
  Clock::duration longest{0};
  for (std::size_t i = acks_.size(); i-- > 1 && acks_[i].at >= since;)
    longest = std::max(longest, acks_[i].at - acks_[i - 1].at);
  return std::chrono::duration<double, std::milli>(longest).count();
}

std::string DrillWriter::last_trouble() const {
  const std::lock_guard lock(mutex_);
  return trouble_;
}

void DrillWriter::remember_trouble(std::string text) {
  const std::lock_guard lock(mutex_);
  trouble_ = std::move(text);
}

}  // namespace esc::esctl
