#include "group_member.h"

#include <fmt/format.h>

#include <algorithm>

#include "esc/wire/api/find_coordinator.h"
#include "esc/wire/api/heartbeat.h"
#include "esc/wire/api/join_group.h"
#include "esc/wire/api/leave_group.h"
#include "esc/wire/api/offset_commit.h"
#include "esc/wire/api/offset_fetch.h"
#include "esc/wire/api/sync_group.h"

namespace esc::escsim {
namespace {

using wire::ErrorCode;

constexpr std::int32_t kSessionMs = 1000;
constexpr std::int32_t kRebalanceMs = 1500;
constexpr Nanos kPause = 20 * kMillisecond;
constexpr Nanos kJoinTimeout = Nanos{kRebalanceMs} * kMillisecond + 2 * kSecond;

}  // namespace

void GroupMember::lose_coordinator() {
  coordinator_ = 0;
  next_ = loop_->now() + prng_.between(5, 60) * kMillisecond;
}

void GroupMember::forget_membership() {
  member_.clear();
  generation_ = -1;
  positions_.clear();
  step_ = Step::join;
}

bool GroupMember::judge(ErrorCode code) {
  switch (code) {
    case ErrorCode::none: return true;
    case ErrorCode::coordinator_load_in_progress:
    case ErrorCode::coordinator_not_available:
    case ErrorCode::not_coordinator: lose_coordinator(); return false;
    case ErrorCode::unknown_member_id: forget_membership(); break;
    case ErrorCode::rebalance_in_progress:
    case ErrorCode::illegal_generation:
      // What it has read so far it may still commit while the others join.
      step_ = Step::join;
      break;
    default: world_.model.fail(fmt::format("{}: the coordinator says {}", name_, wire::to_string(code)));
  }
  next_ = loop_->now() + kPause;
  return false;
}

Nanos GroupMember::work(Nanos now) {
  if (asking_ || (stopping() && step_ != Step::audit) || audited_) return INT64_MAX;
  if (now < next_) return next_;
  if (coordinator_ == 0) {
    find();
    return INT64_MAX;
  }
  switch (step_) {
    case Step::join: join(); break;
    case Step::sync: sync(); break;
    case Step::fetch: fetch(false); break;
    case Step::audit: fetch(true); break;
    case Step::own: return own(now);
  }
  return INT64_MAX;
}

Nanos GroupMember::own(Nanos now) {
  if (prng_.chance(1, 150)) {  // a long pause, then as if nothing had been
    next_ = now + prng_.between(kSessionMs, 3 * kSessionMs) * kMillisecond;
    next_heartbeat_ = next_ + kSecond;
    return next_;
  }
  if (prng_.chance(1, 200)) {
    leave();
  } else if (prng_.chance(1, 200)) {  // its process is replaced
    forget_membership();
    return now;
  } else if (now >= next_heartbeat_) {
    heartbeat();
  } else if (!positions_.empty()) {
    commit();
  } else {
    next_ = next_heartbeat_;
    return next_;
  }
  return INT64_MAX;
}

void GroupMember::find() {
  const wire::String name = kGroup;
  wire::FindCoordinatorRequest request;
  request.coordinator_keys = {&name, 1};
  asking_ = true;
  any_link()->call(request, 4, kCallTimeout, [this](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kPause;
    if (body == nullptr) return;
    const Decoded<wire::FindCoordinatorResponse> answer(*body, 4);
    if (!answer || answer->coordinators.size() != 1)
      return world_.model.fail(name_ + ": malformed FindCoordinator answer");
    if (answer->coordinators[0].error_code == ErrorCode::none) coordinator_ = answer->coordinators[0].node_id;
  });
}

void GroupMember::join() {
  const wire::JoinGroupRequest::Protocol protocol{"in-turn", {}};
  wire::JoinGroupRequest request;
  request.group_id = kGroup;
  request.session_timeout_ms = kSessionMs;
  request.rebalance_timeout_ms = kRebalanceMs;
  request.member_id = member_;
  request.protocol_type = "consumer";
  request.protocols = {&protocol, 1};
  positions_.clear();
  asking_ = true;
  link_to(coordinator_)->call(request, 9, kJoinTimeout, [this](const ByteView* body) {
    asking_ = false;
    if (step_ == Step::audit) return;
    if (body == nullptr) return lose_coordinator();
    const Decoded<wire::JoinGroupResponse> answer(*body, 9);
    if (!answer) return world_.model.fail(name_ + ": malformed JoinGroup answer");
    if (answer->error_code == ErrorCode::member_id_required) {
      member_ = answer->member_id;
      return;
    }
    if (!judge(answer->error_code)) return;
    member_ = answer->member_id;
    generation_ = answer->generation_id;
    members_.clear();
    for (const auto& member : answer->members) members_.emplace_back(member.member_id);
    step_ = Step::sync;
  });
}

// The leader deals the partitions out in turn.
void GroupMember::sync() {
  std::map<std::string, std::string> shares;
  for (std::int32_t p = 0; !members_.empty() && p < world_.scenario.partitions; ++p)
    shares[members_[static_cast<std::size_t>(p) % members_.size()]] += static_cast<char>('0' + p);
  std::vector<wire::SyncGroupRequest::Assignment> assignments;
  for (const auto& [member, share] : shares) assignments.push_back({member, as_bytes(share)});
  wire::SyncGroupRequest request;
  request.group_id = kGroup;
  request.generation_id = generation_;
  request.member_id = member_;
  request.assignments = assignments;
  asking_ = true;
  link_to(coordinator_)->call(request, 5, kJoinTimeout, [this](const ByteView* body) {
    asking_ = false;
    if (step_ == Step::audit) return;
    if (body == nullptr) return lose_coordinator();
    const Decoded<wire::SyncGroupResponse> answer(*body, 5);
    if (!answer) return world_.model.fail(name_ + ": malformed SyncGroup answer");
    if (judge(answer->error_code)) take_assignment(answer->assignment);
  });
}

void GroupMember::take_assignment(ByteView assignment) {
  for (const char digit : as_text(assignment)) {
    world_.model.assigned(generation_, digit - '0', member_);
    positions_[digit - '0'] = 0;
  }
  world_.trace.event(name_, "generation {} gives {}", generation_, as_text(assignment));
  step_ = Step::fetch;
}

void GroupMember::fetch(bool final) {
  std::vector<std::int32_t> partitions;
  for (std::int32_t p = 0; p < world_.scenario.partitions; ++p)
    if (final || positions_.contains(p)) partitions.push_back(p);
  const wire::OffsetFetchRequest::Topic topic{kTopic, partitions};
  wire::OffsetFetchRequest request;
  request.group_id = kGroup;
  request.topics = wire::Array<wire::OffsetFetchRequest::Topic>(&topic, 1);
  std::map<std::int32_t, std::int64_t> floors;
  for (const std::int32_t p : partitions) floors[p] = world_.model.committed_floor(p);
  asking_ = true;
  link_to(coordinator_)->call(request, 7, kCallTimeout, [this, floors, final](const ByteView* body) {
    asking_ = false;
    if (body == nullptr) return lose_coordinator();
    const Decoded<wire::OffsetFetchResponse> answer(*body, 7);
    if (!answer || answer->topics.size() != 1)
      return world_.model.fail(name_ + ": malformed OffsetFetch answer");
    if (answer->error_code != ErrorCode::none) return lose_coordinator();
    for (const auto& partition : answer->topics[0].partitions) {
      const auto floor = floors.find(partition.partition_index);
      if (floor == floors.end()) return world_.model.fail(name_ + ": offsets of another partition");
      world_.model.offset_read(partition.partition_index, partition.committed_offset, floor->second);
      if (!final)
        positions_[partition.partition_index] = std::max<std::int64_t>(partition.committed_offset, 0);
    }
    if (final) {
      audited_ = true;
    } else if (step_ == Step::fetch) {
      step_ = Step::own;
      next_heartbeat_ = loop_->now() + 100 * kMillisecond;
    }
  });
}

void GroupMember::commit() {
  std::vector<wire::OffsetCommitRequest::Partition> partitions;
  std::map<std::int32_t, std::pair<std::int64_t, std::int64_t>> sent;  // offset, floor
  for (auto& [partition, position] : positions_) {
    position = std::min(position + prng_.between(0, 5), std::max(position, world_.model.end(partition)));
    partitions.push_back({.partition_index = partition, .committed_offset = position});
    sent[partition] = {position, world_.model.committed_floor(partition)};
  }
  const wire::OffsetCommitRequest::Topic topic{kTopic, partitions};
  wire::OffsetCommitRequest request;
  request.group_id = kGroup;
  request.generation_id_or_member_epoch = generation_;
  request.member_id = member_;
  request.topics = {&topic, 1};
  asking_ = true;
  link_to(coordinator_)->call(request, 8, kCallTimeout, [this, sent](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + prng_.between(1, 40) * kMillisecond;
    if (body == nullptr) return lose_coordinator();
    const Decoded<wire::OffsetCommitResponse> answer(*body, 8);
    if (!answer || answer->topics.size() != 1 || answer->topics[0].partitions.size() != sent.size())
      return world_.model.fail(name_ + ": malformed OffsetCommit answer");
    const ErrorCode code = answer->topics[0].partitions[0].error_code;
    if (code == ErrorCode::unknown_topic_or_partition) return;  // a node that does not know the topic yet
    if (code == ErrorCode::none) {
      ++commits_;
      for (const auto& [partition, offset] : sent)
        world_.model.offset_committed(partition, offset.first, offset.second);
    }
    if (step_ != Step::audit) (void)judge(code);
  });
}

void GroupMember::heartbeat() {
  wire::HeartbeatRequest request;
  request.group_id = kGroup;
  request.generation_id = generation_;
  request.member_id = member_;
  next_heartbeat_ = loop_->now() + 200 * kMillisecond;
  asking_ = true;
  link_to(coordinator_)->call(request, 4, kCallTimeout, [this](const ByteView* body) {
    asking_ = false;
    if (step_ == Step::audit) return;
    if (body == nullptr) return lose_coordinator();
    const Decoded<wire::HeartbeatResponse> answer(*body, 4);
    if (!answer) return world_.model.fail(name_ + ": malformed Heartbeat answer");
    (void)judge(answer->error_code);
  });
}

void GroupMember::leave() {
  const wire::LeaveGroupRequest::Member member{.member_id = member_};
  wire::LeaveGroupRequest request;
  request.group_id = kGroup;
  request.members = {&member, 1};
  asking_ = true;
  link_to(coordinator_)->call(request, 5, kCallTimeout, [this](const ByteView*) {
    asking_ = false;
    if (step_ != Step::audit) forget_membership();
  });
}

}  // namespace esc::escsim
