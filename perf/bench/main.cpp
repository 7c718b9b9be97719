// esc-bench: load, latency and proof for EventStreamCore and any other broker that speaks Kafka's protocol.

#include <CLI/CLI.hpp>
#include <csignal>
#include <map>
#include <string>

#include "session.h"
#include "workload.h"

namespace esc::bench {
namespace {

struct Preset {
  std::uint32_t batch_events;
  std::uint32_t window;
  std::uint32_t connections;
};
// One event in flight; batches of 64, one and sixteen in flight; 64 connections with one event each.
const std::map<std::string, Preset> kPresets = {
    {"sync1", {1, 1, 1}}, {"b64x1", {64, 1, 1}}, {"b64x16", {64, 16, 1}}, {"c64x1", {1, 1, 64}}};

const std::map<std::string, wire::Codec> kCodecs = {{"none", wire::Codec::none},
                                                    {"gzip", wire::Codec::gzip},
                                                    {"snappy", wire::Codec::snappy},
                                                    {"lz4", wire::Codec::lz4},
                                                    {"zstd", wire::Codec::zstd}};
const std::map<std::string, std::int16_t> kAcks = {{"all", -1}, {"-1", -1}, {"1", 1}, {"0", 0}};
const std::map<std::string, Partitioner> kPartitioners = {{"sticky", Partitioner::sticky},
                                                          {"round-robin", Partitioner::round_robin}};
const std::map<std::string, OnDisconnect> kOnDisconnect = {
    {"fail", OnDisconnect::fail}, {"stop", OnDisconnect::stop}, {"reconnect", OnDisconnect::reconnect}};

void add_common(CLI::App& app, Options& o) {
  app.add_option("-b,--bootstrap", o.bootstrap, "Any broker of the cluster, host:port")
      ->capture_default_str();
  app.add_option("-t,--topic", o.topic, "Topic")->capture_default_str();
  app.add_option("--json", o.json_path, "Also write the result as JSON to this file; - for stdout");
  app.add_option("--label", o.label, "Name of the scenario: the table of the budget, and the label in JSON");
  app.add_flag("-q,--quiet", o.quiet, "Print only what went wrong");
}

void add_measuring(CLI::App& app, Options& o) {
  app.add_option(
         "--floor-dir", o.floor_dir,
         "Measure the floors (a 16 KiB dsync write here, a loopback round trip) and this device's counters. "
         "Use the file system of the server's data")
      ->check(CLI::ExistingDirectory);
  app.add_option(
         "--floor-nodes", o.floor_nodes,
         "Measure also the writes of an open loop (--rate) into bare logs, without a server: of 1 node, or "
         "3 on this disk, of which 2 must have them")
      ->check(CLI::Range(1u, 5u));
  app.add_option("--server-pid", o.server_pid, "Report CPU and memory of this process");
  app.add_option("--repeat", o.repeat, "Measure this often; report min, median and max")
      ->check(CLI::Range(1u, 1000u))
      ->capture_default_str();
  app.add_option("--budget", o.budget_path,
                 "TOML file of limits for the medians; exit 1 when one is exceeded")
      ->check(CLI::ExistingFile);
  app.add_option("-d,--duration", o.duration_s, "Seconds to measure")
      ->check(CLI::Range(0.05, 86400.0))
      ->capture_default_str();
}

void add_fetching(CLI::App& app, Options& o) {
  app.add_option("--fetch-max-bytes", o.fetch_max_bytes, "Largest fetch answer")->capture_default_str();
  app.add_option("--fetch-partition-bytes", o.fetch_partition_bytes, "... per partition")
      ->capture_default_str();
  app.add_option("--fetch-min-bytes", o.fetch_min_bytes, "The server waits for so many bytes")
      ->capture_default_str();
  app.add_option("--fetch-wait-ms", o.fetch_wait_ms, "... at most so long")->capture_default_str();
}

void add_topic(CLI::App& app, Options& o) {
  app.add_option("-p,--partitions", o.partitions,
                 "Partitions of the topic; it is created when it does not exist")
      ->check(CLI::Range(1u, 100'000u))
      ->capture_default_str();
  app.add_option("--replication", o.replication,
                 "Replication factor of a new topic; -1: the server's default")
      ->capture_default_str();
  app.add_option("--topic-config", o.topic_configs, "KEY=VALUE of a topic that is created; may be repeated");
  app.add_flag("!--no-create", o.create_topic, "Fail when the topic does not exist");
}

// What an open loop brings, with a server or without.
void add_stream(CLI::App& app, Options& o) {
  app.add_option("-s,--event-bytes", o.event_bytes, "Size of an event's value")
      ->check(CLI::Range(kEventBytesMin, 1'000'000u))
      ->capture_default_str();
  app.add_option("-r,--rate", o.rate,
                 "Open loop: events per second; latency counts from the moment an event is due")
      ->check(CLI::NonNegativeNumber);
  app.add_option("--linger-us", o.linger_us, "Open loop: longest wait for a batch to fill")
      ->capture_default_str();
}

void add_load(CLI::App& app, Options& o, std::string& preset) {
  app.add_option("--preset", preset,
                 "Closed loop: sync1, b64x1, b64x16 (batch size x in flight), c64x1 (connections)")
      ->check(CLI::IsMember(kPresets));
  app.add_option("--window", o.window, "Closed loop: batches in flight per connection")
      ->check(CLI::Range(1u, 100'000u))
      ->capture_default_str();
  app.add_option("--batch-events", o.batch_events, "Events per batch, in open loop at most")
      ->check(CLI::Range(1u, 100'000u))
      ->capture_default_str();
  app.add_option("--request-batches", o.request_batches,
                 "Closed loop: batches of several partitions in one request")
      ->check(CLI::Range(1u, 10'000u))
      ->capture_default_str();
  app.add_option("--max-request-bytes", o.request_bytes_max, "Open loop: size of a request")
      ->capture_default_str();
  app.add_option("--in-flight", o.requests_in_flight, "Open loop: requests in flight per connection")
      ->check(CLI::Range(1u, 100'000u))
      ->capture_default_str();
  app.add_option("-c,--connections", o.connections, "Producing connections; they share the rate")
      ->check(CLI::Range(1u, 100'000u))
      ->capture_default_str();
  app.add_option("--threads", o.threads, "Producing threads; they share the connections")
      ->check(CLI::Range(1u, 64u))
      ->capture_default_str();
  app.add_option("-w,--warm-up", o.warm_up_s, "Seconds of load before measuring")->capture_default_str();
  app.add_option("--drain", o.drain_s, "Longest wait for outstanding acknowledgements at the end, seconds")
      ->capture_default_str();
  app.add_option("-n,--events", o.events,
                 "End after so many events (all connections together), or the duration");
  app.add_flag("--spin", o.spin, "Poll the sockets instead of sleeping (needs a core of its own)");
}

void add_events(CLI::App& app, Options& o) {
  app.add_flag("-k,--keyed", o.keyed, "Events carry a key, and the key decides their partition");
  app.add_flag("--event-ids", o.event_ids, "Events carry a header event-id, different in each");
  app.add_option("--keys", o.key_count, "Number of different keys")->capture_default_str();
  app.add_option("--partitioner", o.partitioner, "Events without key: sticky fills a batch, then moves on")
      ->transform(CLI::CheckedTransformer(kPartitioners));
  app.add_option("-a,--acks", o.acks, "all, 1 or 0")->transform(CLI::CheckedTransformer(kAcks));
  app.add_option("-z,--compression", o.codec, "none, gzip, snappy, lz4 or zstd")
      ->transform(CLI::CheckedTransformer(kCodecs));
  app.add_option("--ack-log", o.ack_logs, "Append what was acknowledged to this file, for `verify`")
      ->expected(1);
  app.add_option("--on-disconnect", o.on_disconnect,
                 "fail; stop: end the run, exit 0 (chaos tests); reconnect: go on with whoever leads then")
      ->transform(CLI::CheckedTransformer(kOnDisconnect));
  app.add_option("--consumers", o.consumers, "Consuming connections beside the producers, in one thread")
      ->capture_default_str();
  app.add_flag("--check", o.check_crc, "Consumers check every CRC and every event");
  app.add_flag("--require-durable", o.require_durable,
               "Fail unless the device was flushed for every acknowledgement (one in flight), or at all");
}

int run(int argc, char** argv) {
  Options o;
  std::string preset;
  CLI::App app{
      "Load, latency and proof for Kafka-compatible event logs.\n"
      "Exit codes: 0 ok, 1 failed, over budget or not sound, 2 usage.",
      "esc-bench"};
  app.set_version_flag("--version", std::string(ESC_VERSION));
  app.require_subcommand(1);
  CLI::App& produce =
      *app.add_subcommand("produce", "Produce; measure throughput and acknowledgement latency");
  CLI::App& end_to_end = *app.add_subcommand("e2e", "Produce and consume; measure until events are received");
  CLI::App& consume =
      *app.add_subcommand("consume", "Consume a topic from its beginning; measure throughput");
  CLI::App& verify = *app.add_subcommand(
      "verify", "Read a topic completely; prove that nothing acknowledged is missing or changed");
  CLI::App& floors = *app.add_subcommand("floor", "Measure only the floors");
  for (CLI::App* each : {&produce, &end_to_end, &consume, &verify, &floors}) add_common(*each, o);
  for (CLI::App* each : {&produce, &end_to_end, &consume, &floors}) add_measuring(*each, o);
  for (CLI::App* each : {&produce, &end_to_end, &consume, &verify}) add_fetching(*each, o);
  for (CLI::App* each : {&produce, &end_to_end, &floors}) add_stream(*each, o);
  for (CLI::App* each : {&produce, &end_to_end}) {
    add_topic(*each, o);
    add_events(*each, o);
    add_load(*each, o, preset);
  }
  for (CLI::App* each : {&consume, &verify}) {
    each->add_option("--consumers", o.consumers, "Consuming connections")->capture_default_str();
  }
  consume.add_flag("--check", o.check_crc, "Check every CRC and every event");
  verify.add_option("--ack-log", o.ack_logs, "Files written by `produce --ack-log`")
      ->check(CLI::ExistingFile);
  verify.add_flag("--from-acked", o.verify_from_acked,
                  "Start at the first acknowledged offset, not at the earliest");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  if (produce.parsed()) o.mode = Mode::produce;
  if (end_to_end.parsed()) o.mode = Mode::end_to_end;
  if (consume.parsed()) o.mode = Mode::consume;
  if (verify.parsed()) o.mode = Mode::verify;
  if (floors.parsed()) o.mode = Mode::floors;
  if (!preset.empty()) {
    const Preset& p = kPresets.at(preset);
    o.batch_events = p.batch_events;
    o.window = p.window;
    o.connections = p.connections;
    if (o.label.empty()) o.label = preset;
  }
  if (!preset.empty() && o.rate > 0) {
    std::fprintf(stderr, "esc-bench: --preset is closed loop and --rate open loop: give one of them\n");
    return kExitUsage;
  }
  if (o.mode == Mode::floors && o.floor_dir.empty()) {
    std::fprintf(stderr, "esc-bench: floor needs --floor-dir\n");
    return kExitUsage;
  }
  if (!o.budget_path.empty() && o.label.empty()) {
    std::fprintf(stderr, "esc-bench: --budget needs --label, the table to compare with\n");
    return kExitUsage;
  }
  ::signal(SIGPIPE, SIG_IGN);
  return o.mode == Mode::verify ? run_verify(o) : run_session(o);
}

}  // namespace
}  // namespace esc::bench

int main(int argc, char** argv) {
  return esc::bench::run(argc, argv);
}
