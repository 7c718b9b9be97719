// DeleteRecords: a partition's log begins at a later offset from now on, on every node.
#include "esc/wire/api/delete_records.h"

#include "../partition_calls.h"

namespace esc::broker {
namespace {

using Response = wire::DeleteRecordsResponse;

constexpr std::int64_t kAllRecords = -1;  // up to the high watermark

struct DeleteItem : replica::CommitWaiter {
  PartitionId partition;
  GroupId group;
  wire::ErrorCode code = wire::ErrorCode::none;
  Offset start;
  PartitionCall<DeleteItem>* call = nullptr;
  Response::Partition* answer = nullptr;
  DeleteItem* next = nullptr;
};

wire::ErrorCode to_error_code(Errc code) {
  if (code == Errc::ok) return wire::ErrorCode::none;
  if (code == Errc::busy) return wire::ErrorCode::request_timed_out;
  return code == Errc::not_leader ? wire::ErrorCode::not_leader_or_follower
                                  : wire::ErrorCode::kafka_storage_error;
}

void on_committed(replica::CommitWaiter& waiter, Errc code) {
  auto& item = static_cast<DeleteItem&>(waiter);
  item.code = to_error_code(code);
  item.call->visit_done();
}

void visit(PartitionCall<DeleteItem>& call, DeleteItem& item) {
  replica::Group& group = *call.owner->group(item.group);
  const replica::Partition* partition = group.find(item.partition);
  item.code = check_reader(group, partition, -1);
  if (item.code != wire::ErrorCode::none) return;
  if (item.start == Offset(kAllRecords)) item.start = partition->high_watermark();
  if (item.start < Offset(0) || item.start > partition->high_watermark()) {
    item.code = wire::ErrorCode::offset_out_of_range;
    return;
  }
  if (item.start <= partition->log_start_offset()) {
    item.start = partition->log_start_offset();
    return;
  }
  const auto index = group.propose_log_start(item.partition, item.start);
  if (!index) {
    item.code = to_error_code(index.error());
    return;
  }
  item.call = &call;
  item.index = *index;
  item.done = &on_committed;
  ++call.waiting;
  group.wait_committed(item);
}

void finish(Broker& broker, Request& request) {
  const auto& state = *static_cast<PartitionState<DeleteItem>*>(request.state);
  for (const DeleteItem& item : state.items) {
    if (item.answer == nullptr) continue;
    item.answer->error_code = item.code;
    item.answer->low_watermark = item.code == wire::ErrorCode::none ? item.start.value() : -1;
  }
  broker.respond(request, *static_cast<Response*>(state.context));
}

}  // namespace

void handle_delete_records(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::DeleteRecordsRequest>(request);
  if (asked == nullptr) return;
  std::size_t count = 0;
  for (const auto& topic : asked->topics) count += topic.partitions.size();
  auto* state = make_partition_state<DeleteItem>(broker, request, count);
  const auto response = broker.allocate<Response>(request, 1);
  const auto topics = broker.allocate<Response::Topic>(request, asked->topics.size() + 1);
  const auto answers = broker.allocate<Response::Partition>(request, count + 1);
  if (state == nullptr || response.data() == nullptr || topics.data() == nullptr || answers.data() == nullptr)
    return broker.protocol_error(request, "no memory for the request");
  std::size_t at = 0;
  for (std::size_t t = 0; t < asked->topics.size(); ++t) {
    const auto& topic = asked->topics[t];
    const TopicView* view = broker.directory().find(topic.name);
    topics[t] = {topic.name, answers.subspan(at, topic.partitions.size())};
    for (const auto& partition : topic.partitions) {
      DeleteItem& item = state->items[at];
      item.start = Offset(partition.offset);
      item.answer = &answers[at++];
      item.answer->partition_index = partition.partition_index;
      (void)locate(view, partition.partition_index, item);
    }
  }
  response[0].topics = topics.first(asked->topics.size());
  state->context = response.data();
  state->finish = &finish;
  visit_partitions(broker, request, count, &visit);
}

}  // namespace esc::broker
