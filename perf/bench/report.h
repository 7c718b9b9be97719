// Results as named numbers, their spread over repeats, and the three ways out: text, JSON, budget.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "esc/base/result.h"
#include "options.h"
#include "stats.h"

namespace esc::bench {

// Named numbers in order of insertion. Units go last in the name: p99_us, rss_peak_mb.
class Metrics {
 public:
  void set(std::string_view name, double value);
  [[nodiscard]] std::optional<double> get(std::string_view name) const;
  [[nodiscard]] const std::vector<std::pair<std::string, double>>& all() const { return values_; }

 private:
  std::vector<std::pair<std::string, double>> values_;
};

struct SecondRow {
  std::uint64_t events = 0;
  double p50_us = 0;
  double p99_us = 0;
  double p999_us = 0;
  double max_us = 0;
};
[[nodiscard]] std::vector<SecondRow> rows_of(const LatencySeries& series);

struct ThreadShare {
  std::string name;
  double cores = 0;  // CPU seconds per second
};

struct RunResult {
  Metrics metrics;
  std::vector<SecondRow> ack_seconds;  // acknowledgement latency by the second in which events were due
  std::vector<SecondRow> end_to_end_seconds;
  std::vector<ThreadShare> server_threads;
  std::string error;  // empty: the run is valid
};

struct Spread {
  double min = 0;
  double median = 0;
  double max = 0;
};
struct Report {
  std::vector<RunResult> runs;
  std::vector<std::string> violations;  // of the budget or of --require-durable
  // Over the runs that have the metric; names in the order of the first run.
  [[nodiscard]] std::vector<std::pair<std::string, Spread>> spread() const;
};

// "produce, open loop 70000 events/s, ..." for people.
[[nodiscard]] std::string describe(const Options& options);
void print_run(const Options& options, const RunResult& run, std::uint32_t number);
void print_summary(const Options& options, const Report& report);
[[nodiscard]] Status write_json(const std::string& path, const Options& options, const Report& report);

// Compares medians with the table [<label>] of a TOML file: `p99_us_max = 3000`, `events_per_s_min = 800000`.
// Appends what is violated to report.violations; an error means that the budget itself is unusable.
[[nodiscard]] Status check_budget(const std::string& path, const std::string& label, Report& report);

}  // namespace esc::bench
