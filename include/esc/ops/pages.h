// What a node shows to operators and to their machines: /metrics, /livez, /readyz.
//
// Threading: the pages are made on the thread of the HttpServer. Making one takes no lock that a data core
// could want. The registry and what `state` refers to outlive the server.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "esc/obs/metrics.h"
#include "esc/ops/http_server.h"

namespace esc::ops {

// Of the process, as far as who sends it traffic is concerned.
enum class NodeState : std::uint8_t {
  starting,  // reads its disks; no client can connect yet
  ready,     // takes clients
  stopping,  // was told to end: hands over and finishes what is in progress
};
[[nodiscard]] std::string_view to_string(NodeState state);

struct BuildInfo {
  std::string version;
  std::string commit;
};

//   /metrics  200, Prometheus' text format 0.0.4: the registry, the process, esc_build_info
//   /livez    200 while the process answers at all; restart it when it does not
//   /readyz   200 when ready, else 503; route clients elsewhere meanwhile
[[nodiscard]] std::vector<HttpPage> node_pages(const obs::Registry& registry, BuildInfo build,
                                               std::function<NodeState()> state);

// The metrics that Prometheus' own client libraries give every process (process_*), appended as text. What
// /proc does not tell is left out.
void write_process_metrics(std::string& out);

}  // namespace esc::ops
