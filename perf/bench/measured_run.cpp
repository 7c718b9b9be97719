#include "measured_run.h"

#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <string>
#include <thread>

#include "clocks.h"
#include "consume.h"
#include "esc/wire/api/list_offsets.h"
#include "load.h"

namespace esc::bench {

namespace {

constexpr Nanos kStartDelay = 50 * kMillisecond;  // for all threads to be there
constexpr Nanos kCatchUpTimeout = 10 * kSecond;

Nanos from_seconds(double seconds) {
  return static_cast<Nanos>(seconds * 1e9);
}
double to_us(Nanos nanos) {
  return static_cast<double>(nanos) / 1e3;
}
double ratio(double a, double b) {
  return b > 0 ? a / b : 0;
}

// Everything that is sampled at both edges of the window.
struct Edge {
  Nanos when = 0;
  std::optional<ProcessCounters> server;
  std::optional<DeviceCounters> device;
  Nanos own_cpu = 0;
};

Edge sample(const Options& options) {
  Edge edge{.when = monotonic_nanos(), .server = {}, .device = {}};
  if (options.server_pid > 0) edge.server = read_process(options.server_pid);
  if (!options.floor_dir.empty()) edge.device = read_device(options.floor_dir);
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto nanos = [](const timeval& t) { return Nanos{t.tv_sec} * kSecond + t.tv_usec * kMicrosecond; };
  edge.own_cpu = nanos(usage.ru_utime) + nanos(usage.ru_stime);
  return edge;
}

void add_latency(Metrics& metrics, const std::string& prefix, const obs::Histogram& h) {
  if (h.count() == 0) return;
  metrics.set(prefix + "p50_us", to_us(h.percentile(50)));
  metrics.set(prefix + "p90_us", to_us(h.percentile(90)));
  metrics.set(prefix + "p99_us", to_us(h.percentile(99)));
  metrics.set(prefix + "p999_us", to_us(h.percentile(99.9)));
  metrics.set(prefix + "max_us", to_us(h.max()));
  metrics.set(prefix + "mean_us", h.mean() / 1e3);
}

void add_server(RunResult& result, const Edge& a, const Edge& b, double events) {
  Metrics& metrics = result.metrics;
  const double span = static_cast<double>(b.when - a.when);
  metrics.set("bench_cores", ratio(static_cast<double>(b.own_cpu - a.own_cpu), span));
  if (!a.server || !b.server) return;
  const auto cpu = static_cast<double>(b.server->cpu - a.server->cpu);
  metrics.set("server_cpu_us_per_event", ratio(cpu / 1e3, events));
  metrics.set("server_cores", ratio(cpu, span));
  metrics.set("server_rss_mb", static_cast<double>(b.server->rss_bytes) / 1e6);
  metrics.set("server_rss_anon_mb", static_cast<double>(b.server->rss_anon_bytes) / 1e6);
  metrics.set("server_rss_peak_mb", static_cast<double>(b.server->rss_peak_bytes) / 1e6);
  for (const auto& thread : b.server->threads) {
    Nanos before = 0;
    for (const auto& old : a.server->threads) {
      if (old.id == thread.id) before = old.cpu;
    }
    result.server_threads.push_back({thread.name, ratio(static_cast<double>(thread.cpu - before), span)});
  }
}

void add_device(Metrics& metrics, const Edge& a, const Edge& b, double events, double requests,
                double payload) {
  if (!a.device || !b.device || events <= 0) return;
  const auto flushes = static_cast<double>(b.device->flushes - a.device->flushes);
  const auto writes = static_cast<double>(b.device->writes - a.device->writes);
  metrics.set("device_flushes_per_event", flushes / events);
  metrics.set("device_flushes_per_request", ratio(flushes, requests));
  metrics.set("device_flushes_per_s", ratio(flushes * 1e9, static_cast<double>(b.when - a.when)));
  metrics.set("device_writes_per_event", writes / events);
  metrics.set("device_writes_per_request", ratio(writes, requests));
  const auto written = static_cast<double>(b.device->written_bytes - a.device->written_bytes);
  metrics.set("device_bytes_per_payload_byte", ratio(written, payload));
  metrics.set("device_mb_per_s", ratio(written * 1e3, static_cast<double>(b.when - a.when)));
  metrics.set("device_volatile_cache", b.device->volatile_cache ? 1 : 0);
  if (a.server && b.server) {
    metrics.set("server_write_bytes_per_payload_byte",
                ratio(static_cast<double>(b.server->write_bytes - a.server->write_bytes), payload));
  }
}

// Load and fetch threads of one run, with their stop and error handling.
class Threads {
 public:
  ~Threads() { join(); }

  void start(LoadThread& load) {
    loads_.push_back(&load);
    threads_.emplace_back([&load] { load.run(); });
  }
  void start(Fetcher& fetcher, std::string& error) {
    fetchers_.push_back(&fetcher);
    fetch_threads_.emplace_back([&fetcher, &error] {
      if (const Status status = fetcher.run(); !status) error = status.error().message;
    });
  }
  [[nodiscard]] bool loads_finished() const {
    return std::all_of(loads_.begin(), loads_.end(), [](const LoadThread* load) { return load->finished(); });
  }
  void join_loads() {
    for (auto& thread : threads_) thread.join();
    threads_.clear();
  }
  void join() {
    for (LoadThread* load : loads_) load->request_stop();
    for (Fetcher* fetcher : fetchers_) fetcher->request_stop();
    join_loads();
    for (auto& thread : fetch_threads_) thread.join();
    fetch_threads_.clear();
  }

 private:
  std::vector<LoadThread*> loads_;
  std::vector<Fetcher*> fetchers_;
  std::vector<std::thread> threads_;
  std::vector<std::thread> fetch_threads_;
};

Window make_window(const Options& options) {
  Window window;
  window.start = monotonic_nanos() + kStartDelay;
  window.measure_from = window.start + from_seconds(options.warm_up_s);
  window.stop = window.measure_from + from_seconds(options.duration_s);
  window.drain_until = window.stop + from_seconds(options.drain_s);
  return window;
}

// Sleeps until `when`, in steps, or until the loads have ended. With progress lines.
void wait_until(Nanos when, const Threads& threads, const std::vector<std::unique_ptr<LoadThread>>& loads,
                const Options& options) {
  const bool progress = !options.quiet && ::isatty(STDERR_FILENO) != 0;
  std::uint64_t before = 0;
  Nanos next_line = monotonic_nanos() + kSecond;
  while (monotonic_nanos() < when && !threads.loads_finished()) {
    sleep_until(std::min(when, monotonic_nanos() + 10 * kMillisecond));
    if (!progress || monotonic_nanos() < next_line) continue;
    std::uint64_t acked = 0;
    for (const auto& load : loads) acked += load->acked_so_far();
    fmt::print(stderr, "\r  {} events/s   ", acked - before);
    std::fflush(stderr);
    before = acked;
    next_line += kSecond;
  }
  if (progress) fmt::print(stderr, "\r                          \r");
}

std::vector<std::unique_ptr<LoadThread>> make_loads(const RunInput& input) {
  const Options& options = *input.options;
  std::vector<std::unique_ptr<LoadThread>> loads;
  const std::uint32_t count = std::min(options.threads, options.connections);
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::uint32_t first = options.connections * i / count;
    const std::uint32_t last = options.connections * (i + 1) / count;
    loads.push_back(std::make_unique<LoadThread>(
        LoadThread::Plan{.options = input.options,
                         .map = *input.map,
                         .run_id = input.run_id,
                         .first_producer = first,
                         .producers = last - first,
                         .events = options.events * (i + 1) / count - options.events * i / count,
                         .ack_log = input.ack_log}));
  }
  return loads;
}

void add_produce_metrics(RunResult& result, const Options& options, const ProduceStats& stats,
                         double seconds) {
  Metrics& metrics = result.metrics;
  const auto events = static_cast<double>(stats.acked_events);
  metrics.set("events_per_s", ratio(events, seconds));
  metrics.set("mb_per_s", ratio(events * options.event_bytes / 1e6, seconds));
  metrics.set("requests_per_s", ratio(static_cast<double>(stats.acked_requests), seconds));
  metrics.set("events_per_batch", ratio(events, static_cast<double>(stats.acked_batches)));
  metrics.set("acked_events", static_cast<double>(stats.acked_events_ever));
  add_latency(metrics, "", stats.latency.total());
  metrics.set("longest_gap_ms", static_cast<double>(stats.longest_gap) / 1e6);
  metrics.set("unfinished_events", static_cast<double>(stats.unfinished_events));
  metrics.set("retried_batches", static_cast<double>(stats.retried_batches));
  result.ack_seconds = rows_of(stats.latency);
}

void add_consume_metrics(RunResult& result, const ConsumeStats& stats, double seconds) {
  Metrics& metrics = result.metrics;
  metrics.set("consumed_events_per_s", ratio(static_cast<double>(stats.events), seconds));
  metrics.set("consumed_mb_per_s", ratio(static_cast<double>(stats.bytes) / 1e6, seconds));
  metrics.set("consumed_events", static_cast<double>(stats.events_ever));
  add_latency(metrics, "e2e_", stats.latency.total());
  result.end_to_end_seconds = rows_of(stats.latency);
  if (stats.offset_errors > 0)
    result.error = fmt::format("{} batches were not at their offset", stats.offset_errors);
  if (stats.bad_events > 0) result.error = fmt::format("{} consumed events are damaged", stats.bad_events);
}

// Waits for the consumer to have everything that was acknowledged.
void catch_up(const MeasuringSink& sink, std::uint64_t acked, RunResult& result) {
  const Nanos deadline = monotonic_nanos() + kCatchUpTimeout;
  while (sink.run_events() < acked && monotonic_nanos() < deadline) {
    sleep_until(monotonic_nanos() + 5 * kMillisecond);
  }
  if (sink.run_events() < acked && result.error.empty()) {
    result.error = fmt::format("the consumer got {} of {} acknowledged events", sink.run_events(), acked);
  }
}

}  // namespace

RunResult run_produce(const RunInput& input) {
  const Options& options = *input.options;
  RunResult result;
  std::vector<std::int64_t> ends(input.map->leaders.size(), 0);
  if (options.consumers > 0) {
    const auto latest = ClusterClient::list_offsets(*input.map, options.topic, wire::kLatestTimestamp);
    if (!latest) {
      result.error = latest.error().message;
      return result;
    }
    ends = *latest;
  }
  auto loads = make_loads(input);
  MeasuringSink sink(input.run_id, options.check_crc, ends);
  Fetcher fetcher(
      {.options = &options, .map = *input.map, .from = ends, .to = {}, .connections = options.consumers},
      sink);
  std::string fetch_error;
  Threads threads;
  for (const auto& load : loads) {
    if (const Status status = load->prepare(); !status) {
      result.error = status.error().message;
      return result;
    }
  }
  if (options.consumers > 0) {
    if (const Status status = fetcher.prepare(); !status) {
      result.error = status.error().message;
      return result;
    }
  }
  const Window window = make_window(options);
  sink.begin(window);
  if (options.consumers > 0) threads.start(fetcher, fetch_error);
  for (const auto& load : loads) {
    load->begin(window);
    threads.start(*load);
  }
  wait_until(window.measure_from, threads, loads, options);
  const Edge before = sample(options);
  wait_until(window.stop, threads, loads, options);
  const Edge after = sample(options);
  threads.join_loads();
  ProduceStats stats(window);
  for (const auto& load : loads) stats.merge(load->stats());
  result.error = stats.error;
  if (options.consumers > 0 && result.error.empty()) catch_up(sink, stats.acked_events_ever, result);
  threads.join();
  if (!fetch_error.empty()) result.error = fetch_error;  // the cause of whatever the consumer misses

  // A run of a fixed number of events ends with its last acknowledgement, others with the window.
  const Nanos end = options.events > 0 ? std::min(window.stop, stats.last_ack) : window.stop;
  const double seconds = static_cast<double>(std::max<Nanos>(end - window.measure_from, 1)) / 1e9;
  const auto events = static_cast<double>(stats.acked_events);
  add_produce_metrics(result, options, stats, seconds);
  if (options.consumers > 0) add_consume_metrics(result, sink.stats(), seconds);
  add_server(result, before, after, events);
  add_device(result.metrics, before, after, events, static_cast<double>(stats.acked_requests),
             events * options.event_bytes);
  return result;
}

RunResult run_consume(const RunInput& input) {
  const Options& options = *input.options;
  RunResult result;
  const auto from = ClusterClient::list_offsets(*input.map, options.topic, wire::kEarliestTimestamp);
  const auto to = ClusterClient::list_offsets(*input.map, options.topic, wire::kLatestTimestamp);
  if (!from || !to) {
    result.error = (from ? to : from).error().message;
    return result;
  }
  MeasuringSink sink(0, options.check_crc, *from);
  Fetcher fetcher({.options = &options,
                   .map = *input.map,
                   .from = *from,
                   .to = *to,
                   .connections = std::max(options.consumers, 1u)},
                  sink);
  if (const Status status = fetcher.prepare(); !status) {
    result.error = status.error().message;
    return result;
  }
  Options now = options;
  now.warm_up_s = 0;
  const Window window = make_window(now);
  sink.begin(window);
  sleep_until(window.start);
  const Edge before = sample(options);
  std::thread stopper;
  std::atomic<bool> ended{false};
  stopper = std::thread([&] {
    while (!ended.load() && monotonic_nanos() < window.stop)
      sleep_until(monotonic_nanos() + 10 * kMillisecond);
    fetcher.request_stop();
  });
  if (const Status status = fetcher.run(); !status) result.error = status.error().message;
  ended.store(true);
  stopper.join();
  const Edge after = sample(options);
  const ConsumeStats& stats = sink.stats();
  const Nanos end = std::clamp(stats.last_receive, window.start + 1, window.stop);
  add_consume_metrics(result, stats, static_cast<double>(end - window.start) / 1e9);
  result.metrics.set("fetches", static_cast<double>(fetcher.fetches()));
  add_server(result, before, after, static_cast<double>(stats.events_ever));
  return result;
}

void add_floor_metrics(const Floors& floors, Metrics& metrics) {
  metrics.set("floor_write_p50_us", to_us(floors.write.percentile(50)));
  metrics.set("floor_write_p99_us", to_us(floors.write.percentile(99)));
  metrics.set("floor_trip_p50_us", to_us(floors.trip.percentile(50)));
  metrics.set("floor_trip_p99_us", to_us(floors.trip.percentile(99)));
  metrics.set("floor_stream_mb_per_s", floors.stream_mb_per_s());
  metrics.set("floor_p50_us", to_us(floors.p50()));
  metrics.set("floor_p99_us", to_us(floors.p99()));
  const bool loaded = floors.load.count() > 0;
  if (loaded) {
    metrics.set("load_floor_p50_us", to_us(floors.load.percentile(50)));
    metrics.set("load_floor_p99_us", to_us(floors.load.percentile(99)));
    metrics.set("load_floor_p999_us", to_us(floors.load.percentile(99.9)));
  }
  const auto p50 = metrics.get("p50_us");
  const auto p99 = metrics.get("p99_us");
  if (!p50 || !p99) return;
  if (loaded) metrics.set("p99_over_load_floor", ratio(*p99, to_us(floors.load.percentile(99))));
  metrics.set("p50_over_floor", ratio(*p50, to_us(floors.p50())));
  metrics.set("p99_over_floor", ratio(*p99, to_us(floors.p99())));
}

}  // namespace esc::bench
