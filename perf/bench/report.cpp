#include "report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include <toml++/toml.h>

namespace esc::bench {

namespace {

std::string_view codec_name(wire::Codec codec) {
  switch (codec) {
    case wire::Codec::none: return "none";
    case wire::Codec::gzip: return "gzip";
    case wire::Codec::snappy: return "snappy";
    case wire::Codec::lz4: return "lz4";
    case wire::Codec::zstd: return "zstd";
  }
  return "?";
}

std::string_view mode_name(Mode mode) {
  switch (mode) {
    case Mode::produce: return "produce";
    case Mode::consume: return "consume";
    case Mode::end_to_end: return "e2e";
    case Mode::verify: return "verify";
    case Mode::floors: return "floor";
  }
  return "?";
}

// 1234567 -> 1,234,567
std::string grouped(double value) {
  const std::string digits = fmt::format("{:.0f}", value);
  std::string out;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    const bool boundary = i > 0 && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-';
    if (boundary) out += ',';
    out += digits[i];
  }
  return out;
}

std::string json_text(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string json_number(double value) {
  return std::isfinite(value) ? fmt::format("{}", value) : "null";
}

std::string json_rows(const std::vector<SecondRow>& rows) {
  std::string out = "[";
  for (const SecondRow& row : rows) {
    if (out.size() > 1) out += ", ";
    out += fmt::format("{{\"events\": {}, \"p50_us\": {}, \"p99_us\": {}, \"p999_us\": {}, \"max_us\": {}}}",
                       row.events, json_number(row.p50_us), json_number(row.p99_us), json_number(row.p999_us),
                       json_number(row.max_us));
  }
  return out + "]";
}

std::string json_run(const RunResult& run) {
  std::string out = "    {\"error\": " + json_text(run.error) + ",\n     \"metrics\": {";
  bool first = true;
  for (const auto& [name, value] : run.metrics.all()) {
    out += fmt::format("{}{}: {}", first ? "" : ", ", json_text(name), json_number(value));
    first = false;
  }
  out += "},\n     \"server_threads\": {";
  first = true;
  for (const ThreadShare& thread : run.server_threads) {
    out += fmt::format("{}{}: {}", first ? "" : ", ", json_text(thread.name), json_number(thread.cores));
    first = false;
  }
  out += "},\n     \"ack_seconds\": " + json_rows(run.ack_seconds);
  out += ",\n     \"end_to_end_seconds\": " + json_rows(run.end_to_end_seconds) + "}";
  return out;
}

std::string json_options(const Options& o) {
  return fmt::format(
      "{{\"mode\": {}, \"topic\": {}, \"partitions\": {}, \"event_bytes\": {}, \"keyed\": {}, \"acks\": {}, "
      "\"compression\": {}, \"rate\": {}, \"window\": {}, \"batch_events\": {}, \"request_batches\": {}, "
      "\"linger_us\": {}, \"requests_in_flight\": {}, \"connections\": {}, \"threads\": {}, \"consumers\": "
      "{}, "
      "\"duration_s\": {}, \"warm_up_s\": {}, \"repeat\": {}}}",
      json_text(mode_name(o.mode)), json_text(o.topic), o.partitions, o.event_bytes, o.keyed, o.acks,
      json_text(codec_name(o.codec)), json_number(o.rate), o.window, o.batch_events, o.request_batches,
      o.linger_us, o.requests_in_flight, o.connections, o.threads, o.consumers, json_number(o.duration_s),
      json_number(o.warm_up_s), o.repeat);
}

// Prints "  title    text" unless every metric it needs is missing.
class Lines {
 public:
  explicit Lines(const Metrics& metrics) : metrics_(metrics) {}
  [[nodiscard]] bool has(std::string_view name) const { return metrics_.get(name).has_value(); }
  [[nodiscard]] double operator()(std::string_view name) const { return metrics_.get(name).value_or(0); }
  static void line(std::string_view title, const std::string& text) {
    fmt::print("  {:<11}{}\n", title, text);
  }

 private:
  const Metrics& metrics_;
};

void print_latency(const Lines& m, std::string_view title, std::string_view prefix, std::string_view note) {
  const std::string p(prefix);
  if (!m.has(p + "p50_us")) return;
  Lines::line(title, fmt::format("p50 {}  p90 {}  p99 {}  p99.9 {}  max {} us {}", grouped(m(p + "p50_us")),
                                 grouped(m(p + "p90_us")), grouped(m(p + "p99_us")),
                                 grouped(m(p + "p999_us")), grouped(m(p + "max_us")), note));
}

void print_server(const Lines& m, const RunResult& run) {
  if (!m.has("server_cpu_us_per_event")) return;
  std::string threads;
  for (const ThreadShare& thread : run.server_threads) {
    if (thread.cores >= 0.01) threads += fmt::format(" {} {:.2f}", thread.name, thread.cores);
  }
  Lines::line("server", fmt::format("CPU {:.2f} us/event, {:.2f} cores ({}), RSS {:.0f} MB, peak {:.0f} MB",
                                    m("server_cpu_us_per_event"), m("server_cores"),
                                    threads.empty() ? "" : threads.substr(1), m("server_rss_mb"),
                                    m("server_rss_peak_mb")));
}

}  // namespace

void Metrics::set(std::string_view name, double value) {
  values_.emplace_back(name, value);
}

std::optional<double> Metrics::get(std::string_view name) const {
  for (const auto& [key, value] : values_) {
    if (key == name) return value;
  }
  return std::nullopt;
}

std::vector<SecondRow> rows_of(const LatencySeries& series) {
  std::vector<SecondRow> rows;
  const auto us = [](Nanos nanos) { return static_cast<double>(nanos) / 1000.0; };
  for (std::size_t i = 0; i < series.seconds(); ++i) {
    const obs::Histogram& h = series.second(i);
    rows.push_back({.events = h.count(),
                    .p50_us = us(h.percentile(50)),
                    .p99_us = us(h.percentile(99)),
                    .p999_us = us(h.percentile(99.9)),
                    .max_us = us(h.max())});
  }
  return rows;
}

std::vector<std::pair<std::string, Spread>> Report::spread() const {
  std::vector<std::pair<std::string, Spread>> out;
  if (runs.empty()) return out;
  for (const auto& [name, ignored] : runs.front().metrics.all()) {
    std::vector<double> values;
    for (const RunResult& run : runs) {
      if (const auto value = run.metrics.get(name)) values.push_back(*value);
    }
    std::sort(values.begin(), values.end());
    const std::size_t n = values.size();
    out.emplace_back(name, Spread{.min = values.front(),
                                  .median = (values[(n - 1) / 2] + values[n / 2]) / 2,
                                  .max = values.back()});
  }
  return out;
}

std::string describe(const Options& o) {
  if (o.mode == Mode::floors) return "floor: what no durable produce can avoid";
  if (o.mode == Mode::consume) {
    return fmt::format("consume: topic {}, {} connection(s){}", o.topic, std::max(o.consumers, 1u),
                       o.check_crc ? ", every event checked" : "");
  }
  const std::string load =
      o.rate > 0 ? fmt::format("open loop {} events/s, linger {} us", grouped(o.rate), o.linger_us)
                 : fmt::format("closed loop {} in flight", o.window);
  return fmt::format("{}: {}, batches of {}, {} B events{}, {} partition(s), {} connection(s), acks={}{}{}",
                     mode_name(o.mode), load, o.batch_events, o.event_bytes, o.keyed ? " with keys" : "",
                     o.partitions, o.connections, o.acks == -1 ? "all" : std::to_string(o.acks),
                     o.codec == wire::Codec::none ? "" : fmt::format(", {}", codec_name(o.codec)),
                     o.consumers > 0 ? fmt::format(", {} consumer(s)", o.consumers) : "");
}

void print_run(const Options& options, const RunResult& run, std::uint32_t number) {
  const Lines m(run.metrics);
  fmt::print("{} [run {}/{}]\n", describe(options), number, options.repeat);
  if (m.has("events_per_s")) {
    Lines::line("acked", fmt::format("{} events/s, {:.1f} MB/s, {} requests/s", grouped(m("events_per_s")),
                                     m("mb_per_s"), grouped(m("requests_per_s"))));
  }
  print_latency(m, "ack", "", "from the intended send time");
  if (m("unfinished_events") > 0) {
    Lines::line("unfinished",
                grouped(m("unfinished_events")) + " events were never acknowledged (in the latencies)");
  }
  if (m.has("consumed_events_per_s")) {
    Lines::line("consumed", fmt::format("{} events/s, {:.1f} MB/s", grouped(m("consumed_events_per_s")),
                                        m("consumed_mb_per_s")));
  }
  print_latency(m, "end to end", "e2e_", "until the consumer has it");
  if (m.has("floor_p50_us")) {
    std::string text = fmt::format(
        "16 KiB dsync write p50 {:.0f} p99 {:.0f}, round trip p50 {:.0f} p99 {:.0f} us, 1 MiB writes {:.0f} "
        "MB/s",
        m("floor_write_p50_us"), m("floor_write_p99_us"), m("floor_trip_p50_us"), m("floor_trip_p99_us"),
        m("floor_stream_mb_per_s"));
    if (m.has("p50_over_floor")) {
      text += fmt::format("; ack p50 is {:.2f} x, p99 {:.2f} x the floor", m("p50_over_floor"),
                          m("p99_over_floor"));
    }
    Lines::line("floor", text);
    if (m.has("load_floor_p99_us")) {
      Lines::line("bare logs",
                  fmt::format("the same bytes without a server: p50 {:.0f}  p99 {:.0f}  p99.9 {:.0f} us",
                              m("load_floor_p50_us"), m("load_floor_p99_us"), m("load_floor_p999_us")));
    }
  }
  print_server(m, run);
  if (m.has("device_flushes_per_request")) {
    Lines::line(
        "device",
        fmt::format("{:.3f} flushes and {:.3f} writes per request, {:.4f} flushes per event, "
                    "{:.2f} bytes per byte of payload, {:.0f} MB/s",
                    m("device_flushes_per_request"), m("device_writes_per_request"),
                    m("device_flushes_per_event"), m("device_bytes_per_payload_byte"), m("device_mb_per_s")));
  }
  if (!run.error.empty()) Lines::line("FAILED", run.error);
  std::fflush(stdout);
}

void print_summary(const Options& options, const Report& report) {
  if (report.runs.size() > 1) {
    fmt::print("over {} runs: min / median / max\n", report.runs.size());
    for (const auto& [name, spread] : report.spread()) {
      fmt::print("  {:<32}{:>14.6g}{:>14.6g}{:>14.6g}\n", name, spread.min, spread.median, spread.max);
    }
  }
  for (const std::string& violation : report.violations) {
    fmt::print("OVER BUDGET{}: {}\n", options.label.empty() ? "" : " (" + options.label + ")", violation);
  }
  std::fflush(stdout);
}

Status write_json(const std::string& path, const Options& options, const Report& report) {
  std::string out =
      fmt::format("{{\"label\": {},\n \"description\": {},\n \"options\": {},\n \"spread\": {{",
                  json_text(options.label), json_text(describe(options)), json_options(options));
  bool first = true;
  for (const auto& [name, s] : report.spread()) {
    out += fmt::format("{}\n  {}: {{\"min\": {}, \"median\": {}, \"max\": {}}}", first ? "" : ",",
                       json_text(name), json_number(s.min), json_number(s.median), json_number(s.max));
    first = false;
  }
  out += "},\n \"violations\": [";
  first = true;
  for (const std::string& violation : report.violations) {
    out += (first ? "" : ", ") + json_text(violation);
    first = false;
  }
  out += "],\n \"runs\": [\n";
  first = true;
  for (const RunResult& run : report.runs) {
    out += (first ? "" : ",\n") + json_run(run);
    first = false;
  }
  out += "\n ]}\n";
  std::FILE* file = path == "-" ? stdout : std::fopen(path.c_str(), "w");
  if (file == nullptr)
    return fail(errc_from_errno(errno), "cannot write " + path + ": " + std::strerror(errno));
  const bool good = std::fwrite(out.data(), 1, out.size(), file) == out.size() && std::fflush(file) == 0;
  if (file != stdout) std::fclose(file);
  if (!good) return fail(Errc::io_error, "cannot write " + path);
  return {};
}

Status check_budget(const std::string& path, const std::string& label, Report& report) {
  toml::table file;
  try {
    file = toml::parse_file(path);
  } catch (const toml::parse_error& error) {
    return fail(Errc::invalid_argument, path + ": " + std::string(error.description()));
  }
  const toml::table* budget = file[label].as_table();
  if (budget == nullptr) return fail(Errc::not_found, path + " has no table [" + label + "]");
  const auto medians = report.spread();
  for (const auto& [key, node] : *budget) {
    const std::string name(key.str());
    const auto limit = node.value<double>();
    const bool upper = name.ends_with("_max");
    if (!limit || (!upper && !name.ends_with("_min"))) {
      return fail(Errc::invalid_argument, path + ": [" + label + "] " + name +
                                              ": expected <metric>_max or <metric>_min with a number");
    }
    const std::string metric = name.substr(0, name.size() - 4);
    const auto found =
        std::find_if(medians.begin(), medians.end(), [&](const auto& m) { return m.first == metric; });
    if (found == medians.end()) {
      return fail(Errc::not_found, path + ": [" + label + "] " + name + ": this run has no metric " + metric);
    }
    const double value = found->second.median;
    const bool good = upper ? value <= *limit : value >= *limit;
    if (!good) {
      report.violations.push_back(
          fmt::format("{} is {:.6g}, {} is {:.6g}", metric, value, upper ? "at most" : "at least", *limit));
    }
  }
  return {};
}

}  // namespace esc::bench
