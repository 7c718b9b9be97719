// OffsetCommit, OffsetFetch: what consumer groups have read.
#include <memory>
#include <string>
#include <vector>

#include "../coordinators.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/api/offset_commit.h"
#include "esc/wire/api/offset_fetch.h"

namespace esc::broker {
namespace {

// --- OffsetCommit
// ---------------------------------------------------------------------------------------------

struct CommitCall final : CoordinatorCall {
  coord::CommitRequest wanted;
  std::span<wire::OffsetCommitResponse::Topic> topics;
  std::span<wire::OffsetCommitResponse::Partition> partitions;  // none: waits for the group's answer

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    coordinator.commit(token(), wanted, owner.env().clock.now());
  }
  void finish(Broker& broker) override {
    // Who does not coordinate the group may not know its topics yet either: the client shall look elsewhere.
    const bool elsewhere = answer.code == wire::ErrorCode::not_coordinator ||
                           answer.code == wire::ErrorCode::coordinator_load_in_progress;
    for (auto& partition : partitions) {
      if (elsewhere || partition.error_code == wire::ErrorCode::none) partition.error_code = answer.code;
    }
    wire::OffsetCommitResponse response;
    response.topics = topics;
    broker.respond(*request, response);
  }
};

// Sorts out what cannot be committed whatever the group says.
bool resolve_commit(Broker& broker, Request& request, const wire::OffsetCommitRequest& asked,
                    CommitCall& call) {
  std::size_t count = 0;
  for (const auto& topic : asked.topics) count += topic.partitions.size();
  call.topics = broker.allocate<wire::OffsetCommitResponse::Topic>(request, asked.topics.size());
  call.partitions = broker.allocate<wire::OffsetCommitResponse::Partition>(request, count);
  if (count > 0 && (call.topics.data() == nullptr || call.partitions.data() == nullptr)) return false;
  const std::size_t metadata_max = broker.options().groups_options.offset_metadata_bytes_max;
  std::size_t at = 0;
  for (std::size_t t = 0; t < asked.topics.size(); ++t) {
    const auto& topic = asked.topics[t];
    const TopicView* view = broker.directory().find(topic.name);
    const std::size_t first = at;
    for (const auto& partition : topic.partitions) {
      auto& answer = call.partitions[at++];
      answer.partition_index = partition.partition_index;
      const std::string_view metadata = partition.committed_metadata.value_or("");
      if (Directory::partition(view, partition.partition_index) == nullptr) {
        answer.error_code = wire::ErrorCode::unknown_topic_or_partition;
      } else if (metadata.size() > metadata_max) {
        answer.error_code = wire::ErrorCode::offset_metadata_too_large;
      } else {
        call.wanted.offsets.push_back({.topic = topic.name,
                                       .topic_id = to_uuid(view->topic->id),
                                       .known_at = broker.directory().catalog().applied().value(),
                                       .partition = partition.partition_index,
                                       .offset = partition.committed_offset,
                                       .leader_epoch = partition.committed_leader_epoch,
                                       .metadata = metadata});
      }
    }
    call.topics[t].name = topic.name;
    call.topics[t].partitions = call.partitions.subspan(first, at - first);
  }
  return true;
}

// --- OffsetFetch
// ----------------------------------------------------------------------------------------------

struct FetchedOffset {
  std::int32_t partition = 0;
  coord::CommittedOffset committed;
};
struct FetchedTopic {
  std::string name;
  std::vector<FetchedOffset> partitions;
};

struct FetchedGroup {
  std::string_view name;
  wire::ErrorCode code = wire::ErrorCode::none;
  std::vector<FetchedTopic> topics;
};

// Of one request: filled in as the calls come back.
struct OffsetFetchState {
  std::vector<FetchedGroup> groups;
  std::size_t outstanding = 0;
};

// The offsets of one group.
struct OffsetFetchCall final : CoordinatorCall {
  std::string_view name;
  bool all = false;                  // topics
  std::vector<FetchedTopic> topics;  // asked for, then found
  std::shared_ptr<OffsetFetchState> state;
  std::size_t slot = 0;
  Broker* owner = nullptr;
  replica::CommitWaiter confirmed;

  // A coordinator that was deposed and does not know it yet would tell old offsets.
  void begin(coord::Coordinator&, Broker& where) override {
    owner = &where;
    if (name.empty()) {
      answer.code = wire::ErrorCode::invalid_group_id;
      return owner->coordinators().finish(*this);
    }
    confirmed.context = this;
    confirmed.done = [](replica::CommitWaiter& waiter, Errc code) {
      static_cast<OffsetFetchCall*>(waiter.context)->on_confirmed(code);
    };
    owner->group(group)->confirm_leadership(confirmed);
  }
  void on_confirmed(Errc code) {
    if (code == Errc::ok) {
      read(owner->coordinators().of(group).state().find(name), owner->directory());
    } else {
      answer.code = wire::ErrorCode::not_coordinator;
    }
    owner->coordinators().finish(*this);
  }
  void finish(Broker& broker) override;

  void read(const coord::StoredGroup* stored, const Directory& directory);
};

// Offsets of a topic that was deleted and created anew are not this topic's.
bool is_current(const Directory& directory, std::string_view topic, const coord::TopicOffsets& offsets) {
  const TopicView* view = directory.find(topic);
  return view == nullptr || to_uuid(view->topic->id) == offsets.topic_id ||
         directory.catalog().applied().value() < offsets.known_at;
}

void OffsetFetchCall::read(const coord::StoredGroup* stored, const Directory& directory) {
  if (all && stored != nullptr) {
    for (const auto& [topic, offsets] : stored->topics) {
      FetchedTopic& found = topics.emplace_back();
      found.name = topic;
      for (const auto& [partition, offset] : offsets.partitions) found.partitions.push_back({partition, {}});
    }
  }
  for (FetchedTopic& topic : topics) {
    if (stored == nullptr) continue;
    const auto known = stored->topics.find(topic.name);
    if (known == stored->topics.end() || !is_current(directory, topic.name, known->second)) continue;
    for (FetchedOffset& wanted : topic.partitions) {
      const auto offset = known->second.partitions.find(wanted.partition);
      if (offset != known->second.partitions.end()) wanted.committed = offset->second;
    }
  }
}

// Fills the shape that both generations of the response share. Room for everything is taken at once.
template <class Topic, class Partition>
struct TopicFiller {
  std::span<Topic> topics;
  std::span<Partition> partitions;

  [[nodiscard]] bool prepare(Broker& broker, Request& request, const OffsetFetchState& state) {
    std::size_t topic_count = 0;
    std::size_t partition_count = 0;
    for (const FetchedGroup& group : state.groups) {
      topic_count += group.topics.size();
      for (const FetchedTopic& topic : group.topics) partition_count += topic.partitions.size();
    }
    topics = broker.allocate<Topic>(request, topic_count);
    partitions = broker.allocate<Partition>(request, partition_count);
    return topics.size() == topic_count && partitions.size() == partition_count;
  }
  [[nodiscard]] std::span<Topic> fill(const FetchedGroup& group) {
    const std::span<Topic> filled = topics.first(group.topics.size());
    topics = topics.subspan(filled.size());
    for (std::size_t t = 0; t < filled.size(); ++t) {
      const FetchedTopic& found = group.topics[t];
      for (std::size_t p = 0; p < found.partitions.size(); ++p) {
        Partition& answer = partitions[p];
        answer.partition_index = found.partitions[p].partition;
        answer.committed_offset = found.partitions[p].committed.offset;
        answer.committed_leader_epoch = found.partitions[p].committed.leader_epoch;
        answer.metadata = found.partitions[p].committed.metadata;
        answer.error_code = group.code;
      }
      filled[t].name = found.name;
      filled[t].partitions = partitions.first(found.partitions.size());
      partitions = partitions.subspan(found.partitions.size());
    }
    return filled;
  }
};

void answer_offset_fetch(Broker& broker, Request& request, const OffsetFetchState& state) {
  using Response = wire::OffsetFetchResponse;
  Response response;
  bool room = true;
  if (request.header.version < 8) {
    TopicFiller<Response::Topic, Response::Partition> filler;
    room = filler.prepare(broker, request, state);
    response.error_code = state.groups.front().code;
    if (room) response.topics = filler.fill(state.groups.front());
  } else {
    TopicFiller<Response::GroupTopic, Response::GroupPartition> filler;
    const auto groups = broker.allocate<Response::Group>(request, state.groups.size());
    room = groups.size() == state.groups.size() && filler.prepare(broker, request, state);
    for (std::size_t i = 0; room && i < groups.size(); ++i) {
      groups[i].group_id = state.groups[i].name;
      groups[i].error_code = state.groups[i].code;
      groups[i].topics = filler.fill(state.groups[i]);
    }
    response.groups = groups;
  }
  if (!room) return broker.protocol_error(request, "no memory for the offsets");
  broker.respond(request, response);
}

void OffsetFetchCall::finish(Broker& broker) {
  state->groups[slot] = {name, answer.code, std::move(topics)};
  if (--state->outstanding == 0) answer_offset_fetch(broker, *request, *state);
}

}  // namespace

void handle_offset_commit(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::OffsetCommitRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<CommitCall>();
  call->request = &request;
  call->wanted.group = asked->group_id;
  call->wanted.generation = asked->generation_id_or_member_epoch;
  call->wanted.member = asked->member_id;
  call->wanted.instance = asked->group_instance_id;
  if (!resolve_commit(broker, request, *asked, *call)) {
    broker.protocol_error(request, "no memory for the offsets to commit");
    return;
  }
  submit_coordinator_call(broker, asked->group_id, std::move(call));
}

void handle_offset_fetch(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::OffsetFetchRequest>(request);
  if (asked == nullptr) return;
  std::vector<std::unique_ptr<OffsetFetchCall>> calls;
  const auto add = [&](std::string_view name, const auto& topics) {
    auto& call = *calls.emplace_back(std::make_unique<OffsetFetchCall>());
    call.request = &request;
    call.name = name;
    call.all = !topics.has_value();
    if (call.all) return;
    for (const auto& topic : *topics) {
      FetchedTopic& wanted = call.topics.emplace_back();
      wanted.name = topic.name;
      for (const std::int32_t partition : topic.partition_indexes)
        wanted.partitions.push_back({partition, {}});
    }
  };
  if (request.header.version < 8) {
    add(asked->group_id, asked->topics);
  } else {
    for (const auto& group : asked->groups) add(group.group_id, group.topics);
  }
  const auto state = std::make_shared<OffsetFetchState>();
  state->groups.resize(calls.size());
  state->outstanding = calls.size();
  if (calls.empty()) return answer_offset_fetch(broker, request, *state);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    calls[i]->state = state;
    calls[i]->slot = i;
  }
  for (auto& call : calls) {
    const std::string_view name = call->name;
    submit_coordinator_call(broker, name, std::move(call));
  }
}

}  // namespace esc::broker
