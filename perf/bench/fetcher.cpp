#include "fetcher.h"

#include <sys/epoll.h>
#include <unistd.h>

#include <algorithm>

#include "clocks.h"
#include "esc/base/assert.h"
#include "esc/wire/api/fetch.h"

namespace esc::bench {

namespace {

constexpr std::int16_t kFetchVersion = 11;
constexpr Nanos kConnectTimeout = 5 * kSecond;
// A reader that knows its end and gets nothing for so long has a server that serves nothing.
constexpr Nanos kStallTimeout = 30 * kSecond;
constexpr Nanos kRefreshPause = 20 * kMillisecond;
constexpr std::size_t kArenaBytes = 16 * kMiB;
constexpr std::size_t kRequestBytesPerPartition = 64;

}  // namespace

Fetcher::Fetcher(Plan plan, BatchSink& sink)
    : plan_(std::move(plan)),
      sink_(sink),
      positions_(plan_.from),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)),
      memory_(kArenaBytes),
      arena_(memory_) {
  ESC_ASSERT(epoll_ >= 0);
  ESC_ASSERT(plan_.from.size() == plan_.map.leaders.size());
}

Fetcher::~Fetcher() {
  ::close(epoll_);
}

bool Fetcher::done(std::uint32_t partition) const {
  return !plan_.to.empty() && positions_[partition] >= plan_.to[partition];
}

bool Fetcher::finished() const {
  if (stop_requested_.load(std::memory_order_relaxed)) return true;
  if (plan_.to.empty()) return false;
  for (std::uint32_t i = 0; i < positions_.size(); ++i) {
    if (!done(i)) return false;
  }
  return true;
}

// Partitions are dealt out to `connections` readers; each reader has one channel per broker it needs.
Status Fetcher::prepare() {
  channels_.clear();
  const std::uint32_t readers = std::max(plan_.connections, 1u);
  for (std::uint32_t reader = 0; reader < readers; ++reader) {
    for (const ClusterMap::Broker& broker : plan_.map.brokers) {
      auto channel = std::make_unique<Channel>();
      channel->broker = broker.id;
      for (std::uint32_t p = reader; p < plan_.map.leaders.size(); p += readers) {
        if (plan_.map.leaders[p] == broker.id) channel->partitions.push_back(p);
      }
      if (channel->partitions.empty()) continue;
      auto connection = Connection::open(broker.address, kConnectTimeout);
      if (!connection) return std::unexpected(connection.error());
      channel->connection = std::move(*connection);
      channel->request.resize(1024 + channel->partitions.size() * kRequestBytesPerPartition);
      epoll_event event{.events = EPOLLIN, .data = {.ptr = channel.get()}};
      ESC_ASSERT(::epoll_ctl(epoll_, EPOLL_CTL_ADD, channel->connection->fd(), &event) == 0);
      channels_.push_back(std::move(channel));
    }
  }
  return {};
}

Status Fetcher::ask(Channel& channel) {
  const Options& options = *plan_.options;
  std::vector<wire::FetchRequest::Partition> partitions;
  partitions.reserve(channel.partitions.size());
  for (std::size_t i = 0; i < channel.partitions.size(); ++i) {
    const std::uint32_t index = channel.partitions[(channel.rotation + i) % channel.partitions.size()];
    if (done(index)) continue;
    partitions.push_back({.partition = static_cast<std::int32_t>(index),
                          .fetch_offset = positions_[index],
                          .partition_max_bytes = static_cast<std::int32_t>(options.fetch_partition_bytes)});
  }
  if (partitions.empty()) return {};
  const wire::FetchRequest::Topic topics[] = {{.topic = options.topic, .partitions = partitions}};
  wire::FetchRequest request;
  request.max_wait_ms = static_cast<std::int32_t>(options.fetch_wait_ms);
  request.min_bytes = static_cast<std::int32_t>(options.fetch_min_bytes);
  request.max_bytes = static_cast<std::int32_t>(options.fetch_max_bytes);
  request.topics = topics;
  wire::Writer writer(channel.request);
  wire::encode_request(writer, request, kFetchVersion, ++channel.correlation, kClientId);
  if (writer.overflowed()) return fail(Errc::too_large, "fetch request does not fit");
  channel.connection->queue(writer.written());
  if (!channel.connection->flush()) return fail(Errc::closed, "the server closed a consumer's connection");
  return {};
}

void Fetcher::deliver(std::uint32_t partition, ByteView records, Nanos received) {
  wire::BatchIterator batches(records);
  while (const auto batch = batches.next()) {
    if (batch->next_offset() <= positions_[partition]) continue;  // older than what was asked for
    sink_.on_batch(partition, *batch, received);
    positions_[partition] = batch->next_offset();
    last_progress_ = received;
  }
}

Status Fetcher::take(Channel& channel, ByteView frame) {
  const Nanos received = monotonic_nanos();
  const auto response = wire::parse_response(frame, wire::ApiKey::fetch, kFetchVersion);
  if (!response || response->correlation_id != channel.correlation) {
    return fail(Errc::corruption, "the server answered a fetch that was not asked");
  }
  arena_.reset();
  const auto body = wire::decode<wire::FetchResponse>(response->body, kFetchVersion, arena_);
  if (!body) return fail(Errc::corruption, std::string("malformed fetch answer: ") + body.error().reason);
  if (body->error_code != wire::ErrorCode::none) {
    return fail(Errc::invalid_argument, "fetch: " + std::string(wire::to_string(body->error_code)));
  }
  ++fetches_;
  for (const auto& topic : body->responses) {
    for (const auto& partition : topic.partitions) {
      const auto index = static_cast<std::uint32_t>(partition.partition_index);
      if (index >= positions_.size()) return fail(Errc::corruption, "fetch answer for an unknown partition");
      switch (partition.error_code) {
        case wire::ErrorCode::none: deliver(index, partition.records.bytes, received); break;
        case wire::ErrorCode::not_leader_or_follower:
        case wire::ErrorCode::leader_not_available:
        case wire::ErrorCode::fenced_leader_epoch:
        case wire::ErrorCode::unknown_leader_epoch: needs_refresh_ = true; break;
        default:
          return fail(Errc::invalid_argument, "fetch from partition " + std::to_string(index) +
                                                  " at offset " + std::to_string(positions_[index]) + ": " +
                                                  std::string(wire::to_string(partition.error_code)));
      }
    }
  }
  channel.rotation = (channel.rotation + 1) % channel.partitions.size();
  return {};
}

// A partition moved: forget all channels and start again where we are.
Status Fetcher::refresh() {
  needs_refresh_ = false;
  sleep_until(monotonic_nanos() + kRefreshPause);
  for (const ClusterMap::Broker& broker : std::vector(plan_.map.brokers)) {
    auto client = ClusterClient::open(broker.address);
    if (!client) continue;
    auto map = (*client)->wait_for_leaders(plan_.options->topic, 10 * kSecond);
    if (!map || map->leaders.size() != plan_.map.leaders.size()) continue;
    plan_.map = std::move(*map);
    if (const Status status = prepare(); !status) return status;
    for (const auto& channel : channels_) {
      if (const Status status = ask(*channel); !status) return status;
    }
    return {};
  }
  return fail(Errc::closed, "no broker knows who leads the partitions");
}

Status Fetcher::stalled() const {
  for (std::uint32_t i = 0; i < positions_.size(); ++i) {
    if (done(i)) continue;
    return fail(Errc::timeout,
                "partition " + std::to_string(i) + " ends at offset " + std::to_string(plan_.to[i]) +
                    ", but the server serves nothing from offset " + std::to_string(positions_[i]));
  }
  return {};
}

Status Fetcher::run() {
  for (const auto& channel : channels_) {
    if (const Status status = ask(*channel); !status) return status;
  }
  last_progress_ = monotonic_nanos();
  constexpr int kEventsPerWait = 32;
  epoll_event events[kEventsPerWait];
  while (!finished()) {
    if (needs_refresh_) {
      if (const Status status = refresh(); !status) return status;
    }
    if (!plan_.to.empty() && monotonic_nanos() - last_progress_ > kStallTimeout) return stalled();
    const int ready = ::epoll_wait(epoll_, events, kEventsPerWait, 20);
    for (int i = 0; i < ready; ++i) {
      Channel& channel = *static_cast<Channel*>(events[i].data.ptr);
      const bool alive = channel.connection->receive();
      if (const auto frame = channel.connection->next_frame()) {
        if (const Status status = take(channel, *frame); !status) return status;
        if (needs_refresh_) break;  // the channels are about to be replaced
        if (const Status status = ask(channel); !status) return status;
      }
      if (!alive || channel.connection->broken()) {
        return fail(Errc::closed, "the server closed a consumer's connection");
      }
    }
  }
  return {};
}

}  // namespace esc::bench
