#include "producer.h"

#include <algorithm>

#include "esc/base/assert.h"
#include "esc/wire/error_code.h"

namespace esc::bench {

namespace {

// Version 7 is not flexible, so that every field of a request has a fixed place to patch.
constexpr std::int16_t kProduceVersion = 7;
constexpr std::int32_t kProduceTimeoutMs = 30'000;
constexpr std::size_t kCorrelationAt = 8;
constexpr Nanos kConnectTimeout = 5 * kSecond;

void put_text(std::vector<std::byte>& to, std::string_view text) {
  std::byte length[2];
  store_be(length, static_cast<std::int16_t>(text.size()));
  to.insert(to.end(), length, length + 2);
  const ByteView bytes = as_bytes(text);
  to.insert(to.end(), bytes.begin(), bytes.end());
}

template <std::integral T>
void put(std::vector<std::byte>& to, T value) {
  std::byte bytes[sizeof(T)];
  store_be(bytes, value);
  to.insert(to.end(), bytes, bytes + sizeof(T));
}

// size, key, version, correlation, client id, transactional id, acks, timeout, one topic, partition count.
std::vector<std::byte> make_head(const Options& options) {
  std::vector<std::byte> head;
  put(head, std::int32_t{0});
  put(head, static_cast<std::int16_t>(wire::ApiKey::produce));
  put(head, kProduceVersion);
  put(head, std::int32_t{0});
  put_text(head, kClientId);
  put(head, std::int16_t{-1});
  put(head, options.acks);
  put(head, kProduceTimeoutMs);
  put(head, std::int32_t{1});
  put_text(head, options.topic);
  put(head, std::int32_t{0});
  return head;
}

// Reads big-endian fields of an answer; sticky failure on a short one.
class Reader {
 public:
  explicit Reader(ByteView bytes) : rest_(bytes) {}
  template <std::integral T>
  T take() {
    if (rest_.size() < sizeof(T)) {
      failed_ = true;
      return 0;
    }
    const T value = load_be<T>(rest_.data());
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  void skip(std::size_t bytes) {
    if (bytes > rest_.size()) {
      failed_ = true;
    } else {
      rest_ = rest_.subspan(bytes);
    }
  }
  [[nodiscard]] bool failed() const { return failed_; }

 private:
  ByteView rest_;
  bool failed_ = false;
};

bool retriable(wire::ErrorCode code) {
  switch (code) {
    case wire::ErrorCode::unknown_topic_or_partition:
    case wire::ErrorCode::leader_not_available:
    case wire::ErrorCode::not_leader_or_follower:
    case wire::ErrorCode::request_timed_out:
    case wire::ErrorCode::broker_not_available:
    case wire::ErrorCode::not_enough_replicas:
    case wire::ErrorCode::not_enough_replicas_after_append:
    case wire::ErrorCode::kafka_storage_error:
    case wire::ErrorCode::fenced_leader_epoch:
    case wire::ErrorCode::unknown_leader_epoch: return true;
    default: return false;
  }
}

}  // namespace

Producer::Producer(const Context& context, std::uint32_t number)
    : context_(context),
      number_(number),
      head_template_(make_head(*context.options)),
      partitions_(context.map->leaders.size()) {
  // Connections start on different partitions, so that with as many of both each has its own.
  sticky_ = rotation_ = number % static_cast<std::uint32_t>(partitions_.size());
}

Producer::~Producer() = default;

Link* Producer::link_of(std::uint32_t partition) {
  const std::int32_t leader = context_.map->leaders[partition];
  for (const auto& link : links_) {
    if (link->broker == leader && link->connection != nullptr) return link.get();
  }
  return nullptr;
}

bool Producer::has_room(const Link& link) const {
  return link.connection != nullptr && link.in_flight.size() < context_.options->requests_in_flight;
}

Nanos Producer::oldest_open() const {
  // Partitions are listed when their first event comes, so the first open batch is the oldest.
  for (const std::uint32_t index : pending_) {
    if (const Batch* open = partitions_[index].open) return open->intended.front();
  }
  return INT64_MAX;
}

void Producer::list(std::uint32_t partition) {
  if (std::exchange(partitions_[partition].listed, true)) return;
  pending_.push_back(partition);
}

void Producer::close_open(Partition& partition) {
  Batch* batch = std::exchange(partition.open, nullptr);
  open_events_ -= batch->count;
  partition.next_sequence += batch->count;
  context_.factory->finish(*batch);
  partition.closed.push_back(batch);
  ++closed_batches_;
  if (batch->partition == sticky_) sticky_ = (sticky_ + 1) % static_cast<std::uint32_t>(partitions_.size());
}

void Producer::append(std::uint32_t index, Nanos intended, std::uint64_t key) {
  Partition& partition = partitions_[index];
  if (partition.open == nullptr) {
    partition.open = context_.factory->take(index, partition.next_sequence);
    list(index);
  }
  context_.factory->append(*partition.open, number_, intended, key);
  ++open_events_;
  if (context_.factory->full(*partition.open)) close_open(partition);
}

ProduceCall Producer::new_call() {
  if (spare_calls_.empty()) return {.head = head_template_, .batches = {}, .correlation = 0};
  ProduceCall call = std::move(spare_calls_.back());
  spare_calls_.pop_back();
  call.batches.clear();
  return call;
}

void Producer::send(Link& link, ProduceCall call) {
  std::size_t bytes = call.head.size();
  for (const Batch* batch : call.batches) bytes += batch->wire.size();
  call.correlation = ++correlation_;
  store_be(call.head.data(), static_cast<std::int32_t>(bytes - 4));
  store_be(call.head.data() + kCorrelationAt, call.correlation);
  store_be(call.head.data() + call.head.size() - 4, static_cast<std::int32_t>(call.batches.size()));
  link.connection->queue(call.head);
  for (const Batch* batch : call.batches) link.connection->queue(batch->wire);
  batches_in_flight_ += static_cast<std::uint32_t>(call.batches.size());
  link.in_flight.push_back(std::move(call));  // moving a vector keeps its bytes where they are
}

// At most one batch per partition in a request: the protocol allows no more.
void Producer::drain_to(Link& link) {
  ProduceCall call = new_call();
  std::size_t bytes = call.head.size();
  const std::size_t listed = pending_.size();
  for (std::size_t i = 0; i < listed; ++i) {
    const std::uint32_t index = pending_.front();
    pending_.pop_front();
    Partition& partition = partitions_[index];
    const bool ours = context_.map->leaders[index] == link.broker;
    if (ours && partition.closed.empty() && bytes < context_.options->request_bytes_max)
      close_open(partition);
    if (ours && !partition.closed.empty()) {
      Batch* batch = partition.closed.front();
      if (call.batches.empty() || bytes + batch->wire.size() <= context_.options->request_bytes_max) {
        partition.closed.pop_front();
        --closed_batches_;
        bytes += batch->wire.size();
        call.batches.push_back(batch);
      }
    }
    partition.listed = partition.open != nullptr || !partition.closed.empty();
    if (partition.listed) pending_.push_back(index);
  }
  if (call.batches.empty()) {
    spare_calls_.push_back(std::move(call));
    return;
  }
  send(link, std::move(call));
}

void Producer::send_due(Nanos now) {
  const Nanos linger = Nanos{context_.options->linger_us} * kMicrosecond;
  for (const auto& link : links_) {
    while (!pending_.empty() && has_room(*link)) {
      const Nanos oldest = oldest_open();
      const bool due = closed_batches_ > 0 || (oldest != INT64_MAX && now - oldest >= linger);
      if (!due) return;
      const std::uint32_t before = batches_in_flight_;
      drain_to(*link);
      if (batches_in_flight_ == before) break;  // nothing for this broker
    }
  }
}

void Producer::send_now(Nanos now, std::uint32_t batches, std::uint32_t events_per_batch) {
  if (!pending_.empty()) {  // retries go first
    for (const auto& link : links_) {
      if (link->connection != nullptr) drain_to(*link);
    }
    return;
  }
  const auto count = static_cast<std::uint32_t>(partitions_.size());
  Link* link = link_of(rotation_);
  if (link == nullptr) {
    rotation_ = (rotation_ + 1) % count;
    return;
  }
  ProduceCall call = new_call();
  for (std::uint32_t tried = 0; tried < count && call.batches.size() < batches; ++tried) {
    const std::uint32_t index = std::exchange(rotation_, (rotation_ + 1) % count);
    if (context_.map->leaders[index] != link->broker) continue;
    Partition& partition = partitions_[index];
    Batch* batch = context_.factory->take(index, partition.next_sequence);
    partition.next_sequence += events_per_batch;
    for (std::uint32_t i = 0; i < events_per_batch; ++i) {
      context_.factory->append(*batch, number_, now, batch->first_sequence + i);
    }
    context_.factory->finish(*batch);
    call.batches.push_back(batch);
  }
  send(*link, std::move(call));
}

void Producer::acknowledge(Batch& batch, std::int64_t base_offset, Nanos now) {
  ProduceStats& stats = *context_.stats;
  if (batch.intended.front() == batch.intended.back()) {
    stats.latency.record(batch.intended.front(), now - batch.intended.front(), batch.count);
  } else {
    for (const Nanos intended : batch.intended) stats.latency.record(intended, now - intended);
  }
  stats.acked_events_ever += batch.count;
  if (context_.window->measures(now)) {
    stats.acked_events += batch.count;
    ++stats.acked_batches;
  }
  if (context_.ack_log == nullptr) return;
  const AckedRange range{.run_id = context_.run_id,
                         .producer = number_,
                         .partition = batch.partition,
                         .base_offset = base_offset,
                         .first_sequence = batch.first_sequence,
                         .count = batch.count};
  AckedRange& known = partitions_[batch.partition].acked;
  if (known.absorb(range)) return;
  if (known.count > 0) context_.ack_log->write(known);
  known = range;
}

void Producer::write_ack_log() {
  if (context_.ack_log == nullptr) return;
  for (Partition& partition : partitions_) {
    if (partition.acked.count > 0) context_.ack_log->write(partition.acked);
    partition.acked = {};
  }
}

// Into its place by sequence: several batches may come back, in any order.
void Producer::put_back(Batch* batch) {
  Partition& partition = partitions_[batch->partition];
  auto at = partition.closed.begin();
  while (at != partition.closed.end() && (*at)->first_sequence < batch->first_sequence) ++at;
  partition.closed.insert(at, batch);
  ++closed_batches_;
  ++context_.stats->retried_batches;
  list(batch->partition);
}

Producer::Outcome Producer::answer(Link& link, ByteView frame, Nanos now) {
  ProduceStats& stats = *context_.stats;
  Reader reader(frame);
  const auto correlation = reader.take<std::int32_t>();
  if (link.in_flight.empty() || link.in_flight.front().correlation != correlation) {
    stats.error = "the server answered a request that was not its turn";
    return Outcome::failed;
  }
  ProduceCall call = std::move(link.in_flight.front());
  link.in_flight.pop_front();
  batches_in_flight_ -= static_cast<std::uint32_t>(call.batches.size());
  Outcome outcome = Outcome::ok;
  std::size_t matched = 0;
  const auto topics = reader.take<std::int32_t>();
  for (std::int32_t t = 0; t < topics && !reader.failed(); ++t) {
    reader.skip(static_cast<std::uint16_t>(reader.take<std::int16_t>()));
    const auto partitions = reader.take<std::int32_t>();
    for (std::int32_t p = 0; p < partitions && !reader.failed(); ++p) {
      const auto index = static_cast<std::uint32_t>(reader.take<std::int32_t>());
      const auto code = static_cast<wire::ErrorCode>(reader.take<std::int16_t>());
      const auto base_offset = reader.take<std::int64_t>();
      reader.skip(16);  // append time, log start offset
      // Answers come in request order from every known broker; the search is for the one that does not.
      const auto from = call.batches.begin() + static_cast<std::ptrdiff_t>(matched);
      const auto found =
          std::find_if(from, call.batches.end(), [&](const Batch* b) { return b->partition == index; });
      if (reader.failed() || found == call.batches.end()) break;
      std::iter_swap(from, found);
      Batch* batch = call.batches[matched++];
      if (code == wire::ErrorCode::none) {
        acknowledge(*batch, base_offset, now);
        context_.factory->give_back(batch);
      } else if (retriable(code)) {
        put_back(batch);
        outcome = Outcome::needs_metadata;
      } else {
        stats.error = "produce to partition " + std::to_string(index) + ": " +
                      std::string(wire::to_string(code)) + " (" + std::to_string(static_cast<int>(code)) +
                      ")";
        return Outcome::failed;
      }
    }
  }
  if (matched != call.batches.size()) {
    stats.error = "the server's answer to a produce request leaves out partitions";
    return Outcome::failed;
  }
  if (context_.window->measures(now)) {
    ++stats.acked_requests;
    if (stats.last_ack >= context_.window->measure_from) {
      stats.longest_gap = std::max(stats.longest_gap, now - stats.last_ack);
    }
  }
  stats.last_ack = now;
  spare_calls_.push_back(std::move(call));
  return outcome;
}

Producer::Outcome Producer::receive(Link& link, Nanos now) {
  const bool alive = link.connection->receive();
  Outcome outcome = Outcome::ok;
  while (const auto frame = link.connection->next_frame()) {
    if (context_.options->acks == 0) continue;  // nothing is due; some mock brokers answer all the same
    const Outcome one = answer(link, *frame, now);
    if (one == Outcome::failed) return one;
    if (one == Outcome::needs_metadata) outcome = one;
  }
  if (alive && !link.connection->broken()) return outcome;
  disconnect(link);
  return Outcome::needs_metadata;
}

void Producer::complete_unanswered(Link& link, Nanos now) {
  while (!link.in_flight.empty()) {
    ProduceCall call = std::move(link.in_flight.front());
    link.in_flight.pop_front();
    batches_in_flight_ -= static_cast<std::uint32_t>(call.batches.size());
    for (Batch* batch : call.batches) {
      acknowledge(*batch, -1, now);
      context_.factory->give_back(batch);
    }
    if (context_.window->measures(now)) ++context_.stats->acked_requests;
    context_.stats->last_ack = now;
    spare_calls_.push_back(std::move(call));
  }
}

Status Producer::connect() {
  for (const std::int32_t leader : context_.map->leaders) {
    const auto found =
        std::find_if(links_.begin(), links_.end(), [&](const auto& l) { return l->broker == leader; });
    if (found != links_.end() && (*found)->connection != nullptr) continue;
    const ClusterMap::Broker* broker = context_.map->broker(leader);
    if (broker == nullptr) return fail(Errc::not_found, "a partition has no leader");
    auto connection = Connection::open(broker->address, kConnectTimeout);
    if (!connection) return std::unexpected(connection.error());
    if (found == links_.end()) {
      links_.push_back(std::make_unique<Link>());
      links_.back()->producer = this;
      links_.back()->broker = leader;
      links_.back()->connection = std::move(*connection);
    } else {
      (*found)->connection = std::move(*connection);
    }
  }
  return {};
}

void Producer::disconnect(Link& link) {
  link.connection.reset();
  link.wants_write = false;
  ++context_.stats->disconnects;
  for (ProduceCall& call : link.in_flight) {
    batches_in_flight_ -= static_cast<std::uint32_t>(call.batches.size());
    for (Batch* batch : call.batches) put_back(batch);
  }
  link.in_flight.clear();
}

void Producer::abandon(Nanos now) {
  ProduceStats& stats = *context_.stats;
  const auto record = [&](const Batch& batch) {
    for (const Nanos intended : batch.intended) {
      if (!context_.window->measures(intended)) continue;
      stats.latency.record(intended, now - intended);
      ++stats.unfinished_events;
    }
  };
  for (const auto& link : links_) {
    for (const ProduceCall& call : link->in_flight) {
      for (const Batch* batch : call.batches) record(*batch);
    }
  }
  for (const Partition& partition : partitions_) {
    for (const Batch* batch : partition.closed) record(*batch);
    if (partition.open != nullptr) record(*partition.open);
  }
}

}  // namespace esc::bench
