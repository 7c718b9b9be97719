// ListOffsets: earliest, latest, by time, and the offset of the newest timestamp.
#include "esc/wire/api/list_offsets.h"

#include <algorithm>

#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/record_batch.h"

namespace esc::broker {
namespace {

constexpr std::size_t kScratchBytes = 64 * 1024;

struct OffsetItem {
  PartitionId partition;
  GroupId group;
  std::int64_t timestamp = 0;
  std::int32_t leader_epoch = -1;
  wire::ErrorCode code = wire::ErrorCode::none;
  std::int64_t found_timestamp = -1;
  Offset offset{-1};
  std::int32_t found_epoch = -1;
  OffsetItem* next = nullptr;
};

struct OffsetsCall : Call {
  Request* request = nullptr;
  Broker* owner = nullptr;
  OffsetItem* first = nullptr;
  OffsetItem* cursor = nullptr;
  ByteSpan scratch;
  store::TimeOp lookup;
};

struct OffsetsState {
  std::span<OffsetItem> items;
  std::span<OffsetsCall> calls;
  std::span<wire::ListOffsetsResponse::Topic> topics;
  std::span<wire::ListOffsetsResponse::Partition> partitions;
  std::uint32_t outstanding = 0;
};

// The first record at or after `timestamp` in a batch whose newest record qualifies. Compressed batches are not
// opened: their first offset is a safe answer, the consumer skips what is older.
void find_in_batch(const replica::EntryRecord& entry, std::int64_t timestamp, OffsetItem& item) {
  item.offset = entry.base_offset;
  item.found_timestamp = entry.max_timestamp;
  const auto batch = wire::BatchView::parse(ByteView(entry.body, entry.body_bytes));
  if (!batch || batch->codec() != wire::Codec::none) return;
  wire::RecordIterator records(batch->payload(), batch->record_count());
  while (const auto record = records.next()) {
    const std::int64_t at = batch->base_timestamp() + record->timestamp_delta;
    if (at < timestamp) continue;
    item.offset = entry.base_offset + record->offset_delta;
    item.found_timestamp = at;
    return;
  }
}

void continue_lookup(Broker& broker, OffsetsCall& call);

void find_in_tail(replica::Group& group, const replica::Partition& partition, OffsetItem& item) {
  if (const replica::EntryRecord* entry = group.tail_at_time(partition, item.timestamp)) {
    find_in_batch(*entry, item.timestamp, item);
    item.found_epoch = static_cast<std::int32_t>(group.term().value());
  }
}

void on_found(store::TimeOp& lookup, Errc code) {
  auto& call = *static_cast<OffsetsCall*>(lookup.context);
  OffsetItem& item = *call.cursor;
  replica::Group& group = *call.owner->group(item.group);
  group.unpin();
  const replica::Partition* partition = group.find(item.partition);
  if (partition == nullptr) {
    item.code = wire::ErrorCode::unknown_topic_or_partition;
  } else if (code != Errc::ok) {
    item.code = wire::ErrorCode::kafka_storage_error;
  } else if (lookup.offset.value() >= 0) {
    item.offset = lookup.offset;
    item.found_timestamp = lookup.found_timestamp;
    item.found_epoch = static_cast<std::int32_t>(group.term().value());
  } else {
    find_in_tail(group, *partition, item);
  }
  call.cursor = item.next;
  continue_lookup(*call.owner, call);
}

// False: an asynchronous lookup has begun.
bool look_up(Broker& broker, OffsetsCall& call, OffsetItem& item) {
  replica::Group& group = *broker.group(item.group);
  replica::Partition* partition = group.find(item.partition);
  const auto epoch = static_cast<std::int32_t>(group.term().value());
  if (partition == nullptr) item.code = wire::ErrorCode::unknown_topic_or_partition;
  else if (!group.leading()) item.code = wire::ErrorCode::not_leader_or_follower;
  else if (item.leader_epoch != -1 && item.leader_epoch < epoch) item.code = wire::ErrorCode::fenced_leader_epoch;
  else if (item.leader_epoch > epoch) item.code = wire::ErrorCode::unknown_leader_epoch;
  if (item.code != wire::ErrorCode::none) return true;
  if (item.timestamp == wire::kEarliestTimestamp || item.timestamp == wire::kLatestTimestamp) {
    const bool earliest = item.timestamp == wire::kEarliestTimestamp;
    item.offset = earliest ? partition->log_start_offset() : partition->high_watermark();
    item.found_epoch = epoch;
    return true;
  }
  if (item.timestamp == wire::kMaxTimestamp) item.timestamp = group.max_timestamp(*partition);
  if (item.timestamp < 0) return true;
  call.lookup = store::TimeOp{};
  call.lookup.timestamp = item.timestamp;
  call.lookup.scratch = call.scratch;
  call.lookup.context = &call;
  call.lookup.done = &on_found;
  group.pin();
  partition->log().find_time(call.lookup);
  return false;
}

void continue_lookup(Broker& broker, OffsetsCall& call) {
  for (; call.cursor != nullptr; call.cursor = call.cursor->next) {
    if (!look_up(broker, call, *call.cursor)) return;
  }
  broker.router().reply(call);
}

void run_offsets(Call& base, Broker& broker) {
  auto& call = static_cast<OffsetsCall&>(base);
  call.owner = &broker;
  call.cursor = call.first;
  continue_lookup(broker, call);
}

void answer_offsets(Broker& broker, Request& request) {
  auto& state = *static_cast<OffsetsState*>(request.state);
  for (std::size_t i = 0; i < state.items.size(); ++i) {
    const OffsetItem& item = state.items[i];
    wire::ListOffsetsResponse::Partition& answer = state.partitions[i];
    answer.error_code = item.code;
    answer.timestamp = item.found_timestamp;
    answer.offset = item.offset.value();
    answer.leader_epoch = item.found_epoch;
  }
  wire::ListOffsetsResponse response;
  response.topics = state.topics;
  broker.respond(request, response);
}

void offsets_done(Call& base, Broker& broker) {
  Request& request = *static_cast<OffsetsCall&>(base).request;
  if (--static_cast<OffsetsState*>(request.state)->outstanding == 0) answer_offsets(broker, request);
}

bool resolve(Broker& broker, Request& request, const wire::ListOffsetsRequest& asked, OffsetsState& state) {
  std::size_t count = 0;
  for (const auto& topic : asked.topics) count += topic.partitions.size();
  state.items = broker.allocate<OffsetItem>(request, count);
  state.partitions = broker.allocate<wire::ListOffsetsResponse::Partition>(request, count);
  state.topics = broker.allocate<wire::ListOffsetsResponse::Topic>(request, asked.topics.size());
  state.calls = broker.allocate<OffsetsCall>(request, broker.router().cores());
  if (state.items.data() == nullptr || state.partitions.data() == nullptr || state.topics.data() == nullptr ||
      state.calls.data() == nullptr) {
    return false;
  }
  std::size_t at = 0;
  for (std::size_t t = 0; t < asked.topics.size(); ++t) {
    const TopicView* view = broker.directory().find(asked.topics[t].name);
    const std::size_t first = at;
    for (const auto& partition : asked.topics[t].partitions) {
      state.partitions[at].partition_index = partition.partition_index;
      OffsetItem& item = state.items[at++];
      const auto index = static_cast<std::size_t>(partition.partition_index);
      if (view == nullptr || partition.partition_index < 0 || index >= view->topic->partitions.size()) {
        item.code = wire::ErrorCode::unknown_topic_or_partition;
        continue;
      }
      item.partition = view->topic->partitions[index].id;
      item.group = view->topic->partitions[index].group;
      item.timestamp = partition.timestamp;
      item.leader_epoch = partition.current_leader_epoch;
      OffsetsCall& call = state.calls[broker.core_of(item.group).value()];
      item.next = call.first;
      call.first = &item;
    }
    state.topics[t].name = asked.topics[t].name;
    state.topics[t].partitions = state.partitions.subspan(first, at - first);
  }
  return true;
}

}  // namespace

void handle_list_offsets(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::ListOffsetsRequest>(request);
  if (asked == nullptr) return;
  const auto states = broker.allocate<OffsetsState>(request, 1);
  if (states.data() == nullptr || !resolve(broker, request, *asked, states[0])) {
    broker.protocol_error(request, "no memory for the list offsets request");
    return;
  }
  OffsetsState& state = states[0];
  request.state = &state;
  state.outstanding = 1;
  for (std::uint32_t core = 0; core < state.calls.size(); ++core) {
    OffsetsCall& call = state.calls[core];
    if (call.first == nullptr) continue;
    call.scratch = broker.request_pool().allocate(kScratchBytes);
    if (call.scratch.empty() || request.extra.full()) {
      if (!call.scratch.empty()) broker.request_pool().free(call.scratch);
      for (OffsetItem* item = call.first; item != nullptr; item = item->next) {
        item->code = wire::ErrorCode::leader_not_available;  // retriable
      }
      continue;
    }
    request.extra.push_back(call.scratch);
    call.request = &request;
    call.target = CoreId(core);
    call.run = &run_offsets;
    call.done = &offsets_done;
    ++state.outstanding;
    broker.router().send(call);
  }
  if (--state.outstanding == 0) answer_offsets(broker, request);
}

}  // namespace esc::broker
