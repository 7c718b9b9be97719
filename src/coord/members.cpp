// SyncGroup, Heartbeat, LeaveGroup, sessions.
#include <algorithm>

#include "esc/coord/coordinator.h"

namespace esc::coord {

using wire::ErrorCode;

ErrorCode Coordinator::check_member(const Live& group, std::string_view member,
                                    const std::optional<std::string_view>& instance) {
  if (instance) {
    const auto known = group.instances.find(*instance);
    if (known == group.instances.end()) return ErrorCode::unknown_member_id;
    if (known->second != member) return ErrorCode::fenced_instance_id;
  }
  return group.members.contains(member) ? ErrorCode::none : ErrorCode::unknown_member_id;
}

// --- sync
// ---------------------------------------------------------------------------------------------------

void Coordinator::sync(Token token, const wire::SyncGroupRequest& request, Nanos now) {
  if (!leading_) return answer(token, ErrorCode::not_coordinator);
  if (request.group_id.empty()) return answer(token, ErrorCode::invalid_group_id);
  Live* const group = find(request.group_id, now);
  if (group == nullptr) return answer(token, ErrorCode::unknown_member_id);
  const ErrorCode code = [&] {
    if (const ErrorCode member = check_member(*group, request.member_id, request.group_instance_id);
        member != ErrorCode::none)
      return member;
    if (request.generation_id != group->generation) return ErrorCode::illegal_generation;
    const bool other_type = request.protocol_type && *request.protocol_type != group->protocol_type;
    const bool other_name = request.protocol_name && *request.protocol_name != group->protocol_name;
    if (other_type || other_name) return ErrorCode::inconsistent_group_protocol;
    return group->phase == Phase::preparing ? ErrorCode::rebalance_in_progress : ErrorCode::none;
  }();
  if (code != ErrorCode::none) {
    answer(token, code);
    return settle(*group);
  }
  LiveMember& member = group->members.find(request.member_id)->second;
  member.sync_pending = false;
  if (group->phase == Phase::stable) {
    begin_session(*group, member, now);
    answer_sync(*group, member, token, ErrorCode::none);
    return settle(*group);
  }
  answer_sync(*group, member, std::exchange(member.sync, token), ErrorCode::rebalance_in_progress);
  if (group->leader == member.id && !group->storing) {
    group->storing = true;
    for (auto& [id, each] : group->members) each.assignment.clear();
    for (const auto& assigned : request.assignments) {
      const auto owner = group->members.find(assigned.member_id);
      if (owner != group->members.end())
        owner->second.assignment.assign(assigned.assignment.begin(), assigned.assignment.end());
    }
    store_generation(
        *group, {.kind = Completion::Kind::generation, .group = group->id, .generation = group->generation});
    if (options_.plant == Plant::sync_before_commit) finish_generation(*group, now);
  }
  settle(*group);
}

void Coordinator::answer_sync(const Live& group, const LiveMember& member, Token token, ErrorCode code) {
  if (token == 0) return;
  answer(token, code);
  if (code != ErrorCode::none) return;
  answers_.back().protocol_type = group.protocol_type;
  answers_.back().protocol_name = group.protocol_name;
  answers_.back().assignment = member.assignment;
}

// Proposes the group as it is now.
void Coordinator::store_generation(Live& group, Completion completion) {
  Generation stored{group.id, group.generation, group.protocol_type, group.protocol_name, group.leader, {}};
  for (const auto& [id, member] : group.members) stored.members.push_back(&member);
  std::vector<std::byte> command;
  encode_members(stored, command);
  completion.group = group.id;
  if (command.size() <= options_.command_bytes_max) return propose(std::move(command), std::move(completion));
  ++group.in_flight;  // complete() takes it back
  complete(completion, ErrorCode::group_max_size_reached, 0);
}

// The assignment is committed: everybody may have theirs.
void Coordinator::finish_generation(Live& group, Nanos now) {
  group.storing = false;
  group.phase = Phase::stable;
  for (auto& [id, member] : group.members) {
    if (member.sync == 0) continue;
    answer_sync(group, member, std::exchange(member.sync, 0), ErrorCode::none);
    begin_session(group, member, now);
  }
}

// The assignment could not be stored: members that wait for it are told, and the group stays where it is
// until its leader tries again or is given up.
void Coordinator::reset_assignments(Live& group, ErrorCode code) {
  group.storing = false;
  for (auto& [id, member] : group.members) {
    member.assignment.clear();
    if (member.sync == 0) continue;
    member.sync_pending = true;
    answer(std::exchange(member.sync, 0), id == group.leader ? code : ErrorCode::rebalance_in_progress);
  }
}

// --- heartbeat, leave
// -------------------------------------------------------------------------------------------

ErrorCode Coordinator::heartbeat(const wire::HeartbeatRequest& request, Nanos now) {
  if (!leading_) return ErrorCode::not_coordinator;
  if (request.group_id.empty()) return ErrorCode::invalid_group_id;
  Live* const group = find(request.group_id, now);
  if (group == nullptr) return ErrorCode::unknown_member_id;
  ErrorCode code = check_member(*group, request.member_id, request.group_instance_id);
  if (code == ErrorCode::none && request.generation_id != group->generation)
    code = ErrorCode::illegal_generation;
  if (code == ErrorCode::none) {
    begin_session(*group, group->members.find(request.member_id)->second, now);
    if (group->phase == Phase::preparing) code = ErrorCode::rebalance_in_progress;
  }
  settle(*group);
  return code;
}

ErrorCode Coordinator::leave(const wire::LeaveGroupRequest& request, std::int16_t version,
                             std::vector<ErrorCode>& members, Nanos now) {
  if (!leading_) return ErrorCode::not_coordinator;
  if (request.group_id.empty()) return ErrorCode::invalid_group_id;
  Live* const group = find(request.group_id, now);
  const auto leave_one = [&](std::string_view id, const std::optional<std::string_view>& instance) {
    if (group == nullptr) return ErrorCode::unknown_member_id;
    if (id.empty() && instance) {  // an administrator names the instance only
      const auto known = group->instances.find(*instance);
      if (known == group->instances.end()) return ErrorCode::unknown_member_id;
      remove_member(*group, std::string(known->second), now);
      return ErrorCode::none;
    }
    if (const auto pending = group->pending.find(id); pending != group->pending.end()) {
      group->pending.erase(pending);
      if (group->phase == Phase::preparing) try_complete_join(*group, now);
      return ErrorCode::none;
    }
    const ErrorCode code = check_member(*group, id, instance);
    if (code == ErrorCode::none) remove_member(*group, std::string(id), now);
    return code;
  };
  if (version < 3) {
    const ErrorCode code = leave_one(request.member_id, std::nullopt);
    if (group != nullptr) settle(*group);
    return code;
  }
  for (const auto& member : request.members)
    members.push_back(leave_one(member.member_id, member.group_instance_id));
  if (group != nullptr) settle(*group);
  return ErrorCode::none;
}

void Coordinator::erase_member(Live& group, const std::string& id) {
  const auto found = group.members.find(id);
  LiveMember& member = found->second;
  // A new member may have timed out in a rebalance that takes long: it shall ask again.
  answer_member(std::exchange(member.join, 0), ErrorCode::unknown_member_id, "");
  answer(std::exchange(member.sync, 0), ErrorCode::unknown_member_id);
  if (member.instance) group.instances.erase(*member.instance);
  const bool leader = group.leader == id;
  group.members.erase(found);
  if (leader) group.leader = group.members.empty() ? std::string() : group.members.begin()->first;
}

void Coordinator::remove_member(Live& group, const std::string& id, Nanos now) {
  erase_member(group, id);
  if (group.phase == Phase::stable || group.phase == Phase::completing) prepare(group, now);
  if (group.phase != Phase::preparing) return;
  if (group.members.empty() && group.pending.empty()) return become_empty(group);
  try_complete_join(group, now);
}

// --- sessions
// -----------------------------------------------------------------------------------------------------

void Coordinator::begin_session(Live& group, LiveMember& member, Nanos now) {
  member.deadline = now + Nanos{member.session_timeout_ms} * kMillisecond;
  arm(group, member.deadline);
}

void Coordinator::check_deadlines(Live& group, Nanos now) {
  const std::size_t pending =
      std::erase_if(group.pending, [now](const auto& each) { return each.second <= now; });
  std::vector<std::string> expired;
  for (auto& [id, member] : group.members) {
    if (member.deadline > now) continue;
    const bool waits = !member.fresh && (member.join != 0 || member.sync != 0);
    if (waits) {
      begin_session(group, member, now);  // it is we who let it wait
    } else {
      expired.push_back(id);
    }
  }
  stats_.members_expired += expired.size();
  if ((group.phase == Phase::completing || group.phase == Phase::stable) && group.sync_deadline <= now) {
    group.sync_deadline = kNever;
    for (const auto& [id, member] : group.members) {
      if (member.sync_pending && std::ranges::find(expired, id) == expired.end()) expired.push_back(id);
    }
  }
  for (const std::string& id : expired) {
    if (group.members.contains(id)) remove_member(group, id, now);
  }
  if (group.phase != Phase::preparing) return;
  if (pending > 0) try_complete_join(group, now);
  if (group.phase != Phase::preparing || group.join_deadline > now) return;
  if (group.initial_until > now && group.member_added) {
    group.member_added = false;
    group.join_deadline = std::min(now + options_.initial_rebalance_delay, group.initial_until);
    return;
  }
  complete_join(group, now);
}

}  // namespace esc::coord
