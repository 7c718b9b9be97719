// One invocation: prepares the topic, measures floors, starts producing and consuming threads, samples the
// server at the edges of the measured window, repeats, reports.
#pragma once

#include "options.h"

namespace esc::bench {

// Exit codes of the process.
inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // run failed, budget exceeded, or verification found something
inline constexpr int kExitUsage = 2;

// The value of the process's exit code. Prints results to stdout and errors to stderr.
[[nodiscard]] int run_session(Options options);
[[nodiscard]] int run_verify(const Options& options);

}  // namespace esc::bench
