#include "esc/broker/broker.h"

#include <algorithm>

#include "connection.h"
#include "controller.h"
#include "coordinators.h"
#include "fetch_call.h"
#include "group_metrics.h"
#include "handlers.h"
#include "produce_call.h"
#include "producer_ids.h"
#include "record_reader.h"
#include "replica_watch.h"
#include "respond.h"

namespace esc::broker {
namespace {

constexpr std::size_t kRequestsPerSlabMax = 1024;
constexpr std::size_t kPoolBytesPerRequest = 16 * 1024;  // a small pool needs no large slabs
constexpr std::size_t kRequestSlabsMax = 64;

std::vector<replica::NodeRecord> known_nodes(const BrokerOptions& options) {
  if (!options.nodes.empty()) return options.nodes;
  return {{.node = options.node, .host = options.advertised_host, .port = options.advertised_port}};
}

}  // namespace

BrokerMetrics::BrokerMetrics(obs::Scope& scope)
    : requests(scope.counter("esc_requests_total", "Requests of Kafka clients received.")),
      produced_batches(
          scope.counter("esc_produced_batches_total", "Record batches appended by leaders here.")),
      produced_records(scope.counter("esc_produced_records_total", "Records appended by leaders here.")),
      produced_bytes(
          scope.counter("esc_produced_bytes_total", "Bytes of appended record batches, as they arrived.")),
      produce_errors(scope.counter("esc_produce_errors_total",
                                   "Produce requests answered with an error, by partition.")),
      produce_duplicates(scope.counter(
          "esc_produce_duplicates_total",
          "Batches that idempotent producers sent again, answered with where the first ones are.")),
      dedup_hits(
          scope.counter("esc_dedup_hits_total", "Records dropped because their event id was seen before.")),
      dedup_misses(scope.counter("esc_dedup_misses_total",
                                 "Records appended with an event id that was not seen before.")),
      fetched_bytes(scope.counter("esc_fetched_bytes_total", "Bytes of record batches sent to consumers.")),
      protocol_errors(scope.counter("esc_protocol_errors_total", "Requests that could not be understood.")),
      evictions(
          scope.counter("esc_evictions_total",
                        "Clients closed because they held memory without progress while others waited.")),
      memory_stalls(scope.counter("esc_memory_stalls_total",
                                  "Times that a client waited for request or response memory.")),
      connections_refused(scope.counter("esc_connections_refused_total",
                                        "Connections closed at once, over tuning.limits.connections_max.")),
      connections(scope.gauge("esc_connections", "Open client connections.")),
      produce_latency(scope.histogram("esc_produce_latency_seconds",
                                      "Produce request, from its last byte to its answer.",
                                      obs::Unit::nanoseconds_as_seconds)) {}

Broker::Broker(io::Env env, obs::LogSource log, obs::Scope& metrics, const BrokerOptions& options,
               Router& router)
    : env_(env),
      log_(log),
      metrics_(metrics),
      options_(options),
      router_(router),
      directory_(options.topic_defaults, options.groups, known_nodes(options)),
      request_pool_(options.request_pool_bytes),
      response_pool_(options.response_pool_bytes),
      groups_(options.groups, nullptr),
      controller_(std::make_unique<Controller>(*this)),
      coordinators_(std::make_unique<Coordinators>(*this)),
      producer_ids_(std::make_unique<ProducerIds>(*this)),
      record_reader_(std::make_unique<RecordReader>(*this)),
      group_metrics_(std::make_unique<GroupMetrics>(*this, metrics)),
      replica_watch_(std::make_unique<ReplicaWatch>(*this)),
      loan_references_(options.receive_buffers, 0) {
  started_at_ = env_.clock.now();
  connection_store_.reserve(1024);
  connections_free_.reserve(1024);
  response_waiters_.reserve(256);
  grow_requests();
}

Broker::~Broker() = default;

void Broker::add_group(replica::Group& group) {
  groups_[group.id().value()] = &group;
}

// --- connections ------------------------------------------------------------------------------------

void Broker::adopt(io::AcceptedSocket socket) {
  if (connections_free_.empty()) {
    connection_store_.push_back(std::make_unique<Connection>(*this));
    connections_free_.push_back(connection_store_.back().get());
  }
  Connection& connection = *connections_free_.back();
  const auto id = env_.net.adopt(socket, connection);
  if (!id) {
    metrics_.connections_refused.add();
    log_.log_limited(client_limiter_, obs::Level::warn, "connection_refused",
                     {{"cause", id.error()},
                      {"open", connections_open_},
                      {"fix", "raise tuning.limits.connections_max or close idle clients"},
                      {"refused_total", metrics_.connections_refused.value()}});
    return;
  }
  connections_free_.pop_back();
  connection.open(*id, env_.clock.now());
  connections_.push_back(connection);
  ++connections_open_;
  metrics_.connections.set(static_cast<std::int64_t>(connections_open_));
}

void Broker::forget(Connection& connection) {
  connection.ListNode<Connection>::unlink();
  connections_free_.push_back(&connection);
  --connections_open_;
  metrics_.connections.set(static_cast<std::int64_t>(connections_open_));
}

void Broker::close_all() {
  connections_.for_each([](Connection& connection) { connection.close(); });
}

void Broker::set_advertised_port(std::uint16_t port) {
  options_.advertised_port = port;
  directory_.set_nodes(known_nodes(options_));
}

void Broker::begin_shutdown() {
  shutting_down_ = true;
  coordinators_->begin_shutdown();
  connections_.for_each([](Connection& connection) { connection.hurry(); });
}

void Broker::wait_for_memory(Connection& connection) {
  metrics_.memory_stalls.add();
  if (!connection.memory_waiter().linked()) memory_waiters_.push_back(connection.memory_waiter());
}

// --- requests ---------------------------------------------------------------------------------------

void Broker::grow_requests() {
  if (request_slabs_.size() == kRequestSlabsMax) return;
  const auto wanted = static_cast<std::size_t>(options_.request_pool_bytes / kPoolBytesPerRequest);
  const std::size_t count = std::clamp<std::size_t>(wanted, 1, kRequestsPerSlabMax);
  request_slabs_.push_back(std::make_unique<Request[]>(count));
  requests_free_.reserve(request_slabs_.size() * count);
  for (std::size_t i = 0; i < count; ++i) requests_free_.push_back(&request_slabs_.back()[i]);
}

Request* Broker::new_request() {
  if (requests_free_.empty()) grow_requests();
  if (requests_free_.empty()) return nullptr;
  Request* request = requests_free_.back();
  requests_free_.pop_back();
  ++requests_in_use_;
  request->broker = this;
  request->started = env_.clock.now();
  return request;
}

void Broker::retain_loan(io::ReceiveLoan loan) {
  ++loan_references_[loan.buffer];
}

void Broker::release_loan(io::ReceiveLoan loan) {
  ESC_ASSERT(loan_references_[loan.buffer] > 0);
  if (--loan_references_[loan.buffer] == 0) env_.net.release(loan);
}

void Broker::release_frame(Request& request) {
  if (request.loan.valid()) release_loan(request.loan);
  request.loan = {};
  if (!request.assembled.empty()) request_pool_.free(request.assembled);
  request.assembled = {};
  request.frame = {};
  request.header.client_id.reset();
  request.header.body = {};
}

bool Broker::detach_frame(Request& request) {
  if (!request.loan.valid()) return true;
  const ByteSpan copy = request_pool_.allocate(request.frame.size());
  if (copy.empty()) {
    protocol_error(request, "no memory for a request that may have to wait");
    return false;
  }
  std::copy(request.frame.begin(), request.frame.end(), copy.begin());
  release_loan(request.loan);
  request.loan = {};
  request.assembled = copy;
  request.frame = ByteView(copy).first(request.frame.size());
  const auto header = wire::parse_request(request.frame);
  ESC_ASSERT_MSG(header.has_value(), "it was parsed before");
  request.header = *header;
  return true;
}

void Broker::release(Request& request) {
  ESC_ASSERT(!request.linked());
  env_.clock.disarm(request.timer);
  release_frame(request);
  if (!request.scratch.empty()) request_pool_.free(request.scratch);
  for (const ByteSpan buffer : request.extra) request_pool_.free(buffer);
  for (const ByteSpan buffer : request.data) response_pool_.free(buffer);
  if (!request.output.empty()) request.output_pool->free(request.output);
  request.scratch = request.output = {};
  request.arena = Arena({});
  request.extra.clear();
  request.data.clear();
  request.header = {};
  request.connection = nullptr;
  request.response = {};
  request.response_bytes = 0;
  request.complete = request.close_after = false;
  request.respond = true;
  request.state = nullptr;
  request.when_first = nullptr;
  --requests_in_use_;
  requests_free_.push_back(&request);
}

bool Broker::set_arena(Request& request, std::size_t bytes) {
  if (!request.scratch.empty()) request_pool_.free(request.scratch);
  request.scratch = request_pool_.allocate(bytes);
  request.arena = Arena(request.scratch);
  return !request.scratch.empty();
}

void Broker::complete(Request& request) {
  ESC_ASSERT(!request.complete);
  request.complete = true;
  env_.clock.disarm(request.timer);
  if (request.connection == nullptr) {
    release(request);
  } else {
    request.connection->answer_ready();
  }
}

void Broker::protocol_error(Request& request, std::string_view what) {
  metrics_.protocol_errors.add();
  const wire::ApiInfo* api = request.header.api;
  log_.log_limited(client_limiter_, obs::Level::warn, "client_closed",
                   {{"reason", what},
                    {"client", request.connection == nullptr ? std::string() : request.connection->address()},
                    {"api", api == nullptr ? std::string_view("unknown") : api->name},
                    {"version", request.header.version},
                    {"client_id", request.header.client_id.value_or("")},
                    {"request_bytes", request.frame_bytes},
                    {"protocol_errors_total", metrics_.protocol_errors.value()}});
  request.respond = false;
  request.close_after = true;
  request.response = {};
  request.response_bytes = 0;
  complete(request);
}

void Broker::dispatch(Request& request) {
  metrics_.requests.add();
  auto header = wire::parse_request(request.frame);
  if (!header) {
    protocol_error(request, header.error().reason);
    return;
  }
  request.header = *header;
  handle_request(*this, request);
}

void Broker::wait_for_response_memory(Request& request, void (*retry)(Broker&, Request&)) {
  metrics_.memory_stalls.add();
  response_waiters_.push_back({&request, retry});
}

void Broker::finish_later(FetchCall& call) {
  finishing_.push_back(call);
}

void Broker::block(ProduceCall& call) {
  blocked_.push_back(call);
}

void Broker::await_replicas(ProduceCall& call) {
  replicating_.push_back(call);
}

// --- the agent --------------------------------------------------------------------------------------

std::uint32_t Broker::do_work(Nanos now) {
  std::uint32_t work = controller_->do_work(now) + coordinators_->do_work(now) + producer_ids_->do_work(now);
  group_metrics_->do_work(now);
  replica_watch_->do_work(now);
  while (!finishing_.empty()) {
    auto& call = static_cast<FetchCall&>(finishing_.pop_front());
    for (replica::FetchWaiter& waiter : call.waiters) {
      if (waiter.linked()) waiter.unlink();
    }
    router_.reply(call);
    ++work;
  }
  // Appends that met a full ring, oldest first, so that each partition keeps its order.
  while (!blocked_.empty()) {
    ProduceCall& call = blocked_.front();
    call.ListNode<ProduceCall>::unlink();
    if (!resume_produce(*this, call)) {
      blocked_.push_front(call);
      break;
    }
    ++work;
  }
  IntrusiveList<ProduceCall> still;
  while (!replicating_.empty()) {
    ProduceCall& call = replicating_.pop_front();
    if (replicated(*this, call)) {
      router_.reply(call);
      ++work;
    } else {
      still.push_back(call);
    }
  }
  while (!still.empty()) replicating_.push_back(still.pop_front());
  for (std::size_t waiting = response_waiters_.size(); waiting > 0 && !response_waiters_.empty(); --waiting) {
    const ResponseWaiter waiter = response_waiters_.front();
    const std::size_t before = response_waiters_.size();
    response_waiters_.erase(response_waiters_.begin());
    waiter.retry(*this, *waiter.request);
    if (response_waiters_.size() == before) break;  // it waits again: no memory yet
    ++work;
  }
  for (std::size_t tries = 16; tries > 0 && !memory_waiters_.empty(); --tries) {
    Connection& connection = *memory_waiters_.pop_front().connection;
    connection.retry();
    if (connection.memory_waiter().linked()) break;
    ++work;
  }
  evict_stalled(now);
  return work;
}

// Only under memory pressure: the clients that hold memory without moving a byte have to go, the largest
// first. Whoever holds little may itself be waiting for what the others hold.
void Broker::evict_stalled(Nanos now) {
  if (memory_waiters_.empty() && response_waiters_.empty()) return;
  if (now < next_eviction_check_) return;
  next_eviction_check_ = now + options_.stall_timeout / 10;
  const auto held_in_vain = [&](const Connection& connection) -> std::size_t {
    if (now - connection.last_progress() < options_.stall_timeout) return 0;
    if (connection.sending()) return connection.sending_bytes();
    return memory_waiters_.empty() ? 0 : connection.partial_bytes();
  };
  std::size_t most = 0;
  connections_.for_each(
      [&](const Connection& connection) { most = std::max(most, held_in_vain(connection)); });
  connections_.for_each([&](Connection& connection) {
    const std::size_t held = held_in_vain(connection);
    if (held == 0 || held < most / 2) return;
    metrics_.evictions.add();
    log_.log_limited(
        client_limiter_, obs::Level::warn, "client_evicted",
        {{"client", connection.address()},
         {"reason", connection.sending() ? "does not read its answers" : "does not finish its request"},
         {"holds_bytes", held},
         {"stalled_ms", (now - connection.last_progress()) / kMillisecond},
         {"evictions_total", metrics_.evictions.value()}});
    connection.close();
  });
}

}  // namespace esc::broker
