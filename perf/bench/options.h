// What one esc-bench invocation shall do: the parsed command line, plain data.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "esc/wire/record_batch.h"

namespace esc::bench {

enum class Mode : std::uint8_t { produce, consume, end_to_end, verify, floors };

// How an event without key finds its partition. `sticky` fills a batch, then moves on, as the stock
// clients do; `round_robin` moves on with every event. Keyed events always follow their key.
enum class Partitioner : std::uint8_t { sticky, round_robin };

// What to do when the server goes away during a run.
enum class OnDisconnect : std::uint8_t { fail, stop, reconnect };

struct Options {
  Mode mode = Mode::produce;
  std::string bootstrap = "127.0.0.1:9092";

  // Topic.
  std::string topic = "esc-bench";
  std::uint32_t partitions = 1;
  std::int16_t replication = -1;  // -1: the server's default
  bool create_topic = true;
  std::vector<std::string> topic_configs;  // KEY=VALUE, of a topic that is created

  // Events.
  std::uint32_t event_bytes = 512;
  bool keyed = false;
  std::uint32_t key_count = 100'000;
  bool event_ids = false;  // a header event-id, different in each event
  Partitioner partitioner = Partitioner::sticky;
  std::int16_t acks = -1;
  wire::Codec codec = wire::Codec::none;

  // Load. rate > 0 is open loop; else closed loop with `window` batches in flight per connection.
  double rate = 0;
  std::uint32_t window = 1;
  std::uint32_t batch_events = 64;
  std::uint32_t request_batches = 1;  // closed loop: batches (of different partitions) per request
  std::uint32_t linger_us = 1000;
  std::uint32_t request_bytes_max = 1 << 20;
  std::uint32_t requests_in_flight = 5;   // open loop, per connection
  std::uint32_t buffer_bytes = 64 << 20;  // open loop: events waiting in the client, per thread
  std::uint32_t connections = 1;
  std::uint32_t threads = 1;
  bool spin = false;

  // Consumers: connections that share the partitions between them.
  std::uint32_t consumers = 0;
  std::uint32_t fetch_max_bytes = 4 << 20;
  std::uint32_t fetch_partition_bytes = 1 << 20;
  std::uint32_t fetch_min_bytes = 1;
  std::uint32_t fetch_wait_ms = 500;
  bool check_crc = false;  // consume and e2e: check every batch's CRC and every event

  // Time.
  double duration_s = 10;
  double warm_up_s = 2;
  std::uint64_t events = 0;  // stop after so many events; 0: after the duration
  double drain_s = 10;       // longest wait for outstanding acknowledgements
  std::uint32_t repeat = 1;

  OnDisconnect on_disconnect = OnDisconnect::fail;

  // Measuring.
  std::string floor_dir;          // empty: no floors
  std::uint32_t floor_nodes = 0;  // bare logs at the rate of the open loop, of so many nodes; 0: none
  std::int32_t server_pid = 0;
  bool require_durable = false;

  // Output.
  std::string label;  // scenario name, for reports and budgets
  std::string json_path;
  std::string budget_path;
  std::vector<std::string> ack_logs;  // produce writes the first; verify reads all
  bool verify_from_acked = false;     // verify: start at the first acknowledged offset, not at the earliest
  bool quiet = false;
};

}  // namespace esc::bench
