// Results of fallible calls.
//
// Hot paths return `std::expected<T, Errc>`: one byte, no allocation.
// Cold paths (startup, configuration, recovery, tools) return `Result<T>`, whose `Error` carries a
// sentence for the operator: it names the cause and the fix.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <utility>

namespace esc {

// One table of error codes. A code exists only if some caller reacts to it.
enum class Errc : std::uint8_t {
  ok = 0,
  invalid_argument,  // the caller (operator, client) asked for something impossible
  not_found,         // file, topic, partition or offset does not exist
  already_exists,    //
  out_of_range,      // an offset or size outside the valid range
  no_space,          // ENOSPC, EDQUOT: retriable once space returns
  io_error,          // EIO and every other failed read, write or sync: never retried
  corruption,        // bytes that fail their checksum where they must not
  torn,              // an unfinished write at the tail of a log: expected after a crash
  unsupported,       // version or feature we do not speak
  too_large,         // exceeds a named limit
  busy,              // back-pressure: a bounded queue or pool is full, try again later
  closed,            // the connection or component is shut down
  not_leader,        // this replica cannot accept the proposal
  timeout,           //
  stale_epoch,       // from a producer that a newer one with its id has replaced
  out_of_order,      // a producer's sequence has a gap
};

[[nodiscard]] std::string_view to_string(Errc code);

// Maps a positive errno value. ENOSPC and EDQUOT become no_space, ENOENT not_found, EEXIST
// already_exists, everything unknown io_error.
[[nodiscard]] Errc errc_from_errno(int errno_value);

struct Error {
  Errc code = Errc::ok;
  std::string message;
};

template <class T>
using Result = std::expected<T, Error>;
using Status = std::expected<void, Error>;

[[nodiscard]] inline std::unexpected<Error> fail(Errc code, std::string message) {
  return std::unexpected<Error>(Error{code, std::move(message)});
}

}  // namespace esc
