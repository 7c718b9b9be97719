// One producing connection: what a stock client's producer does, reduced to what costs little. Partition
// queues, batches that close when full or when they have lingered, requests with several batches, a bounded
// number of requests in flight, retries after a change of leader.
//
// A Producer generates no load by itself; load.h decides when events are due. Threading: single owner.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ack_log.h"
#include "cluster.h"
#include "connection.h"
#include "options.h"
#include "stats.h"
#include "workload.h"

namespace esc::bench {

class Producer;

// A produce request on its way. The head is rebuilt in place; the batches follow it on the wire.
struct ProduceCall {
  std::vector<std::byte> head;
  std::vector<Batch*> batches;
  std::int32_t correlation = 0;
};

// One broker connection of a producer. Answers arrive in order.
struct Link {
  Producer* producer = nullptr;
  std::int32_t broker = -1;
  std::unique_ptr<Connection> connection;  // null while disconnected
  std::deque<ProduceCall> in_flight;
  bool wants_write = false;  // EPOLLOUT is armed
};

class Producer {
 public:
  struct Context {
    const Options* options = nullptr;
    const ClusterMap* map = nullptr;  // current; replaced in place by the owner
    BatchFactory* factory = nullptr;
    ProduceStats* stats = nullptr;
    AckLogWriter* ack_log = nullptr;  // null: none
    std::uint64_t run_id = 0;
    const Window* window = nullptr;
  };
  enum class Outcome : std::uint8_t { ok, needs_metadata, failed };

  Producer(const Context& context, std::uint32_t number);
  ~Producer();
  Producer(const Producer&) = delete;
  Producer& operator=(const Producer&) = delete;

  // Adds one event to the open batch of a partition; the batch closes when full.
  void append(std::uint32_t partition, Nanos intended, std::uint64_t key);
  // Sends what is ready on every link with room: if anything is due (a closed batch, or an open one older
  // than the linger time), all that is pending for that broker goes along, as in the stock clients.
  void send_due(Nanos now);
  // Closed loop: the batches of one request, filled now and sent at once.
  void send_now(Nanos now, std::uint32_t batches, std::uint32_t events_per_batch);
  // Handles the answers that have arrived. failed: stats.error says why.
  [[nodiscard]] Outcome receive(Link& link, Nanos now);
  // acks=0: whatever the socket has taken counts as acknowledged.
  void complete_unanswered(Link& link, Nanos now);

  // Connects to every leader of the map that has no connection yet.
  [[nodiscard]] Status connect();
  // Drops the connection and puts its unanswered batches back in their queues.
  void disconnect(Link& link);
  // At the end of a run: records the latency so far of every event that never was acknowledged.
  void abandon(Nanos now);
  void write_ack_log();

  [[nodiscard]] std::uint32_t number() const { return number_; }
  [[nodiscard]] std::vector<std::unique_ptr<Link>>& links() { return links_; }
  [[nodiscard]] std::uint32_t batches_in_flight() const { return batches_in_flight_; }
  [[nodiscard]] bool idle() const { return batches_in_flight_ == 0 && pending_.empty(); }
  [[nodiscard]] bool has_pending() const { return !pending_.empty(); }
  // Events in the open batch of the sticky partition, and when the oldest open batch falls due.
  [[nodiscard]] std::uint32_t sticky_partition() const { return sticky_; }
  [[nodiscard]] Nanos oldest_open() const;
  [[nodiscard]] std::uint32_t open_events() const { return open_events_; }

 private:
  struct Partition {
    std::deque<Batch*> closed;
    Batch* open = nullptr;
    std::uint64_t next_sequence = 0;
    bool listed = false;  // in pending_
    AckedRange acked;     // being coalesced for the ack log
  };

  [[nodiscard]] Link* link_of(std::uint32_t partition);
  [[nodiscard]] bool has_room(const Link& link) const;
  void close_open(Partition& partition);
  void list(std::uint32_t partition);
  void drain_to(Link& link);
  void send(Link& link, ProduceCall call);
  void acknowledge(Batch& batch, std::int64_t base_offset, Nanos now);
  void put_back(Batch* batch);
  [[nodiscard]] Outcome answer(Link& link, ByteView frame, Nanos now);
  [[nodiscard]] ProduceCall new_call();

  Context context_;
  std::uint32_t number_;
  std::int32_t correlation_ = 0;
  std::vector<std::byte> head_template_;
  std::vector<Partition> partitions_;
  std::vector<std::unique_ptr<Link>> links_;
  std::deque<std::uint32_t> pending_;  // partitions with open or closed batches, oldest first
  std::vector<ProduceCall> spare_calls_;
  std::uint32_t batches_in_flight_ = 0;
  std::uint32_t closed_batches_ = 0;
  std::uint32_t open_events_ = 0;
  std::uint32_t sticky_ = 0;
  std::uint32_t rotation_ = 0;
};

}  // namespace esc::bench
