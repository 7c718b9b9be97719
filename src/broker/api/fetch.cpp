// Fetch: long poll on the cores that own the partitions, then reads from the tail in memory or the segment
// files.
#include "esc/wire/api/fetch.h"

#include <algorithm>

#include "../failed_read.h"
#include "../fetch_call.h"
#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

constexpr std::int32_t kMaxWaitMsMax = 60'000;
constexpr std::uint32_t kBufferBytesMin = 4096;

struct FetchState {
  std::span<FetchItem> items;  // in request order
  std::span<FetchCall> calls;  // by core; unused ones have no items
  std::span<HurryCall> hurries;
  std::span<wire::FetchResponse::Topic> topics;
  std::span<wire::FetchResponse::Partition> partitions;
  std::uint32_t outstanding = 0;
  std::uint32_t bytes_max_per_core = 0;
  bool hurried = false;
};

FetchState& state_of(Request& request) {
  return *static_cast<FetchState*>(request.state);
}

// --- the owner's core: checking and waiting -----------------------------------------------------------

// Fills in offsets and errors. Returns the bytes that a read would find, up to `limit`.
std::uint64_t inspect(Broker& broker, FetchItem& item, std::uint64_t limit) {
  replica::Group& group = *broker.group(item.group);
  replica::Partition* partition = group.find(item.partition);
  item.code = check_reader(group, partition, item.leader_epoch);
  if (item.code != wire::ErrorCode::none) {
    item.high_watermark = item.log_start = Offset(-1);
    return 0;
  }
  item.high_watermark = partition->high_watermark();
  item.log_start = partition->log_start_offset();
  if (item.offset < item.log_start || item.offset > item.high_watermark) {
    item.code = wire::ErrorCode::offset_out_of_range;
  }
  if (item.code != wire::ErrorCode::none || item.offset == item.high_watermark) return 0;
  if (group.in_tail(*partition, item.offset)) return group.tail_bytes_from(*partition, item.offset, limit);
  return limit;  // in the files: plenty
}

void unpark(FetchCall& call) {
  call.parked = false;
  for (replica::FetchWaiter& waiter : call.waiters) {
    if (waiter.linked()) waiter.unlink();
  }
}

void on_bytes(replica::FetchWaiter& waiter, std::uint64_t bytes, Errc code) {
  auto& call = *static_cast<FetchCall*>(waiter.context);
  call.bytes_ready += bytes;
  if (code == Errc::ok && call.bytes_ready < call.bytes_wanted) return;
  // Only this waiter may be unlinked inside its own notification: the others go when the call is replied to,
  // from the broker's next turn.
  waiter.unlink();
  if (!call.parked) return;
  call.parked = false;
  call.owner->finish_later(call);
}

void run_wait(Call& base, Broker& broker) {
  auto& call = static_cast<FetchCall&>(base);
  call.owner = &broker;
  call.bytes_ready = 0;
  bool error = false;
  for (FetchItem* item = call.first; item != nullptr; item = item->next) {
    call.bytes_ready += inspect(broker, *item, item->bytes_max);
    error = error || item->code != wire::ErrorCode::none;
  }
  if (error || call.hurried || call.bytes_ready >= call.bytes_wanted) {
    broker.router().reply(call);
    return;
  }
  call.parked = true;
  std::size_t i = 0;
  for (FetchItem* item = call.first; item != nullptr; item = item->next, ++i) {
    replica::FetchWaiter& waiter = call.waiters[i];
    waiter.context = &call;
    waiter.notify = &on_bytes;
    broker.group(item->group)->find(item->partition)->add_waiter(waiter);
  }
}

void run_hurry(Call& base, Broker& broker) {
  FetchCall& call = *static_cast<HurryCall&>(base).fetch;
  // The call may have been replied to already; then there is nothing parked here.
  call.hurried = true;
  if (call.parked) {
    unpark(call);
    broker.router().reply(call);
  }
  broker.router().reply(base);
}

// --- the owner's core: reading --------------------------------------------------------------------------

void continue_read(Broker& broker, FetchCall& call);
void on_segment_read(store::ReadOp& read, Errc code);

// Reads the item at the cursor into the next `room` bytes of the buffer.
void read_files(Broker& broker, FetchCall& call, std::size_t room) {
  const FetchItem& item = *call.cursor;
  replica::Group& group = *broker.group(item.group);
  call.read = store::ReadOp{};
  call.read.offset = item.offset;
  call.read.buffer = call.buffer.subspan(call.used, room);
  call.read.context = &call;
  call.read.done = &on_segment_read;
  group.pin();
  group.find(item.partition)->log().read(call.read);
}

void on_segment_read(store::ReadOp& read, Errc code) {
  auto& call = *static_cast<FetchCall*>(read.context);
  Broker& broker = *call.owner;
  FetchItem& item = *call.cursor;
  broker.group(item.group)->unpin();
  if (code != Errc::ok) {
    item.code = failed_read(broker, item.group, item.partition, code);
  } else if (!read.bytes.empty()) {
    item.records = read.bytes;
    // They may begin behind the beginning of the room: it is their end that the next item must not touch.
    const std::byte* const begin =
        broker.options().plant == Plant::fetch_parts_overlap ? read.buffer.data() : read.bytes.data();
    call.used = static_cast<std::uint32_t>(begin + read.bytes.size() - call.buffer.data());
  } else if (call.used == 0) {
    const std::uint32_t needed = read.first_batch_bytes;
    if (needed > item.bytes_max && needed <= call.buffer.size()) {
      item.bytes_max = needed;
      continue_read(broker, call);  // the partition may be gone by now
      return;
    }
    call.bytes_needed = needed;
  }
  call.cursor = item.next;
  continue_read(broker, call);
}

// Reads item by item until the buffer is full. Several turns when files are involved.
void continue_read(Broker& broker, FetchCall& call) {
  for (; call.cursor != nullptr && call.bytes_needed == 0; call.cursor = call.cursor->next) {
    FetchItem& item = *call.cursor;
    item.records = {};
    if (inspect(broker, item, 1) == 0) continue;
    replica::Group& group = *broker.group(item.group);
    const replica::Partition& partition = *group.find(item.partition);
    // Kafka's promise: the first batch of the first partition with data comes even if it is over the limits.
    const bool first_data = call.used == 0;
    const ByteSpan into = call.buffer.subspan(call.used);
    const std::size_t room = std::min<std::size_t>(into.size(), item.bytes_max);
    if (group.in_tail(partition, item.offset)) {
      auto read = group.read_tail(partition, item.offset, into.first(room));
      if (read.bytes == 0 && first_data)
        read = group.read_tail(partition, item.offset,
                               into.first(std::min<std::size_t>(read.needed, into.size())));
      if (read.bytes == 0 && first_data) call.bytes_needed = read.needed;
      item.records = ByteView(into).first(read.bytes);
      call.used += read.bytes;
      continue;
    }
    if (into.size() < kBufferBytesMin && !first_data) continue;
    read_files(broker, call, room);
    return;
  }
  broker.router().reply(call);
}

void run_read(Call& base, Broker& broker) {
  auto& call = static_cast<FetchCall&>(base);
  call.cursor = call.first;
  call.used = 0;
  call.bytes_needed = 0;
  continue_read(broker, call);
}

// --- the connection's core --------------------------------------------------------------------------------

void drop_buffers(Broker& broker, Request& request) {
  for (const ByteSpan buffer : request.data) broker.response_pool().free(buffer);
  request.data.clear();
}

void answer_fetch(Broker& broker, Request& request) {
  FetchState& state = state_of(request);
  for (std::size_t i = 0; i < state.items.size(); ++i) {
    const FetchItem& item = state.items[i];
    wire::FetchResponse::Partition& answer = state.partitions[i];
    answer.error_code = item.code;
    answer.high_watermark = item.high_watermark.value();
    answer.last_stable_offset = item.high_watermark.value();
    answer.log_start_offset = item.log_start.value();
    answer.records.bytes = item.records;
    broker.metrics().fetched_bytes.add(item.records.size());
  }
  wire::FetchResponse response;
  response.responses = state.topics;
  broker.respond_gathered(request, response, state.items.size());
}

void begin_read(Broker& broker, Request& request);

// Every core has read. One batch larger than the usual limit is read once more, with room for it.
void finish_read(Broker& broker, Request& request) {
  FetchState& state = state_of(request);
  std::uint32_t needed = 0;
  std::uint64_t total = 0;
  for (const FetchCall& call : state.calls) {
    total += call.used;
    needed = std::max(needed, call.bytes_needed);
  }
  if (total > 0 || needed == 0) {
    answer_fetch(broker, request);
    return;
  }
  for (FetchCall& call : state.calls) call.bytes_ready = std::max<std::uint64_t>(call.bytes_ready, needed);
  drop_buffers(broker, request);
  state.bytes_max_per_core = std::max(state.bytes_max_per_core, needed);
  begin_read(broker, request);
}

void read_done(Call& base, Broker& broker) {
  auto& call = static_cast<FetchCall&>(base);
  call.out = false;
  if (--state_of(*call.request).outstanding == 0) finish_read(broker, *call.request);
}

void begin_read(Broker& broker, Request& request) {
  broker.env().clock.disarm(request.timer);  // the wait is over, there is nothing left to hurry
  // A client that does not read its answers holds the memory of one of them, however many it has asked for.
  if (request.connection != nullptr && !request.connection->is_first(request)) {
    request.when_first = &begin_read;
    return;
  }
  FetchState& state = state_of(request);
  for (FetchCall& call : state.calls) {
    call.buffer = {};
    call.used = call.bytes_needed = 0;
    if (call.first == nullptr || call.bytes_ready == 0) continue;  // offsets and errors only
    const auto bytes = std::min<std::uint64_t>(call.bytes_ready, state.bytes_max_per_core);
    const ByteSpan block = broker.response_pool().allocate(std::max<std::size_t>(bytes, kBufferBytesMin));
    if (block.empty()) {
      drop_buffers(broker, request);
      broker.wait_for_response_memory(request, &begin_read);
      return;
    }
    request.data.push_back(block);
    call.buffer = block.first(bytes);
  }
  state.outstanding = 1;
  for (FetchCall& call : state.calls) {
    if (call.buffer.empty()) continue;
    ++state.outstanding;
    call.out = true;
    call.run = &run_read;
    call.done = &read_done;
    broker.router().send(call);
  }
  if (--state.outstanding == 0) finish_read(broker, request);
}

// Sends every parked part home.
void hurry(Broker& broker, Request& request) {
  FetchState& state = state_of(request);
  if (state.hurried) return;
  state.hurried = true;
  for (std::size_t core = 0; core < state.calls.size(); ++core) {
    FetchCall& call = state.calls[core];
    if (!call.out) continue;
    HurryCall& early = state.hurries[core];
    early.fetch = &call;
    early.target = CoreId(static_cast<std::uint32_t>(core));
    early.run = &run_hurry;
    early.done = [](Call& base, Broker& origin) {
      Request& waiting = *static_cast<HurryCall&>(base).fetch->request;
      if (--state_of(waiting).outstanding == 0) begin_read(origin, waiting);
    };
    ++state.outstanding;
  }
  for (HurryCall& early : state.hurries) {
    if (early.fetch != nullptr) broker.router().send(early);
  }
}

void wait_done(Call& base, Broker& broker) {
  auto& call = static_cast<FetchCall&>(base);
  Request& request = *call.request;
  call.out = false;
  FetchState& state = state_of(request);
  if (--state.outstanding == 0) {
    begin_read(broker, request);
  } else if (!state.hurried && state.calls.size() > 1) {
    ++state.outstanding;  // one core has enough: the others need not wait
    hurry(broker, request);
    if (--state.outstanding == 0) begin_read(broker, request);
  }
}

bool resolve(Broker& broker, Request& request, const wire::FetchRequest& fetch, FetchState& state) {
  const bool by_id = request.header.version >= 13;
  std::size_t count = 0;
  for (const auto& topic : fetch.topics) count += topic.partitions.size();
  state.items = broker.allocate<FetchItem>(request, count);
  state.partitions = broker.allocate<wire::FetchResponse::Partition>(request, count);
  state.topics = broker.allocate<wire::FetchResponse::Topic>(request, fetch.topics.size());
  if (count != 0 && (state.items.data() == nullptr || state.partitions.data() == nullptr ||
                     state.topics.data() == nullptr)) {
    return false;
  }
  std::size_t at = 0;
  for (std::size_t t = 0; t < fetch.topics.size(); ++t) {
    const TopicView* view = by_id ? broker.directory().find(replica::TopicId(fetch.topics[t].topic_id.bytes))
                                  : broker.directory().find(fetch.topics[t].topic);
    const std::size_t first = at;
    for (const auto& asked : fetch.topics[t].partitions) {
      FetchItem& item = state.items[at];
      state.partitions[at].partition_index = asked.partition;
      ++at;
      if (!locate(view, asked.partition, item)) {
        if (by_id && view == nullptr) item.code = wire::ErrorCode::unknown_topic_id;
        continue;
      }
      item.offset = Offset(asked.fetch_offset);
      item.leader_epoch = asked.current_leader_epoch;
      item.bytes_max = static_cast<std::uint32_t>(std::max(asked.partition_max_bytes, 0));
    }
    state.topics[t].topic = fetch.topics[t].topic;
    state.topics[t].topic_id = fetch.topics[t].topic_id;
    state.topics[t].partitions = state.partitions.subspan(first, at - first);
  }
  return true;
}

// Distributes the items over the cores. Returns how many cores are concerned.
std::uint32_t distribute(Broker& broker, FetchState& state, std::span<replica::FetchWaiter> waiters) {
  std::uint32_t used = 0;
  for (std::size_t i = state.items.size(); i-- > 0;) {
    FetchItem& item = state.items[i];
    if (item.code != wire::ErrorCode::none) continue;
    FetchCall& call = state.calls[broker.core_of(item.group).value()];
    if (call.first == nullptr) ++used;
    item.next = call.first;
    call.first = &item;
  }
  std::size_t at = 0;
  for (FetchCall& call : state.calls) {
    std::size_t items = 0;
    for (FetchItem* item = call.first; item != nullptr; item = item->next) ++items;
    call.waiters = waiters.subspan(at, items);
    at += items;
  }
  return used;
}

bool session_refused(Broker& broker, Request& request, const wire::FetchRequest& fetch) {
  if (fetch.session_id == 0 || fetch.session_epoch <= 0) return false;
  wire::FetchResponse response;
  response.error_code = wire::ErrorCode::fetch_session_id_not_found;
  broker.respond(request, response);
  return true;
}

}  // namespace

void handle_fetch(Broker& broker, Request& request) {
  const auto* fetch = broker.decode<wire::FetchRequest>(request);
  if (fetch == nullptr || session_refused(broker, request, *fetch)) return;
  const std::uint32_t cores = broker.router().cores();
  const auto states = broker.allocate<FetchState>(request, 1);
  const bool enough = states.data() != nullptr && resolve(broker, request, *fetch, states[0]);
  const auto waiters = enough ? broker.allocate<replica::FetchWaiter>(request, states[0].items.size())
                              : std::span<replica::FetchWaiter>{};
  if (enough) {
    states[0].calls = broker.allocate<FetchCall>(request, cores);
    states[0].hurries = broker.allocate<HurryCall>(request, cores);
  }
  if (!enough || (waiters.data() == nullptr && !states[0].items.empty()) ||
      states[0].calls.data() == nullptr || states[0].hurries.data() == nullptr) {
    broker.protocol_error(request, "no memory for the fetch request");
    return;
  }
  FetchState& state = states[0];
  request.state = &state;
  const std::uint32_t used = distribute(broker, state, waiters);
  const auto bytes_max =
      std::clamp<std::int64_t>(fetch->max_bytes, 1, std::int64_t{broker.options().fetch_bytes_max});
  state.bytes_max_per_core =
      static_cast<std::uint32_t>(std::max<std::int64_t>(bytes_max / std::max(used, 1U), 1));
  // An error to report does not wait; neither does a client without patience.
  const bool no_wait = used < 1 || fetch->max_wait_ms <= 0 || broker.shutting_down() ||
                       std::any_of(
                           state.items.begin(), state.items.end(),
                           [](const FetchItem& item) { return item.code != wire::ErrorCode::none; });
  const auto wanted = static_cast<std::uint64_t>(std::max(fetch->min_bytes, 0));
  state.outstanding = 1;
  if (!no_wait) {
    request.timer.context = &request;
    request.timer.fire = [](io::Timer& timer) {
      auto& waiting = *static_cast<Request*>(timer.context);
      hurry(*waiting.broker, waiting);
    };
    const std::int32_t wait_ms = std::min(fetch->max_wait_ms, kMaxWaitMsMax);
    broker.env().clock.arm(request.timer, broker.env().clock.now() + Nanos{wait_ms} * kMillisecond);
  }
  for (std::uint32_t core = 0; core < cores; ++core) {
    FetchCall& call = state.calls[core];
    if (call.first == nullptr) continue;
    call.request = &request;
    call.target = CoreId(core);
    call.run = &run_wait;
    call.done = &wait_done;
    call.bytes_wanted = no_wait ? 0 : (wanted + used - 1) / used;
    call.out = true;
    ++state.outstanding;
    broker.router().send(call);
  }
  if (--state.outstanding == 0) begin_read(broker, request);
}

}  // namespace esc::broker
