// Assertions that stay on in release builds.
//
// A broken invariant of our own aborts the process: continuing would risk acknowledged events.
// Bad input from outside (sockets, disks, operators) is never an assertion; it is an `Error`.
#pragma once

#include <cstdint>

namespace esc {

// Writes one line to stderr (async-signal-safe) and aborts.
[[noreturn, gnu::cold, gnu::noinline]] void assert_failed(const char* expression, const char* file, int line,
                                                          const char* message);

}  // namespace esc

#define ESC_ASSERT(condition)                                   \
  do {                                                          \
    if (!(condition)) [[unlikely]]                              \
      ::esc::assert_failed(#condition, __FILE__, __LINE__, ""); \
  } while (false)

#define ESC_ASSERT_MSG(condition, message)                           \
  do {                                                               \
    if (!(condition)) [[unlikely]]                                   \
      ::esc::assert_failed(#condition, __FILE__, __LINE__, message); \
  } while (false)

#define ESC_UNREACHABLE(message) ::esc::assert_failed("unreachable", __FILE__, __LINE__, message)
