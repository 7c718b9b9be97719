// Checks of [cluster]: everything that would keep nodes apart, or mistake one for another, is said at the
// start.
#pragma once

#include <string>
#include <vector>

#include "esc/app/config.h"

namespace esc::app {

using Problems = std::vector<std::string>;

// `config.cluster` is configured.
void check_cluster(const Config& config, Problems& problems);

}  // namespace esc::app
