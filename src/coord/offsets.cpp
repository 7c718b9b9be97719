// Offsets and the end of groups.
#include <set>

#include "esc/coord/coordinator.h"

namespace esc::coord {

using wire::ErrorCode;

namespace {

// What a member of an ordinary consumer group wants to read: the beginning of the metadata in
// ConsumerProtocolSubscription, which all its versions share.
void add_subscription(ByteView metadata, std::set<std::string, std::less<>>& topics) {
  constexpr std::size_t kHeaderBytes = 2 + 4;
  if (metadata.size() < kHeaderBytes) return;
  const auto count = load_be<std::int32_t>(metadata.data() + 2);
  ByteView rest = metadata.subspan(kHeaderBytes);
  for (std::int32_t i = 0; i < count && rest.size() >= 2; ++i) {
    const auto bytes = static_cast<std::size_t>(load_be<std::uint16_t>(rest.data()));
    if (bytes > rest.size() - 2) return;
    topics.emplace(as_text(rest.subspan(2, bytes)));
    rest = rest.subspan(2 + bytes);
  }
}

}  // namespace

ErrorCode Coordinator::check_commit(const Live* group, const CommitRequest& request) const {
  if (request.group.empty()) return ErrorCode::invalid_group_id;
  const bool anonymous = request.generation < 0 && request.member.empty() && !request.instance;
  if (group == nullptr) return request.generation < 0 ? ErrorCode::none : ErrorCode::illegal_generation;
  if (group->phase == Phase::empty && request.generation < 0) return ErrorCode::none;
  if (anonymous) return ErrorCode::unknown_member_id;  // partitions that members own are theirs to commit
  if (const ErrorCode code = check_member(*group, request.member, request.instance);
      code != ErrorCode::none) {
    return options_.plant == Plant::generation_not_fenced ? ErrorCode::none : code;
  }
  if (request.generation != group->generation && options_.plant != Plant::generation_not_fenced)
    return ErrorCode::illegal_generation;
  return group->phase == Phase::completing ? ErrorCode::rebalance_in_progress : ErrorCode::none;
}

void Coordinator::commit(Token token, const CommitRequest& request, Nanos now) {
  if (!leading_) return answer(token, ErrorCode::not_coordinator);
  Live* const group = find(request.group, now);
  ErrorCode code = check_commit(group, request);
  std::vector<std::byte> command;
  if (code == ErrorCode::none) {
    encode_commit(request.group, request.offsets, command);
    const bool full = state_.bytes() + command.size() > options_.state_bytes_max;
    if (full || command.size() > options_.command_bytes_max || (group == nullptr && too_many_groups()))
      code = ErrorCode::invalid_commit_offset_size;
  }
  if (group != nullptr && code == ErrorCode::none) {
    if (const auto member = group->members.find(request.member); member != group->members.end())
      begin_session(*group, member->second, now);
  }
  if (code != ErrorCode::none || request.offsets.empty()) {
    answer(token, code);
  } else {
    propose(std::move(command), {.kind = Completion::Kind::code,
                                 .token = token,
                                 .group = std::string(request.group),
                                 .offsets = static_cast<std::uint32_t>(request.offsets.size())});
  }
  if (group != nullptr) settle(*group);
}

void Coordinator::remove_group(Token token, std::string_view id, Nanos now) {
  if (!leading_) return answer(token, ErrorCode::not_coordinator);
  if (id.empty()) return answer(token, ErrorCode::invalid_group_id);
  Live* const group = find(id, now);
  if (group == nullptr) return answer(token, ErrorCode::group_id_not_found);
  if (group->phase != Phase::empty || !group->pending.empty()) {
    answer(token, ErrorCode::non_empty_group);
  } else {
    std::vector<std::byte> command;
    encode_remove(id, command);
    propose(std::move(command), {.kind = Completion::Kind::code, .token = token, .group = std::string(id)});
  }
  settle(*group);
}

void Coordinator::forget_offsets(Token token, std::string_view id, const std::vector<OffsetName>& offsets,
                                 std::vector<ErrorCode>& codes) {
  codes.assign(offsets.size(), ErrorCode::none);
  if (!leading_) return answer(token, ErrorCode::not_coordinator);
  if (id.empty()) return answer(token, ErrorCode::invalid_group_id);
  const auto found = live_.find(id);
  const Live* const group = found == live_.end() ? nullptr : &found->second;
  if (group == nullptr && state_.find(id) == nullptr) return answer(token, ErrorCode::group_id_not_found);
  std::set<std::string, std::less<>> subscribed;
  if (group != nullptr && group->phase != Phase::empty) {
    // Of another kind of group nobody knows what its members need.
    if (group->protocol_type != "consumer") return answer(token, ErrorCode::non_empty_group);
    for (const auto& [name, member] : group->members) {
      for (const Protocol& protocol : member.protocols) add_subscription(protocol.metadata, subscribed);
    }
  }
  std::vector<OffsetName> kept;
  for (std::size_t i = 0; i < offsets.size(); ++i) {
    if (subscribed.contains(offsets[i].topic)) {
      codes[i] = ErrorCode::group_subscribed_to_topic;
    } else {
      kept.push_back(offsets[i]);
    }
  }
  if (kept.empty()) return answer(token, ErrorCode::none);
  std::vector<std::byte> command;
  encode_forget(id, kept, command);
  propose(std::move(command), {.kind = Completion::Kind::code, .token = token, .group = std::string(id)});
}

void Coordinator::forget_topic(std::string_view group, std::string_view topic) {
  if (!leading_) return;
  std::vector<std::byte> command;
  encode_forget(group, {{topic, kAllPartitions}}, command);
  propose(std::move(command), {.group = std::string(group)});
}

}  // namespace esc::coord
