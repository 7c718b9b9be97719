// ListOffsets: earliest, latest, by time, and the offset of the newest timestamp.
#include "esc/wire/api/list_offsets.h"

#include "../failed_read.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/compression.h"
#include "esc/wire/record_batch.h"

namespace esc::broker {
namespace {

// For lookups by time only: one half reads the batch that was found, the other holds its decompressed
// records.
constexpr std::size_t kScratchBytes = 4 * 1024 * 1024;

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
  store::ReadOp read;
  bool by_time = false;
};

struct OffsetsState {
  std::span<OffsetItem> items;
  std::span<OffsetsCall> calls;
  std::span<wire::ListOffsetsResponse::Topic> topics;
  std::span<wire::ListOffsetsResponse::Partition> partitions;
  std::uint32_t outstanding = 0;
};

// The first record at or after the wanted time in a batch whose newest record qualifies. When the records do
// not fit the scratch memory, the batch's first offset stands: a consumer that starts there misses nothing.
void find_in_batch(wire::BatchView batch, ByteSpan scratch, OffsetItem& item) {
  item.offset = Offset(batch.base_offset());
  item.found_timestamp = batch.max_timestamp();
  item.found_epoch = batch.leader_epoch();
  const auto plain = wire::batch_records(batch, scratch);
  if (!plain) return;
  wire::RecordIterator records(*plain, batch.record_count());
  while (const auto record = records.next()) {
    const std::int64_t at = batch.base_timestamp() + record->timestamp_delta;
    if (at < item.timestamp) continue;
    item.offset = Offset(batch.base_offset() + record->offset_delta);
    item.found_timestamp = at;
    return;
  }
}

void continue_lookup(Broker& broker, OffsetsCall& call);

ByteSpan second_half(ByteSpan scratch) {
  return scratch.subspan(scratch.size() / 2);
}

void find_in_tail(replica::Group& group, const replica::Partition& partition, ByteSpan scratch,
                  OffsetItem& item) {
  const replica::EntryRecord* entry = group.tail_at_time(partition, item.timestamp);
  if (entry == nullptr) return;
  if (const auto batch = wire::BatchView::parse(ByteView(entry->body, entry->body_bytes))) {
    find_in_batch(*batch, second_half(scratch), item);
  }
}

void next_item(OffsetsCall& call) {
  call.owner->group(call.cursor->group)->unpin();
  call.cursor = call.cursor->next;
  continue_lookup(*call.owner, call);
}

// The batch that the index named has been read: look inside. What was found before stands when the batch is
// too large for the memory, or gone by now.
void on_batch_read(store::ReadOp& read, Errc code) {
  auto& call = *static_cast<OffsetsCall*>(read.context);
  OffsetItem& item = *call.cursor;
  const auto batch = wire::BatchView::parse(read.bytes);
  if (code == Errc::ok && batch) {
    find_in_batch(*batch, second_half(call.scratch), item);
  } else if (code == Errc::corruption || code == Errc::io_error) {
    item.code = failed_read(*call.owner, item.group, item.partition, code);
  }
  next_item(call);
}

void on_found(store::TimeOp& lookup, Errc code) {
  auto& call = *static_cast<OffsetsCall*>(lookup.context);
  OffsetItem& item = *call.cursor;
  replica::Group& group = *call.owner->group(item.group);
  replica::Partition* partition = group.find(item.partition);
  if (partition == nullptr) {
    item.code = wire::ErrorCode::unknown_topic_or_partition;
  } else if (code != Errc::ok) {
    item.code = failed_read(*call.owner, item.group, item.partition, code);
  } else if (lookup.offset.value() < 0) {
    find_in_tail(group, *partition, call.scratch, item);
  } else {
    item.offset = lookup.offset;
    item.found_timestamp = lookup.found_timestamp;
    item.found_epoch = static_cast<std::int32_t>(group.term().value());
    call.read = store::ReadOp{};
    call.read.offset = lookup.offset;
    call.read.buffer = call.scratch.first(call.scratch.size() / 2);
    call.read.context = &call;
    call.read.done = &on_batch_read;
    partition->log().read(call.read);
    return;
  }
  next_item(call);
}

// False: an asynchronous lookup has begun.
bool look_up(Broker& broker, OffsetsCall& call, OffsetItem& item) {
  replica::Group& group = *broker.group(item.group);
  replica::Partition* partition = group.find(item.partition);
  const auto epoch = static_cast<std::int32_t>(group.term().value());
  item.code = check_reader(group, partition, item.leader_epoch);
  if (item.code != wire::ErrorCode::none) return true;
  // That of the newest tiered record (-5) finds nothing, and so does any other negative one.
  if (item.timestamp == wire::kEarliestLocalTimestamp) item.timestamp = wire::kEarliestTimestamp;
  if (item.timestamp == wire::kEarliestTimestamp || item.timestamp == wire::kLatestTimestamp) {
    const bool earliest = item.timestamp == wire::kEarliestTimestamp;
    item.offset = earliest ? partition->log_start_offset() : partition->high_watermark();
    item.found_epoch = epoch;
    return true;
  }
  if (item.timestamp == wire::kMaxTimestamp) item.timestamp = group.max_timestamp(*partition);
  if (item.timestamp < 0 || call.scratch.empty()) return true;
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
      if (!locate(view, partition.partition_index, item)) continue;
      item.timestamp = partition.timestamp;
      item.leader_epoch = partition.current_leader_epoch;
      OffsetsCall& call = state.calls[broker.core_of(item.group).value()];
      item.next = call.first;
      call.first = &item;
      call.by_time = call.by_time || item.timestamp >= 0 || item.timestamp == wire::kMaxTimestamp;
    }
    state.topics[t].name = asked.topics[t].name;
    state.topics[t].partitions = state.partitions.subspan(first, at - first);
  }
  return true;
}

// False: no memory; the client is told to try again.
bool take_scratch(Broker& broker, Request& request, OffsetsCall& call) {
  if (!request.data.full()) call.scratch = broker.response_pool().allocate(kScratchBytes);
  if (!call.scratch.empty()) {
    request.data.push_back(call.scratch);
    return true;
  }
  for (OffsetItem* item = call.first; item != nullptr; item = item->next) {
    item->code = wire::ErrorCode::leader_not_available;
  }
  return false;
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
    if (call.by_time && !take_scratch(broker, request, call)) continue;
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
