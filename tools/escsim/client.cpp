#include "client.h"

#include <fmt/format.h>

#include <algorithm>

#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/metadata.h"

namespace esc::escsim {
namespace {

constexpr std::int16_t kMetadataVersion = 9;
constexpr std::int16_t kCreateTopicsVersion = 5;
constexpr Nanos kRetry = 50 * kMillisecond;
constexpr Nanos kIdle = 100 * kMillisecond;

}  // namespace

Client::Client(World& world, std::uint32_t host_number, std::string name, Prng prng)
    : world_(world), name_(std::move(name)), prng_(prng), files_(prng.fork(1)) {
  sim::SimLoopOptions options = world.scenario.loop;
  options.host = host_number;
  options.gap_one_in = 0;
  loop_ =
      std::make_unique<sim::SimLoop>(world.clock, world.network, files_, host_clock_, prng.fork(2), options);
  loop_->set_run([this] { run(); });
}

Client::~Client() {
  loop_->crash(sim::CrashKind::process);
}

void Client::run() {
  const std::uint32_t delivered = loop_->deliver();
  world_.trace.fold(1000, delivered, prng_.fork(3).next());
  for (auto link = links_.begin(); link != links_.end();) {
    link->second->check_timeouts();
    if (link->second->dead()) {
      closing_.push_back(std::move(link->second));
      link = links_.erase(link);
      forget_leaders();
    } else {
      ++link;
    }
  }
  std::erase_if(closing_, [](const auto& link) { return link->destructible(); });
  Nanos next = work(loop_->now());
  for (const auto& [node, link] : links_) next = std::min(next, link->next_deadline());
  loop_->poll(std::min(next, loop_->now() + kIdle));
}

KafkaLink* Client::link_to(std::int32_t node) {
  auto& link = links_[node];
  if (link == nullptr)
    link =
        std::make_unique<KafkaLink>(*loop_, sim::address_of(static_cast<sim::HostNumber>(node)), kKafkaPort);
  return link.get();
}

KafkaLink* Client::any_link() {
  return link_to(static_cast<std::int32_t>(prng_.between(1, world_.scenario.nodes)));
}

KafkaLink* Client::leader_link(std::int32_t partition) {
  const auto found = leaders_.find(partition);
  if (found != leaders_.end()) return link_to(found->second);
  ask_metadata();
  return nullptr;
}

bool Client::led_together(std::int32_t partition, std::int32_t other) const {
  const auto one = leaders_.find(partition);
  const auto two = leaders_.find(other);
  return one != leaders_.end() && two != leaders_.end() && one->second == two->second;
}

std::int32_t Client::epoch_of(std::int32_t partition) const {
  const auto found = epochs_.find(partition);
  return found == epochs_.end() || !world_.scenario.wide_requests ? -1 : found->second;
}

void Client::call_metadata(std::int16_t version, KafkaLink::Answer answer) {
  const wire::MetadataRequest::Topic topics[] = {{.topic_id = {}, .name = topic_}};
  wire::MetadataRequest request;
  request.topics = wire::Array<wire::MetadataRequest::Topic>(topics);
  request.allow_auto_topic_creation = false;
  any_link()->call(request, version, kCallTimeout, std::move(answer));
}

void Client::ask_metadata() {
  if (asking_ || loop_->now() < ask_at_) return;
  asking_ = true;
  call_metadata(kMetadataVersion, [this](const ByteView* body) {
    asking_ = false;
    ask_at_ = loop_->now() + prng_.between(1, 20) * kMillisecond;
    if (body == nullptr) return;
    const Decoded<wire::MetadataResponse> answer(*body, kMetadataVersion);
    if (!answer || answer->topics.size() != 1) return world_.model.fail(name_ + ": malformed metadata");
    for (const auto& partition : answer->topics[0].partitions) {
      // A node that has not heard of the newest leader yet is not believed. A topic that is created again
      // begins with any epoch.
      auto& newest = epochs_.try_emplace(partition.partition_index, -1).first->second;
      const bool old = partition.leader_epoch < newest && topic_ == kTopic;
      if (old && world_.scenario.wide_requests) continue;
      newest = partition.leader_epoch;
      if (partition.leader_id > 0) leaders_[partition.partition_index] = partition.leader_id;
    }
  });
}

std::string Client::state() const {
  std::string text = fmt::format("{}{}:", name_, asking_ ? " (asks for metadata)" : "");
  for (const auto& [node, link] : links_)
    text +=
        fmt::format(" link to {}: {}, {} unanswered;", node, link->dead() ? "dead" : "open", link->waiting());
  for (const auto& [partition, node] : leaders_) text += fmt::format(" {}@{}", partition, node);
  return text;
}

// --- the administrator ---

Nanos Admin::work(Nanos now) {
  if (created_ || asking_) return INT64_MAX;
  if (now < next_) return next_;
  asking_ = true;
  wire::CreateTopicsRequest::Topic topics[] = {{}};
  topics[0].name = kTopic;
  topics[0].num_partitions = world_.scenario.partitions;
  topics[0].replication_factor = static_cast<std::int16_t>(std::min(world_.scenario.nodes, 3u));
  // Longer than any clock is wrong by: an event that stands twice is a broken promise.
  const wire::CreateTopicsRequest::Config configs[] = {{.name = "dedup.window.ms", .value = "86400000"}};
  if (world_.scenario.event_producers > 0) topics[0].configs = configs;
  wire::CreateTopicsRequest request;
  request.topics = topics;
  request.timeout_ms = 1000;
  any_link()->call(request, kCreateTopicsVersion, kCallTimeout, [this](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kRetry;
    if (body == nullptr) return;
    const Decoded<wire::CreateTopicsResponse> answer(*body, kCreateTopicsVersion);
    if (!answer || answer->topics.size() != 1)
      return world_.model.fail(name_ + ": malformed CreateTopics answer");
    const wire::ErrorCode code = answer->topics[0].error_code;
    world_.trace.event(name_, "topic {}: {}", kTopic, wire::to_string(code));
    created_ = code == wire::ErrorCode::none || code == wire::ErrorCode::topic_already_exists;
  });
  return INT64_MAX;
}

}  // namespace esc::escsim
