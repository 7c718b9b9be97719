// How esctl ends: exit codes, and the failures that lead to them.
#pragma once

#include <string>
#include <utility>

#include "esc/base/result.h"
#include "esc/wire/error_code.h"

namespace esc::esctl {

// Scripts rely on these; they are part of the interface (esctl --help lists them).
enum ExitCode : int {
  kExitOk = 0,
  kExitFailure = 1,
  kExitUsage = 2,
  kExitNotFound = 3,
  kExitTimeout = 5,
  kExitDegraded = 10,   // every group commits, but a node is down or far behind
  kExitUnhealthy = 11,  // some group does not commit
};

[[nodiscard]] constexpr const char* health_name(ExitCode code) {
  return code == kExitOk ? "healthy" : code == kExitDegraded ? "degraded" : "unhealthy";
}

[[nodiscard]] constexpr ExitCode exit_code(Errc code) {
  switch (code) {
    case Errc::ok: return kExitOk;
    case Errc::not_found: return kExitNotFound;
    case Errc::timeout: return kExitTimeout;
    case Errc::invalid_argument:
    case Errc::already_exists:
    case Errc::out_of_range:
    case Errc::no_space:
    case Errc::io_error:
    case Errc::corruption:
    case Errc::torn:
    case Errc::unsupported:
    case Errc::too_large:
    case Errc::busy:
    case Errc::closed:
    case Errc::not_leader:
    case Errc::stale_epoch:
    case Errc::out_of_order: return kExitFailure;
  }
  return kExitFailure;
}

// The error an answer carries, as a failure of the command. `detail` is the server's own sentence, if any.
[[nodiscard]] inline Error server_error(std::string what, wire::ErrorCode code, std::string_view detail) {
  Errc errc = Errc::invalid_argument;
  if (code == wire::ErrorCode::unknown_topic_or_partition) errc = Errc::not_found;
  if (code == wire::ErrorCode::request_timed_out) errc = Errc::timeout;
  if (code == wire::ErrorCode::topic_already_exists) errc = Errc::already_exists;
  what.append(": ").append(wire::to_string(code));
  if (!detail.empty()) what.append(": ").append(detail);
  return Error{errc, std::move(what)};
}

}  // namespace esc::esctl
