// The Kafka side of one core: connections, requests, the handlers, and the part of other cores' requests
// that concerns this core's groups.
//
// Threading: one core; other cores reach it through Calls only. Memory: two pools and the request slabs are
// fixed at construction; a client that would exceed them waits, and under pressure the one that holds memory
// without making progress is disconnected.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/intrusive_list.h"
#include "esc/broker/buffer_pool.h"
#include "esc/broker/call.h"
#include "esc/broker/directory.h"
#include "esc/broker/request.h"
#include "esc/coord/coordinator.h"
#include "esc/io/env.h"
#include "esc/obs/log.h"
#include "esc/obs/metrics.h"
#include "esc/replica/group.h"
#include "esc/replica/node_record.h"

namespace esc::broker {

// Bugs planted on purpose, so that the simulator can show that its checkers find them. Never set in service.
enum class Plant : std::uint8_t {
  none,
  produce_without_commit,   // answers a producer when its records are appended
  groups_not_saved,         // leaves the consumer groups out of checkpoints
  nodes_changed_early,      // answers an operator when a change of the nodes is proposed
  deleted_partitions_stay,  // groups do not follow the deletion of a topic
  fetch_parts_overlap       // one partition's records are read over the end of another's
};

struct BrokerOptions {
  NodeId node{1};
  std::vector<replica::NodeRecord> nodes;  // of the cluster, this one too; empty: a single node
  std::string cluster_id;                  // as clients see it
  std::string advertised_host;
  std::uint16_t advertised_port = 0;
  bool auto_create_topics = true;
  std::int32_t default_partitions = 1;
  TopicSettings topic_defaults;
  std::uint32_t groups = 1;
  std::uint32_t request_bytes_max = 8 * 1024 * 1024;
  std::uint32_t connection_requests_max = 256;
  std::uint32_t connection_bytes_max = 8 * 1024 * 1024;
  std::uint32_t topics_max = 10'000;
  std::uint32_t partitions_max = 100'000;
  std::uint64_t request_pool_bytes = 16 * kMiB;
  std::uint64_t response_pool_bytes = 16 * kMiB;
  std::uint32_t fetch_bytes_max = 512 * 1024;  // of records in one answer, unless one batch is larger
  std::uint32_t receive_buffers = 64;
  Nanos stall_timeout = 2 * kSecond;  // without progress, while others wait for memory
  coord::Options groups_options;      // of consumer groups
  Plant plant = Plant::none;
};

struct MemoryWaiter;
struct ProduceCall;
struct FetchCall;
class GroupMetrics;
class Connection;
class Controller;
class Coordinators;
class ProducerIds;
class RecordReader;
class ReplicaWatch;

struct BrokerMetrics {
  explicit BrokerMetrics(obs::Scope& scope);
  obs::Counter& requests;
  obs::Counter& produced_batches;
  obs::Counter& produced_records;
  obs::Counter& produced_bytes;
  obs::Counter& produce_errors;
  obs::Counter& produce_duplicates;
  obs::Counter& dedup_hits;
  obs::Counter& dedup_misses;
  obs::Counter& fetched_bytes;
  obs::Counter& protocol_errors;
  obs::Counter& evictions;
  obs::Counter& memory_stalls;
  obs::Counter& connections_refused;
  obs::Gauge& connections;
  obs::Histogram& produce_latency;
};

class Broker {
 public:
  Broker(io::Env env, obs::LogSource log, obs::Scope& metrics, const BrokerOptions& options, Router& router);
  ~Broker();
  Broker(const Broker&) = delete;
  Broker& operator=(const Broker&) = delete;

  // Startup: the groups this core owns.
  void add_group(replica::Group& group);

  // --- connections --------------------------------------------------------------------------------
  void adopt(io::AcceptedSocket socket);
  void forget(Connection& connection);  // by the connection, when it is closed and quiet
  void close_all();
  [[nodiscard]] std::size_t connection_count() const { return connections_open_; }

  // --- requests, for connections and handlers -----------------------------------------------------
  [[nodiscard]] Request* new_request();  // null: too many
  void dispatch(Request& request);
  // The answer is ready in request.response, or there is none.
  void complete(Request& request);
  void release(Request& request);  // gives back everything it holds
  void retain_loan(io::ReceiveLoan loan);
  void release_loan(io::ReceiveLoan loan);
  [[nodiscard]] BufferPool& request_pool() { return request_pool_; }
  [[nodiscard]] BufferPool& response_pool() { return response_pool_; }
  void wait_for_memory(Connection& connection);

  // Encodes `message` and completes the request.
  template <class Message>
  void respond(Request& request, const Message& message);
  // Moves a request that may have to wait for long out of its receive buffer, before it is decoded. False:
  // no memory; protocol_error was called.
  [[nodiscard]] bool detach_frame(Request& request);
  // Gives back the request's own bytes early: nothing points into them any more.
  void release_frame(Request& request);
  // The same for a fetch response, whose records are gathered from where they are.
  template <class Message>
  void respond_gathered(Request& request, const Message& message, std::size_t records_max);
  // A request that cannot be understood or served: log, count, close after what is owed.
  void protocol_error(Request& request, std::string_view what);
  // Decodes the body into a struct, giving the request a larger arena when needed. Null: protocol_error was
  // called.
  template <class Message>
  const Message* decode(Request& request);
  // Room for `count` objects that live as long as the request. Null data(): no memory.
  template <class T>
  std::span<T> allocate(Request& request, std::size_t count);

  // --- groups -------------------------------------------------------------------------------------
  [[nodiscard]] replica::Group* group(GroupId id) { return groups_[id.value()]; }
  [[nodiscard]] CoreId core_of(GroupId id) const { return CoreId(id.value() % router_.cores()); }
  [[nodiscard]] Directory& directory() { return directory_; }
  [[nodiscard]] const Directory& directory() const { return directory_; }
  [[nodiscard]] Controller& controller() { return *controller_; }
  [[nodiscard]] Coordinators& coordinators() { return *coordinators_; }
  [[nodiscard]] ProducerIds& producer_ids() { return *producer_ids_; }
  [[nodiscard]] ReplicaWatch& replica_watch() { return *replica_watch_; }
  [[nodiscard]] RecordReader& record_reader() { return *record_reader_; }

  // From inside a commit: the wait of this call is over; it is replied to in the next turn.
  void finish_later(FetchCall& call);
  // Produce calls that met a full ring, in order.
  void block(ProduceCall& call);
  // Committed, but some topic asks for more replicas than a majority.
  void await_replicas(ProduceCall& call);
  [[nodiscard]] bool has_blocked() const { return !blocked_.empty(); }
  // Fetches waiting for response memory.
  void wait_for_response_memory(Request& request, void (*retry)(Broker&, Request&));

  // --- the agent ----------------------------------------------------------------------------------
  std::uint32_t do_work(Nanos now);

  [[nodiscard]] io::Env& env() { return env_; }
  [[nodiscard]] const BrokerOptions& options() const { return options_; }
  [[nodiscard]] Router& router() { return router_; }
  [[nodiscard]] obs::LogSource& log() { return log_; }
  [[nodiscard]] BrokerMetrics& metrics() { return metrics_; }
  // How many nodes hold each partition: all of them.
  [[nodiscard]] std::size_t replication_factor() const { return directory_.nodes().size(); }
  void set_advertised_port(std::uint16_t port);
  // Begins nothing new; fetches that wait are answered at once.
  void begin_shutdown();
  [[nodiscard]] Nanos started_at() const { return started_at_; }
  [[nodiscard]] bool shutting_down() const { return shutting_down_; }
  [[nodiscard]] bool quiet() const { return requests_in_use_ == 0; }
  obs::LogLimiter& client_limiter() { return client_limiter_; }

 private:
  void evict_stalled(Nanos now);
  void grow_requests();
  [[nodiscard]] bool set_arena(Request& request, std::size_t bytes);

  io::Env env_;
  obs::LogSource log_;
  BrokerMetrics metrics_;
  BrokerOptions options_;
  Router& router_;
  Directory directory_;
  BufferPool request_pool_;
  BufferPool response_pool_;
  std::vector<replica::Group*> groups_;  // by id; null when another core's
  std::unique_ptr<Controller> controller_;
  std::unique_ptr<Coordinators> coordinators_;
  std::unique_ptr<ProducerIds> producer_ids_;
  std::unique_ptr<RecordReader> record_reader_;
  std::unique_ptr<GroupMetrics> group_metrics_;
  std::unique_ptr<ReplicaWatch> replica_watch_;

  // What is in a list outlives the list: a node may be taken down while clients are connected.
  std::vector<std::unique_ptr<Request[]>> request_slabs_;
  std::vector<std::unique_ptr<Connection>> connection_store_;
  IntrusiveList<Connection> connections_;
  std::size_t connections_open_ = 0;
  std::vector<Connection*> connections_free_;
  IntrusiveList<MemoryWaiter> memory_waiters_;  // connections that wait for request memory
  std::vector<Request*> requests_free_;
  std::size_t requests_in_use_ = 0;
  std::vector<std::uint32_t> loan_references_;  // by receive buffer
  IntrusiveList<ProduceCall> blocked_;
  IntrusiveList<ProduceCall> replicating_;
  IntrusiveList<Call> finishing_;
  struct ResponseWaiter {
    Request* request = nullptr;
    void (*retry)(Broker&, Request&) = nullptr;
  };
  std::vector<ResponseWaiter> response_waiters_;
  Nanos next_eviction_check_ = 0;
  Nanos started_at_ = 0;
  bool shutting_down_ = false;
  obs::LogLimiter client_limiter_;
};

}  // namespace esc::broker
