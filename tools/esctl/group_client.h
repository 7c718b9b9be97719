// What commands about consumer groups need: the group's coordinator, wherever it is right now.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cluster_client.h"
#include "esc/wire/api/group_lag.h"
#include "esc/wire/error_code.h"

namespace esc::esctl {

// Trouble of coordinators that passes by itself.
[[nodiscard]] bool coordinator_moves(wire::ErrorCode code);

// Calls ask(client) with the group's coordinator, and again with the next one while it answers that it is
// none. What the last answer said is returned.
using AskCoordinator = std::function<Result<wire::ErrorCode>(Client&)>;
[[nodiscard]] Result<wire::ErrorCode> ask_coordinator(const Bootstrap& bootstrap, std::string_view group,
                                                      Deadline deadline, const AskCoordinator& ask);

// Errc::not_found: no such group.
[[nodiscard]] Result<Reply<wire::GroupLagResponse>> fetch_lag(const Bootstrap& bootstrap,
                                                              std::string_view group, Deadline deadline);

// The failure of a command about a group. Errc::not_found when there is none.
[[nodiscard]] Error group_error(std::string what, wire::ErrorCode code);

}  // namespace esc::esctl
