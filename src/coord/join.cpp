// JoinGroup, and the rebalance from its beginning to the new generation.
#include <algorithm>

#include "esc/base/assert.h"
#include "esc/coord/coordinator.h"

namespace esc::coord {

using wire::ErrorCode;

namespace {

constexpr std::size_t kGroupIdBytesMax = 1024;
constexpr std::size_t kProtocolsMax = 64;

std::vector<Protocol> to_protocols(const wire::JoinGroupRequest& request) {
  std::vector<Protocol> protocols;
  for (const auto& each : request.protocols) {
    protocols.push_back({std::string(each.name), {each.metadata.begin(), each.metadata.end()}});
  }
  return protocols;
}

std::uint64_t request_bytes(const wire::JoinGroupRequest& request) {
  std::uint64_t bytes = request.protocol_type.size() + request.group_instance_id.value_or("").size();
  for (const auto& each : request.protocols) bytes += each.name.size() + each.metadata.size();
  return bytes;
}

std::uint64_t member_bytes(const Member& member) {
  std::uint64_t bytes = 64 + member.id.size() + member.client_id.size();
  for (const Protocol& each : member.protocols) bytes += 8 + each.name.size() + each.metadata.size();
  return bytes;
}

}  // namespace

struct Coordinator::Joining {
  Token token = 0;
  const wire::JoinGroupRequest& request;
  const JoinContext& context;
  Nanos now = 0;

  [[nodiscard]] std::int32_t rebalance_timeout_ms() const {
    return request.rebalance_timeout_ms < 0 ? request.session_timeout_ms : request.rebalance_timeout_ms;
  }
};

ErrorCode Coordinator::check_join(const wire::JoinGroupRequest& request, const JoinContext& context,
                                  const Live* group) const {
  if (request.session_timeout_ms < options_.session_timeout_ms_min ||
      request.session_timeout_ms > options_.session_timeout_ms_max)
    return ErrorCode::invalid_session_timeout;
  if (request.group_instance_id && request.group_instance_id->empty()) return ErrorCode::invalid_request;
  if (group == nullptr && !request.member_id.empty()) return ErrorCode::unknown_member_id;
  if (group != nullptr && !accepts(*group, request.member_id)) return ErrorCode::group_max_size_reached;
  if (!supports(group, request)) return ErrorCode::inconsistent_group_protocol;
  // Everybody's metadata must fit one command, with as much again for the assignments.
  std::uint64_t bytes = request_bytes(request) + context.client_id.size();
  if (group != nullptr) {
    for (const auto& [id, member] : group->members) {
      if (id != request.member_id) bytes += member_bytes(member);
    }
  }
  return bytes > options_.command_bytes_max / 2 ? ErrorCode::group_max_size_reached : ErrorCode::none;
}

bool Coordinator::accepts(const Live& group, std::string_view member) const {
  const std::size_t max = options_.group_members_max;
  if (group.members.size() + group.pending.size() >= 2 * max + 1) return group.members.contains(member);
  if (group.phase == Phase::empty) return true;
  const auto known = group.members.find(member);
  if (group.phase != Phase::preparing) return known != group.members.end() || group.members.size() < max;
  // Those who have not come back yet may not do so: only who waits counts.
  if (known != group.members.end() && known->second.join != 0) return true;
  const auto waiting =
      std::ranges::count_if(group.members, [](const auto& each) { return each.second.join != 0; });
  return static_cast<std::size_t>(waiting) < max;
}

// A protocol that every member knows, of the group's type; the first member decides about the type.
bool Coordinator::supports(const Live* group, const wire::JoinGroupRequest& request) {
  if (request.protocol_type.empty() || request.protocols.empty() || request.protocols.size() > kProtocolsMax)
    return false;
  if (group == nullptr || group->phase == Phase::empty) return true;
  if (group->protocol_type != request.protocol_type) return false;
  return std::ranges::any_of(request.protocols, [&](const auto& wanted) {
    return std::ranges::all_of(group->members, [&](const auto& member) {
      if (member.first == request.member_id) return true;
      return std::ranges::any_of(member.second.protocols,
                                 [&](const Protocol& protocol) { return protocol.name == wanted.name; });
    });
  });
}

void Coordinator::join(Token token, const wire::JoinGroupRequest& request, const JoinContext& context,
                       Nanos now) {
  if (!leading_) return answer_member(token, ErrorCode::not_coordinator, request.member_id);
  if (request.group_id.empty() || request.group_id.size() > kGroupIdBytesMax)
    return answer_member(token, ErrorCode::invalid_group_id, request.member_id);
  Live* group = find(request.group_id, now);
  if (const ErrorCode code = check_join(request, context, group); code != ErrorCode::none) {
    answer_member(token, code, request.member_id);
    if (group != nullptr) settle(*group);
    return;
  }
  if (group == nullptr) group = find_or_create(request.group_id, now);
  if (group == nullptr) return answer_member(token, ErrorCode::group_max_size_reached, request.member_id);
  const Joining joining{token, request, context, now};
  if (request.member_id.empty()) {
    join_new(*group, joining);
  } else {
    join_known(*group, joining);
  }
  if (group->phase == Phase::preparing) try_complete_join(*group, now);
  settle(*group);
}

void Coordinator::join_new(Live& group, const Joining& joining) {
  const auto& instance = joining.request.group_instance_id;
  std::string id = std::string(instance ? *instance : joining.context.client_id) + "-" +
                   std::string(joining.context.unique);
  if (instance) {
    if (group.instances.contains(*instance)) return replace_static(group, joining, std::move(id));
    return add_member(group, joining, std::move(id));
  }
  if (joining.context.version < 4) return add_member(group, joining, std::move(id));
  // KIP-394: a client that dies before it has read its id leaves nothing behind but a number.
  const Nanos deadline = joining.now + Nanos{joining.request.session_timeout_ms} * kMillisecond;
  group.pending[id] = deadline;
  arm(group, deadline);
  answer_member(joining.token, ErrorCode::member_id_required, id);
}

void Coordinator::join_known(Live& group, const Joining& joining) {
  const wire::JoinGroupRequest& request = joining.request;
  if (const auto pending = group.pending.find(request.member_id); pending != group.pending.end()) {
    group.pending.erase(pending);
    return add_member(group, joining, std::string(request.member_id));
  }
  const ErrorCode code = check_member(group, request.member_id, request.group_instance_id);
  if (code != ErrorCode::none) return answer_member(joining.token, code, request.member_id);
  LiveMember& member = group.members.find(request.member_id)->second;
  const bool same = member.protocols == to_protocols(request);
  switch (group.phase) {
    case Phase::preparing: return update_member(group, member, joining);
    case Phase::completing:
      // It may not have received the answer to its join.
      if (same) break;
      update_member(group, member, joining);
      return prepare(group, joining.now);
    case Phase::stable:
      if (same && group.leader != member.id) break;
      update_member(group, member, joining);
      return prepare(group, joining.now);
    case Phase::empty:
    case Phase::dead: return answer_member(joining.token, ErrorCode::unknown_member_id, request.member_id);
  }
  answer_join(group, member, joining.token, group.phase == Phase::completing);
  begin_session(group, member, joining.now);
}

void Coordinator::add_member(Live& group, const Joining& joining, std::string id) {
  const wire::JoinGroupRequest& request = joining.request;
  if (group.members.empty()) group.protocol_type = request.protocol_type;
  if (group.leader.empty()) group.leader = id;
  LiveMember& member = group.members[id];
  member.id = id;
  member.client_id = joining.context.client_id;
  member.client_host = joining.context.client_host;
  if (request.group_instance_id) {
    member.instance = std::string(*request.group_instance_id);
    group.instances[*member.instance] = id;
  }
  member.fresh = true;
  update_member(group, member, joining);
  member.deadline = joining.now + options_.new_member_timeout;
  arm(group, member.deadline);
  if (group.phase == Phase::preparing) group.member_added = true;
  if (group.phase != Phase::preparing) prepare(group, joining.now);
}

void Coordinator::update_member(Live& group, LiveMember& member, const Joining& joining) {
  member.session_timeout_ms = joining.request.session_timeout_ms;
  member.rebalance_timeout_ms = joining.rebalance_timeout_ms();
  member.protocols = to_protocols(joining.request);
  // A second join of the same member: the first one's connection is gone, or its answer no longer matters.
  answer_member(member.join, ErrorCode::rebalance_in_progress, member.id);
  member.join = joining.token;
  if (!member.fresh) begin_session(group, member, joining.now);
}

// KIP-345: a static member has come back without its id. It keeps its assignment; nobody rebalances unless
// the group's protocol changes with it.
void Coordinator::replace_static(Live& group, const Joining& joining, std::string id) {
  const std::string instance(*joining.request.group_instance_id);
  const std::string old_id = group.instances[instance];
  const std::string old_leader = group.leader;
  auto node = group.members.extract(old_id);
  answer_member(node.mapped().join, ErrorCode::fenced_instance_id, old_id);
  answer(node.mapped().sync, ErrorCode::fenced_instance_id);
  node.key() = id;
  node.mapped().id = id;
  node.mapped().join = node.mapped().sync = 0;
  LiveMember& member = group.members.insert(std::move(node)).position->second;
  group.instances[instance] = id;
  if (group.leader == old_id) group.leader = id;
  member.client_id = joining.context.client_id;
  member.client_host = joining.context.client_host;
  update_member(group, member, joining);
  begin_session(group, member, joining.now);
  if (group.phase == Phase::preparing) return;
  if (group.phase == Phase::completing || choose_protocol(group) != group.protocol_name)
    return prepare(group, joining.now);
  member.join = 0;
  Completion completion{.kind = Completion::Kind::static_join,
                        .token = joining.token,
                        .group = group.id,
                        .member = id,
                        .leader = old_leader,
                        .skip_supported = joining.context.version >= 9};
  store_generation(group, std::move(completion));
}

// --- the rebalance
// --------------------------------------------------------------------------------------------

void Coordinator::prepare(Live& group, Nanos now) {
  const bool from_empty = group.phase == Phase::empty;
  if (group.phase == Phase::completing) {
    for (auto& [id, member] : group.members) {
      answer_sync(group, member, std::exchange(member.sync, 0), ErrorCode::rebalance_in_progress);
      member.assignment.clear();
    }
  }
  group.phase = Phase::preparing;
  group.storing = false;
  group.sync_deadline = kNever;
  group.initial_until = 0;
  group.member_added = false;
  std::int32_t timeout_ms = 0;
  for (const auto& [id, member] : group.members)
    timeout_ms = std::max(timeout_ms, member.rebalance_timeout_ms);
  const Nanos timeout = Nanos{timeout_ms} * kMillisecond;
  group.join_deadline = now + timeout;
  if (from_empty && options_.initial_rebalance_delay > 0) {
    // KIP-134: the first members of a group seldom come alone.
    group.initial_until = now + std::max(timeout, options_.initial_rebalance_delay);
    group.join_deadline = now + options_.initial_rebalance_delay;
  }
}

void Coordinator::try_complete_join(Live& group, Nanos now) {
  if (group.initial_until != 0 || !group.pending.empty()) return;
  const bool all = std::ranges::all_of(group.members, [](const auto& each) { return each.second.join != 0; });
  if (all) complete_join(group, now);
}

// All are there, or the time is up: who has not come back is out, static members excepted.
void Coordinator::complete_join(Live& group, Nanos now) {
  std::vector<std::string> gone;
  for (const auto& [id, member] : group.members) {
    if (member.join == 0 && !member.instance) gone.push_back(id);
  }
  for (const std::string& id : gone) erase_member(group, id);
  group.initial_until = 0;
  if (group.members.empty()) return become_empty(group);
  const auto leader = group.members.find(group.leader);
  if (leader == group.members.end() || leader->second.join == 0) {
    const auto joined =
        std::ranges::find_if(group.members, [](const auto& each) { return each.second.join != 0; });
    if (joined == group.members.end()) {  // only static members, all away: until their sessions end
      group.join_deadline = now + Nanos{group.members.begin()->second.rebalance_timeout_ms} * kMillisecond;
      return;
    }
    group.leader = joined->first;
  }
  ++group.generation;
  ++stats_.rebalances;
  group.protocol_name = choose_protocol(group);
  group.phase = Phase::completing;
  group.join_deadline = kNever;
  std::int32_t timeout_ms = 0;
  for (auto& [id, member] : group.members) {
    answer_join(group, member, std::exchange(member.join, 0), true);
    member.fresh = false;
    member.sync_pending = true;
    member.assignment.clear();
    begin_session(group, member, now);
    timeout_ms = std::max(timeout_ms, member.rebalance_timeout_ms);
  }
  group.sync_deadline = now + Nanos{timeout_ms} * kMillisecond;
}

void Coordinator::become_empty(Live& group) {
  group.phase = Phase::empty;
  group.join_deadline = group.sync_deadline = kNever;
  group.leader.clear();
  group.protocol_name.clear();
  if (state_.find(group.id) == nullptr && group.in_flight == 0) return;  // nobody was ever told a generation
  ++group.generation;
  store_generation(group, {});
}

// The protocol that most members like best among those that all of them know.
std::string Coordinator::choose_protocol(const Live& group) {
  std::map<std::string, std::size_t> known;
  for (const auto& [id, member] : group.members) {
    for (const Protocol& protocol : member.protocols) ++known[protocol.name];
  }
  std::map<std::string, std::size_t> votes;
  for (const auto& [id, member] : group.members) {
    for (const Protocol& protocol : member.protocols) {
      if (known[protocol.name] != group.members.size()) continue;
      ++votes[protocol.name];
      break;
    }
  }
  const auto best = std::ranges::max_element(votes, {}, [](const auto& vote) { return vote.second; });
  return best == votes.end() ? std::string() : best->first;
}

// `whole`: the leader also learns who the members are, because it has to assign.
void Coordinator::answer_join(const Live& group, const LiveMember& member, Token token, bool whole) {
  if (token == 0) return;
  Answer result;
  result.token = token;
  result.generation = group.generation;
  result.protocol_type = group.protocol_type;
  result.protocol_name = group.protocol_name;
  result.leader = group.leader;
  result.member_id = member.id;
  if (whole && member.id == group.leader) {
    for (const auto& [id, each] : group.members) {
      const auto chosen = std::ranges::find(each.protocols, group.protocol_name, &Protocol::name);
      result.members.push_back(
          {id, each.instance, chosen == each.protocols.end() ? std::vector<std::byte>{} : chosen->metadata});
    }
  }
  answers_.push_back(std::move(result));
}

}  // namespace esc::coord
