// escd --force-sole-voter: a stopped node goes on without the others, whose disks are lost.
#pragma once

#include <string>

#include "esc/app/config.h"

namespace esc::app {

// Prints what is here and what it means. Only when `confirmed` is the cluster's id is anything changed: every
// group's data become the only member at the next start. Exit code: 0 done, 1 refused or failed, 2 not
// confirmed.
[[nodiscard]] int force_sole_voter(const Config& config, const std::string& confirmed);

}  // namespace esc::app
