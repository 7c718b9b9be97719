// What this program was built from.
#pragma once

namespace esc::app {

[[nodiscard]] const char* build_commit();  // "unknown" outside a repository

}  // namespace esc::app
