// DescribeGroups, ListGroups, DeleteGroups, OffsetDelete: what administrators ask of consumer groups.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../coordinators.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/delete_groups.h"
#include "esc/wire/api/describe_groups.h"
#include "esc/wire/api/list_groups.h"
#include "esc/wire/api/offset_delete.h"

namespace esc::broker {
namespace {

constexpr std::string_view kNoMemory = "no memory for the answer about groups";

// --- DescribeGroups
// ---------------------------------------------------------------------------------------------

struct DescribedGroup {
  wire::ErrorCode code = wire::ErrorCode::none;
  coord::GroupView view;
};

struct DescribeState {
  std::vector<DescribedGroup> groups;
  std::size_t outstanding = 0;
};

std::string_view or_empty(const coord::GroupView& view, const std::string& text) {
  return view.phase == coord::Phase::stable ? std::string_view(text) : std::string_view();
}

void answer_describe(Broker& broker, Request& request, const DescribeState& state) {
  using Response = wire::DescribeGroupsResponse;
  std::size_t member_count = 0;
  for (const DescribedGroup& group : state.groups) member_count += group.view.members.size();
  const auto groups = broker.allocate<Response::Group>(request, state.groups.size());
  auto members = broker.allocate<Response::Member>(request, member_count);
  if (groups.size() != state.groups.size() || members.size() != member_count)
    return broker.protocol_error(request, kNoMemory);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const coord::GroupView& view = state.groups[i].view;
    groups[i].error_code = state.groups[i].code;
    groups[i].group_id = view.id;
    groups[i].group_state = state.groups[i].code == wire::ErrorCode::none ? to_string(view.phase) : "";
    groups[i].protocol_type = view.protocol_type;
    groups[i].protocol_data = or_empty(view, view.protocol_name);
    for (std::size_t m = 0; m < view.members.size(); ++m) {
      const coord::Member& member = view.members[m];
      members[m].member_id = member.id;
      if (member.instance) members[m].group_instance_id = *member.instance;
      members[m].client_id = member.client_id;
      members[m].client_host = member.client_host;
      // As Kafka: what members want and have is told of a stable group only.
      if (view.phase != coord::Phase::stable) continue;
      const auto chosen = std::ranges::find(member.protocols, view.protocol_name, &coord::Protocol::name);
      if (chosen != member.protocols.end()) members[m].member_metadata = chosen->metadata;
      members[m].member_assignment = member.assignment;
    }
    groups[i].members = members.first(view.members.size());
    members = members.subspan(view.members.size());
  }
  Response response;
  response.groups = groups;
  broker.respond(request, response);
}

struct DescribeCall final : CoordinatorCall {
  coord::GroupView view;
  std::shared_ptr<DescribeState> state;
  std::size_t slot = 0;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    if (view.id.empty()) {
      answer.code = wire::ErrorCode::invalid_group_id;
    } else {
      view = coordinator.describe(view.id);
    }
    owner.coordinators().finish(*this);
  }
  void finish(Broker& broker) override {
    state->groups[slot] = {answer.code, std::move(view)};
    if (--state->outstanding == 0) answer_describe(broker, *request, *state);
  }
};

// --- ListGroups
// -------------------------------------------------------------------------------------------------

struct ListState {
  std::vector<coord::GroupSummary> groups;
  std::vector<std::string> states;  // wanted; empty: all
  wire::ErrorCode code = wire::ErrorCode::none;
  std::size_t outstanding = 0;
};

void answer_list(Broker& broker, Request& request, const ListState& state) {
  const auto groups = broker.allocate<wire::ListGroupsResponse::Group>(request, state.groups.size());
  if (groups.size() != state.groups.size()) return broker.protocol_error(request, kNoMemory);
  std::size_t count = 0;
  for (const coord::GroupSummary& group : state.groups) {
    const std::string_view phase = to_string(group.phase);
    if (!state.states.empty() && std::ranges::find(state.states, phase) == state.states.end()) continue;
    groups[count].group_id = group.id;
    groups[count].protocol_type = group.protocol_type;
    groups[count++].group_state = phase;
  }
  wire::ListGroupsResponse response;
  response.error_code = state.code;
  response.groups = groups.first(count);
  broker.respond(request, response);
}

// The groups of one Raft group. Each node tells of those that it coordinates.
struct ListCall final : CoordinatorCall {
  std::vector<coord::GroupSummary> groups;
  std::shared_ptr<ListState> state;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    groups = coordinator.list();
    owner.coordinators().finish(*this);
  }
  void finish(Broker& broker) override {
    // A node that does not coordinate has nothing to tell; one that is about to cannot tell yet.
    if (answer.code == wire::ErrorCode::coordinator_load_in_progress) state->code = answer.code;
    std::ranges::move(groups, std::back_inserter(state->groups));
    if (--state->outstanding == 0) answer_list(broker, *request, *state);
  }
};

// --- DeleteGroups
// -----------------------------------------------------------------------------------------------

struct DeleteState {
  std::span<wire::DeleteGroupsResponse::Result> results;
  std::size_t outstanding = 0;
};

struct DeleteCall final : CoordinatorCall {
  std::string_view name;
  std::shared_ptr<DeleteState> state;
  std::size_t slot = 0;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    coordinator.remove_group(token(), name, owner.env().clock.now());
  }
  void finish(Broker& broker) override {
    state->results[slot].error_code = answer.code;
    if (--state->outstanding > 0) return;
    wire::DeleteGroupsResponse response;
    response.results = state->results;
    broker.respond(*request, response);
  }
};

// --- OffsetDelete
// -----------------------------------------------------------------------------------------------

struct OffsetDeleteCall final : CoordinatorCall {
  std::string_view name;
  std::vector<coord::OffsetName> offsets;
  std::vector<wire::ErrorCode> codes;  // per offset
  std::span<wire::OffsetDeleteResponse::Topic> topics;
  std::span<wire::OffsetDeleteResponse::Partition> partitions;

  void begin(coord::Coordinator& coordinator, Broker&) override {
    coordinator.forget_offsets(token(), name, offsets, codes);
  }
  void finish(Broker& broker) override {
    wire::OffsetDeleteResponse response;
    response.error_code = answer.code;
    if (answer.code == wire::ErrorCode::none) {
      for (std::size_t i = 0; i < partitions.size(); ++i) partitions[i].error_code = codes[i];
      response.topics = topics;
    }
    broker.respond(*request, response);
  }
};

}  // namespace

void handle_describe_groups(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::DescribeGroupsRequest>(request);
  if (asked == nullptr) return;
  const auto state = std::make_shared<DescribeState>();
  state->groups.resize(asked->groups.size());
  state->outstanding = asked->groups.size();
  if (asked->groups.empty()) return answer_describe(broker, request, *state);
  for (std::size_t i = 0; i < asked->groups.size(); ++i) {
    auto call = std::make_unique<DescribeCall>();
    call->request = &request;
    call->view.id = asked->groups[i];
    call->state = state;
    call->slot = i;
    submit_coordinator_call(broker, asked->groups[i], std::move(call));
  }
}

void handle_list_groups(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::ListGroupsRequest>(request);
  if (asked == nullptr) return;
  const auto state = std::make_shared<ListState>();
  for (const std::string_view wanted : asked->states_filter) state->states.emplace_back(wanted);
  state->outstanding = broker.options().groups;
  for (std::uint32_t id = 0; id < broker.options().groups; ++id) {
    auto call = std::make_unique<ListCall>();
    call->request = &request;
    call->state = state;
    submit_coordinator_call(broker, GroupId(id), std::move(call));
  }
}

void handle_delete_groups(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::DeleteGroupsRequest>(request);
  if (asked == nullptr) return;
  const auto state = std::make_shared<DeleteState>();
  state->results = broker.allocate<wire::DeleteGroupsResponse::Result>(request, asked->groups_names.size());
  state->outstanding = asked->groups_names.size();
  if (state->results.size() != state->outstanding) return broker.protocol_error(request, kNoMemory);
  if (state->outstanding == 0) return broker.respond(request, wire::DeleteGroupsResponse{});
  for (std::size_t i = 0; i < asked->groups_names.size(); ++i) {
    state->results[i].group_id = asked->groups_names[i];
    auto call = std::make_unique<DeleteCall>();
    call->request = &request;
    call->name = asked->groups_names[i];
    call->state = state;
    call->slot = i;
    submit_coordinator_call(broker, asked->groups_names[i], std::move(call));
  }
}

void handle_offset_delete(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::OffsetDeleteRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<OffsetDeleteCall>();
  call->request = &request;
  call->name = asked->group_id;
  for (const auto& topic : asked->topics) {
    for (const auto& partition : topic.partitions)
      call->offsets.push_back({topic.name, partition.partition_index});
  }
  call->topics = broker.allocate<wire::OffsetDeleteResponse::Topic>(request, asked->topics.size());
  call->partitions = broker.allocate<wire::OffsetDeleteResponse::Partition>(request, call->offsets.size());
  if (call->topics.size() != asked->topics.size() || call->partitions.size() != call->offsets.size())
    return broker.protocol_error(request, kNoMemory);
  std::size_t at = 0;
  for (std::size_t t = 0; t < asked->topics.size(); ++t) {
    const std::size_t count = asked->topics[t].partitions.size();
    call->topics[t].name = asked->topics[t].name;
    call->topics[t].partitions = call->partitions.subspan(at, count);
    for (std::size_t p = 0; p < count; ++p, ++at)
      call->partitions[at].partition_index = asked->topics[t].partitions[p].partition_index;
  }
  submit_coordinator_call(broker, asked->group_id, std::move(call));
}

}  // namespace esc::broker
