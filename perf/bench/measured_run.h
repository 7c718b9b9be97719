// One repeat of a producing or consuming session: threads, the measured window, and what came of it.
#pragma once

#include "ack_log.h"
#include "cluster.h"
#include "esc/base/result.h"
#include "options.h"
#include "probes.h"
#include "report.h"

namespace esc::bench {

struct RunInput {
  const Options* options = nullptr;
  const ClusterMap* map = nullptr;
  AckLogWriter* ack_log = nullptr;
  std::uint64_t run_id = 0;
};

[[nodiscard]] RunResult run_produce(const RunInput& input);
[[nodiscard]] RunResult run_consume(const RunInput& input);
// floor_*, and how far the run's latencies are above them.
void add_floor_metrics(const Floors& floors, Metrics& metrics);

}  // namespace esc::bench
