#include "esc/ops/pages.h"

#include <fmt/format.h>

#include <utility>

#include "esc/base/assert.h"

namespace esc::ops {
namespace {

// https://prometheus.io/docs/instrumenting/exposition_formats/
constexpr std::string_view kMetricsType = "text/plain; version=0.0.4; charset=utf-8";
constexpr std::string_view kJsonType = "application/json";
constexpr unsigned kOk = 200;
constexpr unsigned kUnavailable = 503;

std::string metrics_text(const obs::Registry& registry, const BuildInfo& build) {
  std::string text;
  registry.write_prometheus(text);
  write_process_metrics(text);
  text += fmt::format(
      "# HELP esc_build_info What escd was built from; always 1.\n# TYPE esc_build_info gauge\n"
      "esc_build_info{{version=\"{}\",commit=\"{}\"}} 1\n",
      build.version, build.commit);
  return text;
}

HttpAnswer ready_answer(NodeState state) {
  return {.status = state == NodeState::ready ? kOk : kUnavailable,
          .content_type = std::string(kJsonType),
          .body = fmt::format("{{\"status\":\"{}\"}}\n", to_string(state))};
}

}  // namespace

std::string_view to_string(NodeState state) {
  switch (state) {
    case NodeState::starting: return "starting";
    case NodeState::ready: return "ready";
    case NodeState::stopping: return "stopping";
  }
  ESC_UNREACHABLE("node state");
}

std::vector<HttpPage> node_pages(const obs::Registry& registry, BuildInfo build,
                                 std::function<NodeState()> state) {
  std::vector<HttpPage> pages;
  pages.push_back({.path = "/metrics",
                   .meaning = "metrics in Prometheus' text format",
                   .make = [&registry, build = std::move(build)]() -> HttpAnswer {
                     return {.content_type = std::string(kMetricsType),
                             .body = metrics_text(registry, build)};
                   }});
  pages.push_back({.path = "/livez", .meaning = "200 while the process runs", .make = []() -> HttpAnswer {
                     return {.content_type = std::string(kJsonType), .body = "{\"status\":\"alive\"}\n"};
                   }});
  pages.push_back({.path = "/readyz",
                   .meaning = "200 while clients are served, else 503",
                   .make = [state = std::move(state)] { return ready_answer(state()); }});
  return pages;
}

}  // namespace esc::ops
