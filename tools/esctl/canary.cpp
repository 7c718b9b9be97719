#include "canary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <thread>

#include "esc/wire/record_batch.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kRetryPause = std::chrono::milliseconds(10);
// Longer than a round trip and a flush, shorter than it takes to be annoyed.
constexpr auto kAttempt = std::chrono::milliseconds(1000);

class Sender {
 public:
  Sender(Bootstrap bootstrap, Deadline deadline) : bootstrap_(std::move(bootstrap)), deadline_(deadline) {
    wire::BatchBuilder builder(buffer_);
    static constexpr std::string_view kText = "canary";
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    if (builder.append(std::chrono::duration_cast<std::chrono::milliseconds>(now).count(), std::nullopt,
                       std::as_bytes(std::span(kText))))
      batch_ = builder.finish();
  }

  // One round over what has not committed yet.
  void send(CanaryResult& result) {
    const auto leaders = find_leaders(bootstrap_, kCanaryTopic, attempt_end());
    for (std::size_t i = 0; i < result.partitions.size(); ++i) {
      auto& partition = result.partitions[i];
      if (partition.committed) continue;
      if (!leaders) {
        partition.trouble = leaders.error().message;
      } else if (i >= leaders->size() || (*leaders)[i].node < 0) {
        partition.trouble = "no leader";
      } else {
        send_one(static_cast<std::int32_t>(i), (*leaders)[i], partition);
      }
    }
  }

 private:
  [[nodiscard]] Deadline attempt_end() const { return std::min(deadline_, Clock::now() + kAttempt); }

  void send_one(std::int32_t index, const PartitionLeader& leader, CanaryResult::Partition& partition) {
    auto found = connections_.find(leader.node);
    if (found == connections_.end()) {
      auto client = Client::connect(leader.address, attempt_end());
      if (!client) {
        partition.trouble = client.error().message;
        return;
      }
      found = connections_.emplace(leader.node, std::move(*client)).first;
    }
    found->second.set_deadline(attempt_end());
    const auto began = Clock::now();
    const auto produced = produce(found->second, {.topic = kCanaryTopic, .partition = index}, batch_);
    partition.milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - began).count();
    partition.leader = leader.node;
    partition.committed = produced && produced->error == wire::ErrorCode::none;
    if (!produced) {
      partition.trouble = produced.error().message;
      connections_.erase(found);
    } else if (!partition.committed) {
      partition.trouble = fmt::format("node {}: {}", leader.node, wire::to_string(produced->error));
    }
  }

  Bootstrap bootstrap_;
  Deadline deadline_;
  std::array<std::byte, 256> buffer_{};
  ByteView batch_;
  std::map<std::int32_t, Client> connections_;
};

}  // namespace

bool CanaryResult::all() const {
  return committed() == partitions.size();
}

std::size_t CanaryResult::committed() const {
  return static_cast<std::size_t>(
      std::count_if(partitions.begin(), partitions.end(), [](const Partition& p) { return p.committed; }));
}

std::string CanaryResult::first_trouble() const {
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    if (!partitions[i].committed) return fmt::format("partition {}: {}", i, partitions[i].trouble);
  }
  return {};
}

Result<CanaryResult> commit_canary(const Bootstrap& bootstrap, std::uint32_t groups, Deadline deadline) {
  const TopicWish wish{.name = kCanaryTopic,
                       .partitions = static_cast<std::int32_t>(groups),
                       .configs = {{"retention.ms", "3600000"}, {"segment.bytes", "1048576"}}};
  CanaryResult result;
  result.partitions.resize(groups);
  auto leaders = find_leaders(bootstrap, kCanaryTopic, deadline);
  if (!leaders) leaders = ensure_topic(bootstrap, wish, deadline);
  if (!leaders) return std::unexpected(leaders.error());
  result.partitions.resize(leaders->size());
  Sender sender(bootstrap, deadline);
  while (true) {
    sender.send(result);
    if (result.all() || Clock::now() + kRetryPause >= deadline) return result;
    std::this_thread::sleep_for(kRetryPause);
  }
}

}  // namespace esc::esctl
