#include "session.h"

#include <fmt/format.h>

#include <memory>
#include <random>

#include "bare_log.h"
#include "consume.h"
#include "esc/wire/api/list_offsets.h"
#include "measured_run.h"

namespace esc::bench {

namespace {

constexpr Nanos kFloorSpan = 400 * kMillisecond;
constexpr Nanos kLeaderTimeout = 30 * kSecond;
// Of requests with one in flight: a flush that falls on the window's edge may be missing.
constexpr double kFlushesPerRequestMin = 0.98;

int report_error(const Error& error) {
  fmt::print(stderr, "esc-bench: {}\n", error.message);
  return kExitFailed;
}

// The topic with as many partitions as asked for, each with a leader.
Result<ClusterMap> prepare_topic(const Options& options, bool create) {
  const auto bootstrap = parse_address(options.bootstrap);
  if (!bootstrap) return std::unexpected(bootstrap.error());
  auto client = ClusterClient::open(*bootstrap);
  if (!client) return std::unexpected(client.error());
  if (create) {
    const auto known = (*client)->metadata(options.topic);
    if (!known && known.error().code != Errc::not_found) return known;
    if (!known) {
      const Status made = (*client)->create_topic(options);
      if (!made) return std::unexpected(made.error());
    }
  }
  auto map = (*client)->wait_for_leaders(options.topic, create ? kLeaderTimeout : kSecond);
  if (map && create && map->leaders.size() != options.partitions) {
    return fail(
        Errc::invalid_argument,
        fmt::format("topic '{}' exists with {} partitions, not {}: choose another --topic or --partitions {}",
                    options.topic, map->leaders.size(), options.partitions, map->leaders.size()));
  }
  return map;
}

// With one request in flight and a device that caches writes, an acknowledgement that is durable has its own
// flush. More in flight share flushes, so nothing follows from their number.
void check_durable(const Options& options, Report& report) {
  if (!options.require_durable) return;
  for (const RunResult& run : report.runs) {
    const auto flushes = run.metrics.get("device_flushes_per_request");
    if (!flushes) {
      report.violations.push_back("--require-durable needs --floor-dir on a block device");
    } else if (run.metrics.get("device_volatile_cache") == 0.0) {
      continue;  // every completed write is stable
    } else if (options.window == 1 && options.connections == 1 && *flushes < kFlushesPerRequestMin) {
      report.violations.push_back(
          fmt::format("only {:.3f} device flushes per acknowledged request", *flushes));
    } else if (*flushes <= 0) {
      report.violations.push_back("no device flush at all while events were acknowledged");
    }
  }
}

int finish(const Options& options, Report& report) {
  check_durable(options, report);
  if (!options.budget_path.empty()) {
    if (const Status status = check_budget(options.budget_path, options.label, report); !status) {
      return report_error(status.error());
    }
  }
  print_summary(options, report);
  if (!options.json_path.empty()) {
    if (const Status status = write_json(options.json_path, options, report); !status) {
      return report_error(status.error());
    }
  }
  bool good = report.violations.empty();
  for (const RunResult& run : report.runs) good = good && run.error.empty();
  return good ? kExitOk : kExitFailed;
}

}  // namespace

int run_session(Options options) {
  const bool produces = options.mode == Mode::produce || options.mode == Mode::end_to_end;
  if (options.mode == Mode::end_to_end && options.consumers == 0) options.consumers = 1;
  Result<ClusterMap> map = ClusterMap{};
  if (options.mode != Mode::floors) {
    map = prepare_topic(options, produces && options.create_topic);
    if (!map) return report_error(map.error());
    options.partitions = static_cast<std::uint32_t>(map->leaders.size());
  }
  std::unique_ptr<AckLogWriter> ack_log;
  if (produces && !options.ack_logs.empty()) {
    auto opened = AckLogWriter::open(options.ack_logs.front(), options.topic);
    if (!opened) return report_error(opened.error());
    ack_log = std::move(*opened);
  }
  std::random_device entropy;
  Report report;
  for (std::uint32_t i = 0; i < options.repeat; ++i) {
    const auto floors = std::make_unique<Floors>();
    const auto measure = [&]() -> Status {
      if (options.floor_dir.empty()) return {};
      if (const Status status = measure_floors(*floors, options.floor_dir, options.event_bytes, kFloorSpan);
          !status)
        return status;
      if (options.floor_nodes == 0 || options.rate <= 0) return {};
      return measure_bare_log(floors->load, {.dir = options.floor_dir,
                                             .bytes_per_s = options.rate * options.event_bytes,
                                             .interval = Nanos{options.linger_us} * kMicrosecond,
                                             .nodes = options.floor_nodes});
    };
    if (const Status status = measure(); !status) return report_error(status.error());
    const RunInput input{.options = &options,
                         .map = &*map,
                         .ack_log = ack_log.get(),
                         .run_id = (std::uint64_t{entropy()} << 32 | entropy()) | 1};
    RunResult result;
    if (produces) result = run_produce(input);
    if (options.mode == Mode::consume) result = run_consume(input);
    // Before and after, so that a disk that changed its mind in between counts half.
    if (const Status status = measure(); !status) return report_error(status.error());
    if (!options.floor_dir.empty()) add_floor_metrics(*floors, result.metrics);
    if (ack_log != nullptr && !ack_log->flush()) result.error = "cannot write the ack log";
    if (!options.quiet) print_run(options, result, i + 1);
    if (options.quiet && !result.error.empty()) fmt::print(stderr, "esc-bench: {}\n", result.error);
    const bool failed = !result.error.empty();
    report.runs.push_back(std::move(result));
    if (failed) break;
  }
  return finish(options, report);
}

int run_verify(const Options& options) {
  const auto acked = read_ack_logs(options.ack_logs, options.topic);
  if (!acked) return report_error(acked.error());
  const auto map = prepare_topic(options, false);
  if (!map) return report_error(map.error());
  auto from = ClusterClient::list_offsets(*map, options.topic, wire::kEarliestTimestamp);
  if (!from) return report_error(from.error());
  const auto to = ClusterClient::list_offsets(*map, options.topic, wire::kLatestTimestamp);
  if (!to) return report_error(to.error());
  if (options.verify_from_acked) {
    for (std::size_t p = 0; p < from->size(); ++p) {
      std::int64_t first = (*to)[p];
      for (const AckedRange& range : *acked) {
        if (range.partition == p) first = std::min(first, range.base_offset);
      }
      (*from)[p] = std::max((*from)[p], first);
    }
  }
  VerifyingSink sink(*acked, *from);
  Fetcher fetcher({.options = &options,
                   .map = *map,
                   .from = *from,
                   .to = *to,
                   .connections = std::max(options.consumers, 1u)},
                  sink);
  if (const Status status = fetcher.prepare(); !status) return report_error(status.error());
  if (const Status status = fetcher.run(); !status) return report_error(status.error());
  sink.finish();
  const VerifyingSink::Report& found = sink.report();
  const bool sound = found.sound();
  if (!options.quiet || !sound) {
    fmt::print("verify: {} events in {} partitions, {} of {} acknowledged found\n", found.events,
               map->leaders.size(), found.acked_found, found.acked_events);
    fmt::print("  lost {}, wrong {}, damaged {}, misplaced {}, offset gaps {}, reordered {}\n", found.lost,
               found.wrong, found.damaged, found.misplaced, found.offset_gaps, found.reordered);
    fmt::print("  sent twice {}, present but not in the ack log {} (both allowed)\n", found.duplicates,
               found.unacknowledged);
    for (const std::string& example : found.examples) fmt::print("  {}\n", example);
    fmt::print("{}\n", sound ? "sound: nothing acknowledged is missing" : "NOT SOUND");
  }
  if (!options.json_path.empty()) {
    Report report;
    report.runs.emplace_back();
    Metrics& metrics = report.runs.back().metrics;
    metrics.set("sound", sound ? 1 : 0);
    metrics.set("events", static_cast<double>(found.events));
    metrics.set("acked_events", static_cast<double>(found.acked_events));
    metrics.set("acked_found", static_cast<double>(found.acked_found));
    metrics.set("lost", static_cast<double>(found.lost));
    metrics.set("wrong", static_cast<double>(found.wrong));
    metrics.set("damaged", static_cast<double>(found.damaged));
    metrics.set("misplaced", static_cast<double>(found.misplaced));
    metrics.set("offset_gaps", static_cast<double>(found.offset_gaps));
    metrics.set("reordered", static_cast<double>(found.reordered));
    metrics.set("duplicates", static_cast<double>(found.duplicates));
    metrics.set("unacknowledged", static_cast<double>(found.unacknowledged));
    if (const Status status = write_json(options.json_path, options, report); !status) {
      return report_error(status.error());
    }
  }
  return sound ? kExitOk : kExitFailed;
}

}  // namespace esc::bench
