#include "group_client.h"

#include <fmt/format.h>

#include <thread>

#include "esc/wire/api/find_coordinator.h"
#include "outcome.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;
using wire::ErrorCode;

constexpr auto kRetryPause = std::chrono::milliseconds(20);

// Empty: none right now.
Result<std::string> find_coordinator(const Bootstrap& bootstrap, std::string_view group, Deadline deadline) {
  auto client = connect_any(bootstrap, deadline);
  if (!client) return std::unexpected(client.error());
  const wire::String name = group;
  wire::FindCoordinatorRequest request;
  request.key = group;
  request.coordinator_keys = {&name, 1};
  const auto reply = client->call<wire::FindCoordinatorResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  const auto& answer = reply->message;
  if (answer.coordinators.empty())
    return fail(Errc::corruption, fmt::format("{} names no coordinator", client->address()));
  const auto& found = answer.coordinators[0];
  if (coordinator_moves(found.error_code)) return std::string();
  if (found.error_code != ErrorCode::none)
    return std::unexpected(group_error(fmt::format("group {}", group), found.error_code));
  return fmt::format("{}:{}", found.host, found.port);
}

}  // namespace

bool coordinator_moves(ErrorCode code) {
  return code == ErrorCode::coordinator_load_in_progress || code == ErrorCode::coordinator_not_available ||
         code == ErrorCode::not_coordinator;
}

Result<ErrorCode> ask_coordinator(const Bootstrap& bootstrap, std::string_view group, Deadline deadline,
                                  const AskCoordinator& ask) {
  Error last{Errc::timeout,
             fmt::format("group {} has no coordinator: esctl cluster status shows why", group)};
  do {
    const auto address = find_coordinator(bootstrap, group, deadline);
    if (!address) return std::unexpected(address.error());
    if (!address->empty()) {
      auto client = Client::connect(*address, deadline);
      auto code = client ? ask(*client) : std::unexpected(client.error());
      if (code && !coordinator_moves(*code)) return code;
      if (!code) last = code.error();
    }
    std::this_thread::sleep_for(kRetryPause);
  } while (Clock::now() < deadline);
  return std::unexpected(last);
}

Result<Reply<wire::GroupLagResponse>> fetch_lag(const Bootstrap& bootstrap, std::string_view group,
                                                Deadline deadline) {
  Reply<wire::GroupLagResponse> lag;
  const auto code = ask_coordinator(bootstrap, group, deadline, [&](Client& client) -> Result<ErrorCode> {
    wire::GroupLagRequest request;
    request.group_id = group;
    auto reply = client.call_private<wire::GroupLagResponse>(request);
    if (!reply) return std::unexpected(reply.error());
    lag = std::move(*reply);
    return lag.message.error_code;
  });
  if (!code) return std::unexpected(code.error());
  if (*code != ErrorCode::none) return std::unexpected(group_error(fmt::format("group {}", group), *code));
  return lag;
}

Error group_error(std::string what, ErrorCode code) {
  std::string_view fix;
  if (code == ErrorCode::group_id_not_found) fix = "esctl group list shows what exists";
  if (code == ErrorCode::non_empty_group || code == ErrorCode::unknown_member_id)
    fix = "the group has members: stop them, or wait until their sessions have ended";
  Error error = server_error(std::move(what), code, fix);
  if (code == ErrorCode::group_id_not_found) error.code = Errc::not_found;
  return error;
}

}  // namespace esc::esctl
