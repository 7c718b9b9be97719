// A whole node: data directory, shards on their threads, housekeeping, orderly start and end.
// Threading: run() is the main thread.
#pragma once

#include "esc/app/config.h"
#include "esc/topo/placement.h"

namespace esc::app {

// Runs until SIGTERM or SIGINT, or a failure. Returns the process exit code: 0 after a clean end, 1
// otherwise (the cause is logged).
[[nodiscard]] int run_node(const Config& config, const topo::Plan& plan);

}  // namespace esc::app
