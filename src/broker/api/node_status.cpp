// NodeStatus: every core tells of its groups.
#include "esc/wire/api/node_status.h"

#include "../every_core.h"
#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

using Status = wire::NodeStatusResponse;

constexpr std::size_t kMembersMax = raft::kVotersMax + raft::kLearnersMax;

// Each core fills in its own groups.
struct Room {
  std::span<Status::Group> groups;  // by id, of the whole node
  std::span<Status::Peer> peers;    // raft::kPeersMax per group
  std::span<std::int32_t> members;  // kMembersMax per group
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

void describe_groups(Broker& broker, const Room& room) {
  for (std::size_t id = 0; id < room.groups.size(); ++id) {
    const replica::Group* group = broker.group(GroupId(static_cast<std::uint32_t>(id)));
    if (group == nullptr) continue;
    describe_group(broker, *group, room.peers.subspan(id * raft::kPeersMax, raft::kPeersMax),
                   room.groups[id]);
    describe_members(group->core().configuration(), room.members.subspan(id * kMembersMax, kMembersMax),
                     room.groups[id]);
  }
}

void answer(Broker& broker, Request& request, std::span<Status::Group> groups) {
  const BrokerOptions& options = broker.options();
  Status response;
  response.node_id = to_wire(options.node);
  response.cluster_id = options.cluster_id;
  response.version = ESC_VERSION;
  response.uptime_ms = (broker.env().clock.now() - broker.started_at()) / kMillisecond;
  response.cores = static_cast<std::int32_t>(broker.router().cores());
  response.groups = groups;
  broker.respond(request, response);
}

}  // namespace

void handle_node_status(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::NodeStatusRequest>(request);
  if (asked == nullptr) return;
  const std::size_t groups = broker.options().groups;
  const Room room{.groups = broker.allocate<Status::Group>(request, groups),
                  .peers = broker.allocate<Status::Peer>(request, groups * raft::kPeersMax),
                  .members = broker.allocate<std::int32_t>(request, groups * kMembersMax)};
  if (room.groups.data() == nullptr || room.peers.data() == nullptr || room.members.data() == nullptr) {
    broker.protocol_error(request, "no memory for the status");
    return;
  }
  ask_every_core(
      broker, [room](Broker& target) { describe_groups(target, room); },
      [&request, room](Broker& origin, const auto&) { answer(origin, request, room.groups); });
}

}  // namespace esc::broker
