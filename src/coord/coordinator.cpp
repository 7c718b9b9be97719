#include "esc/coord/coordinator.h"

#include <algorithm>

namespace esc::coord {

using wire::ErrorCode;

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::empty: return "Empty";
    case Phase::preparing: return "PreparingRebalance";
    case Phase::completing: return "CompletingRebalance";
    case Phase::stable: return "Stable";
    case Phase::dead: return "Dead";
  }
  return "Dead";
}

// --- the log
// ------------------------------------------------------------------------------------------------

void Coordinator::committed(Index index, WallMs timestamp, ByteView command, Nanos now) {
  state_.apply(index, timestamp, command);
  while (!in_flight_.empty() && in_flight_.front().index <= index) {
    const Completion completion = std::move(in_flight_.front().completion);
    in_flight_.pop_front();
    complete(completion, ErrorCode::none, now);
  }
}

Status Coordinator::load(ByteView state) {
  return state_.load(state);
}

void Coordinator::became_leader(Nanos now) {
  if (leading_) lost_leadership();
  leading_ = true;
  next_expiry_ = now + options_.expire_interval;
  for (const auto& [id, stored] : state_.groups()) {
    if (!stored.members.empty()) (void)take_from_state(id, stored, now);
  }
}

void Coordinator::lost_leadership() {
  leading_ = false;
  for (auto& [id, group] : live_) {
    for (auto& [name, member] : group.members) {
      answer_member(member.join, ErrorCode::not_coordinator, name);
      answer(member.sync, ErrorCode::not_coordinator);
    }
  }
  for (const InFlight& entry : in_flight_) {
    answer_member(entry.completion.token, ErrorCode::not_coordinator, entry.completion.member);
  }
  for (const Proposal& proposal : proposals_) {
    answer_member(proposal.completion.token, ErrorCode::not_coordinator, proposal.completion.member);
  }
  in_flight_.clear();
  proposals_.clear();
  live_.clear();
  due_.clear();
}

void Coordinator::propose(std::vector<std::byte> command, Completion completion) {
  if (const auto group = live_.find(completion.group); group != live_.end()) ++group->second.in_flight;
  proposals_.push_back({std::move(command), std::move(completion)});
}

void Coordinator::proposed(Index index) {
  in_flight_.push_back({index, std::move(proposals_.front().completion)});
  proposals_.pop_front();
}

void Coordinator::refused(ErrorCode code) {
  const Completion completion = std::move(proposals_.front().completion);
  proposals_.pop_front();
  complete(completion, code, 0);
}

void Coordinator::complete(const Completion& completion, ErrorCode code, Nanos now) {
  const auto found = live_.find(completion.group);
  Live* const group = found == live_.end() ? nullptr : &found->second;
  if (group != nullptr && group->in_flight > 0) --group->in_flight;
  if (code == ErrorCode::none && completion.offsets > 0) {
    ++stats_.commits;
    stats_.offsets_committed += completion.offsets;
  }
  switch (completion.kind) {
    case Completion::Kind::nothing: break;
    case Completion::Kind::code: answer(completion.token, code); break;
    case Completion::Kind::generation: {
      const bool current =
          group != nullptr && group->phase == Phase::completing && group->generation == completion.generation;
      if (current && code == ErrorCode::none) finish_generation(*group, now);
      if (current && code != ErrorCode::none) reset_assignments(*group, code);
      break;
    }
    case Completion::Kind::static_join: {
      const auto member =
          group == nullptr ? decltype(group->members.end()){} : group->members.find(completion.member);
      const bool here = group != nullptr && member != group->members.end();
      if (!here || code != ErrorCode::none) {
        answer_member(completion.token, here ? code : ErrorCode::unknown_member_id, completion.member);
        break;
      }
      Answer result;
      result.token = completion.token;
      result.generation = group->generation;
      result.protocol_type = group->protocol_type;
      result.protocol_name = group->protocol_name;
      result.member_id = completion.member;
      // Before v9 a leader that comes back is not told so: its assignment would not be taken.
      result.leader = completion.skip_supported ? group->leader : completion.leader;
      result.skip_assignment = completion.skip_supported && group->leader == completion.member;
      if (result.skip_assignment) {
        for (const auto& [id, each] : group->members) {
          for (const Protocol& protocol : each.protocols) {
            if (protocol.name == group->protocol_name)
              result.members.push_back({id, each.instance, protocol.metadata});
          }
        }
      }
      answers_.push_back(std::move(result));
      break;
    }
  }
  if (group != nullptr) settle(*group);
}

void Coordinator::answer(Token token, ErrorCode code) {
  if (token == 0) return;
  Answer& result = answers_.emplace_back();
  result.token = token;
  result.code = code;
}

void Coordinator::answer_member(Token token, ErrorCode code, std::string_view member) {
  if (token == 0) return;
  answer(token, code);
  answers_.back().member_id = member;
}

// --- groups
// -------------------------------------------------------------------------------------------------

Coordinator::Live& Coordinator::take_from_state(std::string_view id, const StoredGroup& stored, Nanos now) {
  Live& group = live_[std::string(id)];
  group.id = id;
  group.phase = stored.members.empty() ? Phase::empty : Phase::stable;
  group.generation = stored.generation;
  group.protocol_type = stored.protocol_type;
  group.protocol_name = stored.protocol_name;
  group.leader = stored.leader;
  for (const auto& [name, member] : stored.members) {
    LiveMember& taken = group.members[name];
    static_cast<Member&>(taken) = member;
    if (member.instance) group.instances[*member.instance] = name;
    begin_session(group, taken, now);
  }
  return group;
}

Coordinator::Live* Coordinator::find(std::string_view id, Nanos now) {
  if (const auto found = live_.find(id); found != live_.end()) return &found->second;
  const StoredGroup* stored = state_.find(id);
  if (stored == nullptr) return nullptr;
  return &take_from_state(id, *stored, now);
}

bool Coordinator::too_many_groups() const {
  return state_.groups().size() + live_.size() >= 2 * std::size_t{options_.groups_max} ||
         state_.groups().size() >= options_.groups_max || state_.bytes() >= options_.state_bytes_max;
}

// Null: there is no room for another group.
Coordinator::Live* Coordinator::find_or_create(std::string_view id, Nanos now) {
  if (Live* group = find(id, now)) return group;
  if (too_many_groups()) return nullptr;
  Live& group = live_[std::string(id)];
  group.id = id;
  return &group;
}

// Forgets a group that has nothing to remember beside the state; otherwise sees to its next deadline.
void Coordinator::settle(Live& group) {
  const bool idle =
      group.phase == Phase::empty && group.members.empty() && group.pending.empty() && group.in_flight == 0;
  if (!idle && group.due == kNever) return rearm(group);
  if (!idle) {
    arm(group, group.join_deadline);
    return arm(group, group.sync_deadline);
  }
  if (group.due != kNever) due_.erase({group.due, group.id});
  live_.erase(live_.find(group.id));
}

// --- time
// ---------------------------------------------------------------------------------------------------

// Deadlines are looked at no later than `deadline`; that they move away is found out then.
void Coordinator::arm(Live& group, Nanos deadline) {
  if (deadline >= group.due) return;
  if (group.due != kNever) due_.erase({group.due, group.id});
  group.due = deadline;
  due_.insert({deadline, group.id});
}

void Coordinator::rearm(Live& group) {
  arm(group, group.join_deadline);
  arm(group, group.sync_deadline);
  for (const auto& [id, deadline] : group.pending) arm(group, deadline);
  for (const auto& [id, member] : group.members) arm(group, member.deadline);
}

void Coordinator::tick(Nanos now, WallMs wall_ms) {
  if (!leading_) return;
  while (!due_.empty() && due_.begin()->first <= now) {
    const std::string id = due_.begin()->second;
    due_.erase(due_.begin());
    Live& group = live_.find(id)->second;
    group.due = kNever;
    check_deadlines(group, now);
    settle(group);
  }
  if (now >= next_expiry_) expire_offsets(now, wall_ms);
}

// What to expire is decided by every replica from the commands' log times; the leader's clock only says when.
void Coordinator::expire_offsets(Nanos now, WallMs wall_ms) {
  next_expiry_ = now + options_.expire_interval;
  const std::int64_t until_ms = wall_ms - options_.offsets_retention_ms;
  const bool any = std::ranges::any_of(state_.groups(), [&](const auto& group) {
    const StoredGroup& stored = group.second;
    if (!stored.members.empty() || (!stored.protocol_type.empty() && stored.empty_since_ms > until_ms))
      return false;
    if (stored.topics.empty()) return true;
    return std::ranges::any_of(stored.topics, [&](const auto& topic) {
      return std::ranges::any_of(topic.second.partitions,
                                 [&](const auto& offset) { return offset.second.committed_ms <= until_ms; });
    });
  });
  if (!any) return;
  std::vector<std::byte> command;
  encode_expire(until_ms, command);
  propose(std::move(command), {});
}

// --- reading
// --------------------------------------------------------------------------------------------------

GroupView Coordinator::describe(std::string_view id) const {
  GroupView view;
  view.id = id;
  const auto found = live_.find(id);
  if (found == live_.end()) {
    const StoredGroup* stored = state_.find(id);
    if (stored == nullptr) return view;
    view.phase = stored->members.empty() ? Phase::empty : Phase::stable;
    view.protocol_type = stored->protocol_type;
    view.generation = stored->generation;
    return view;
  }
  const Live& group = found->second;
  view.phase = group.phase;
  view.protocol_type = group.protocol_type;
  view.protocol_name = group.protocol_name;
  view.generation = group.generation;
  view.leader = group.leader;
  for (const auto& [name, member] : group.members) view.members.push_back(member);
  return view;
}

std::vector<GroupSummary> Coordinator::list() const {
  std::map<std::string, GroupSummary> all;
  for (const auto& [id, stored] : state_.groups()) {
    all[id] = {id, stored.protocol_type, stored.members.empty() ? Phase::empty : Phase::stable};
  }
  for (const auto& [id, group] : live_) all[id] = {id, group.protocol_type, group.phase};
  std::vector<GroupSummary> list;
  list.reserve(all.size());
  for (auto& [id, summary] : all) list.push_back(std::move(summary));
  return list;
}

GroupCounts Coordinator::count() const {
  GroupCounts counts;
  if (!leading_) return counts;
  std::uint64_t at_rest = state_.groups().size();
  for (const auto& [id, group] : live_) {
    ++counts.groups[static_cast<std::size_t>(group.phase)];
    counts.members += group.members.size();
    if (state_.find(id) != nullptr) --at_rest;
  }
  counts.groups[static_cast<std::size_t>(Phase::empty)] += at_rest;
  return counts;
}

}  // namespace esc::coord
