#include "esc/base/assert.h"

#include <unistd.h>
#include <cstdio>
#include <cstdlib>

namespace esc {

void assert_failed(const char* expression, const char* file, int line, const char* message) {
  char text[512];
  const int length = std::snprintf(
      text, sizeof text, "escd: internal invariant broken, aborting to protect the log: %s (%s:%d) %s\n",
      expression, file, line, message);
  if (length > 0) {
    const auto size =
        static_cast<std::size_t>(length) < sizeof text ? static_cast<std::size_t>(length) : sizeof text - 1;
    [[maybe_unused]] const auto written = ::write(2, text, size);
  }
  std::abort();
}

}  // namespace esc
