// OffsetForLeaderEpoch: where the records of an epoch end, so that a consumer notices when the log it read
// from has been replaced (KIP-320).
#include "esc/wire/api/offset_for_leader_epoch.h"

#include "../partition_calls.h"

namespace esc::broker {
namespace {

using Response = wire::OffsetForLeaderEpochResponse;

struct EpochItem {
  PartitionId partition;
  GroupId group;
  wire::ErrorCode code = wire::ErrorCode::none;
  std::int32_t current_epoch = -1;
  std::int32_t epoch = 0;
  replica::Group::EpochEnd found;
  Response::Partition* answer = nullptr;
  EpochItem* next = nullptr;
};

void visit(PartitionCall<EpochItem>& call, EpochItem& item) {
  const replica::Group& group = *call.owner->group(item.group);
  const replica::Partition* partition = group.find(item.partition);
  item.code = check_reader(group, partition, item.current_epoch);
  if (item.code == wire::ErrorCode::none) item.found = group.end_of_epoch(*partition, item.epoch);
}

void finish(Broker& broker, Request& request) {
  const auto& state = *static_cast<PartitionState<EpochItem>*>(request.state);
  for (const EpochItem& item : state.items) {
    if (item.answer == nullptr) continue;
    item.answer->error_code = item.code;
    item.answer->leader_epoch = item.found.epoch;
    item.answer->end_offset = item.found.end.value();
  }
  broker.respond(request, *static_cast<Response*>(state.context));
}

}  // namespace

void handle_offset_for_leader_epoch(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::OffsetForLeaderEpochRequest>(request);
  if (asked == nullptr) return;
  std::size_t count = 0;
  for (const auto& topic : asked->topics) count += topic.partitions.size();
  auto* state = make_partition_state<EpochItem>(broker, request, count);
  const auto response = broker.allocate<Response>(request, 1);
  const auto topics = broker.allocate<Response::Topic>(request, asked->topics.size() + 1);
  const auto answers = broker.allocate<Response::Partition>(request, count + 1);
  if (state == nullptr || response.data() == nullptr || topics.data() == nullptr || answers.data() == nullptr)
    return broker.protocol_error(request, "no memory for the request");
  std::size_t at = 0;
  for (std::size_t t = 0; t < asked->topics.size(); ++t) {
    const auto& topic = asked->topics[t];
    const TopicView* view = broker.directory().find(topic.topic);
    topics[t] = {topic.topic, answers.subspan(at, topic.partitions.size())};
    for (const auto& partition : topic.partitions) {
      EpochItem& item = state->items[at];
      item.current_epoch = partition.current_leader_epoch;
      item.epoch = partition.leader_epoch;
      item.answer = &answers[at++];
      item.answer->partition = partition.partition;
      (void)locate(view, partition.partition, item);
    }
  }
  response[0].topics = topics.first(asked->topics.size());
  state->context = response.data();
  state->finish = &finish;
  visit_partitions(broker, request, count, &visit);
}

}  // namespace esc::broker
