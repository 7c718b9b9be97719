// Whether TCP ports of this machine are free, and who has them.
#pragma once

#include <cstdint>
#include <string>

#include "esc/base/result.h"

namespace esc::esctl {

// Errc::already_exists when something listens on 127.0.0.1 at that port; the message names the port,
// `purpose`, the process as far as this user may see it, and what to do.
[[nodiscard]] Status check_port_free(std::uint16_t port, const std::string& purpose);

}  // namespace esc::esctl
