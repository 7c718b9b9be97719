// NodeStatus: every core tells of its groups.
#include "esc/wire/api/node_status.h"

#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

using Status = wire::NodeStatusResponse;

constexpr std::size_t kMembersMax = raft::kVotersMax + raft::kLearnersMax;

struct StatusCall : Call {
  Request* request = nullptr;
  std::span<Status::Group> groups;  // by id, of the whole node; each core fills its own
  std::span<Status::Peer> peers;    // raft::kPeersMax per group
  std::span<std::int32_t> members;  // kMembersMax per group
};

struct StatusState {
  std::span<StatusCall> calls;  // by core
  std::span<Status::Group> groups;
  std::uint32_t outstanding = 0;
};

std::int64_t number(Index index) {
  return static_cast<std::int64_t>(index.value());
}

void describe_peers(const raft::Core& core, Nanos now, std::span<Status::Peer> room, Status::Group& answer) {
  std::size_t count = 0;
  for (const raft::Progress& progress : core.peers()) {
    Status::Peer& peer = room[count++];
    peer.node_id = to_wire(progress.node);
    peer.state = static_cast<std::int8_t>(progress.state);
    peer.match_index = number(progress.match);
    peer.received_index = number(progress.received);
    peer.last_contact_ms = progress.last_contact == 0 ? -1 : (now - progress.last_contact) / kMillisecond;
  }
  answer.peers = room.first(count);
}

void describe_members(const raft::Configuration& members, std::span<std::int32_t> room,
                      Status::Group& answer) {
  std::size_t count = 0;
  for (const NodeId voter : members.voters) room[count++] = to_wire(voter);
  answer.voters = room.first(count);
  room = room.subspan(count);
  count = 0;
  for (const NodeId learner : members.learners) room[count++] = to_wire(learner);
  answer.learners = room.first(count);
}

void describe_group(Broker& broker, const replica::Group& group, std::span<Status::Peer> room,
                    Status::Group& answer) {
  const raft::Core& core = group.core();
  const GroupView& view = broker.directory().group(group.id());
  const Nanos now = broker.env().clock.now();
  answer.group_id = static_cast<std::int32_t>(group.id().value());
  answer.role = static_cast<std::int8_t>(core.role());
  answer.serving = group.leading();
  answer.term = static_cast<std::int64_t>(core.term().value());
  answer.leader_id = to_wire(core.leader());
  answer.commit_index = number(core.commit_index());
  answer.last_index = number(core.last_index());
  answer.durable_index = number(core.durable_index());
  answer.applied_index = number(core.applied_index());
  answer.partitions = static_cast<std::int32_t>(group.partitions().size());
  for (const replica::Partition* partition : group.partitions())
    answer.records += partition->high_watermark().value();
  answer.elected_ms = view.last_leader == NodeId(0) ? -1 : (now - view.elected_at) / kMillisecond;
  answer.previous_leader_id = to_wire(view.previous_leader);
  if (core.is_leader()) describe_peers(core, now, room, answer);
}

void run_status(Call& base, Broker& broker) {
  auto& call = static_cast<StatusCall&>(base);
  for (std::size_t id = 0; id < call.groups.size(); ++id) {
    const replica::Group* group = broker.group(GroupId(static_cast<std::uint32_t>(id)));
    if (group == nullptr) continue;
    describe_group(broker, *group, call.peers.subspan(id * raft::kPeersMax, raft::kPeersMax),
                   call.groups[id]);
    describe_members(group->core().configuration(), call.members.subspan(id * kMembersMax, kMembersMax),
                     call.groups[id]);
  }
  broker.router().reply(base);
}

void status_done(Call& base, Broker& broker) {
  Request& request = *static_cast<StatusCall&>(base).request;
  auto& state = *static_cast<StatusState*>(request.state);
  if (--state.outstanding > 0) return;
  const BrokerOptions& options = broker.options();
  Status response;
  response.node_id = to_wire(options.node);
  response.cluster_id = options.cluster_id;
  response.version = ESC_VERSION;
  response.uptime_ms = (broker.env().clock.now() - broker.started_at()) / kMillisecond;
  response.cores = static_cast<std::int32_t>(broker.router().cores());
  response.groups = state.groups;
  broker.respond(request, response);
}

}  // namespace

void handle_node_status(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::NodeStatusRequest>(request);
  if (asked == nullptr) return;
  const std::uint32_t cores = broker.router().cores();
  const std::size_t groups = broker.options().groups;
  const auto states = broker.allocate<StatusState>(request, 1);
  const auto calls = broker.allocate<StatusCall>(request, cores);
  const auto room = broker.allocate<Status::Group>(request, groups);
  const auto peers = broker.allocate<Status::Peer>(request, groups * raft::kPeersMax);
  const auto members = broker.allocate<std::int32_t>(request, groups * kMembersMax);
  if (states.data() == nullptr || calls.data() == nullptr || room.data() == nullptr ||
      peers.data() == nullptr || members.data() == nullptr) {
    broker.protocol_error(request, "no memory for the status");
    return;
  }
  StatusState& state = states[0];
  state = {calls, room, cores};
  request.state = &state;
  for (std::uint32_t core = 0; core < cores; ++core) {
    StatusCall& call = calls[core];
    call.request = &request;
    call.groups = room;
    call.peers = peers;
    call.members = members;
    call.target = CoreId(core);
    call.run = &run_status;
    call.done = &status_done;
    broker.router().send(call);
  }
}

}  // namespace esc::broker
