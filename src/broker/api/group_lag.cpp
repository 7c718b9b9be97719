// GroupLag: how far a consumer group is behind. The coordinator's node answers, which holds a replica of
// every partition: committed offsets from the group, ends and times from the logs.
//
//   request -> coordinator (offsets) -> request's core -> cores of the partitions (ends, times) -> answer
//
// Seconds of lag: now minus the timestamp of the batch that holds the first record not consumed. Of a
// partition that is led elsewhere the end is what has arrived here, at most a heartbeat old.
#include "esc/wire/api/group_lag.h"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "../coordinators.h"
#include "../handlers.h"
#include "../respond.h"
#include "esc/wire/record_batch.h"

namespace esc::broker {
namespace {

// Room for one batch at a time; of a larger one the time is not known.
constexpr std::size_t kScratchBytes = 2 * 1024 * 1024;

struct LagItem {
  std::string topic;
  std::int32_t index = 0;
  coord::CommittedOffset committed;
  PartitionId partition;
  GroupId group;
  wire::ErrorCode code = wire::ErrorCode::none;
  Offset log_start{-1};
  Offset log_end{-1};
  std::int64_t lag_events = -1;
  std::int64_t lag_ms = -1;
};

// The partitions of one core, one after the other.
struct LagCall : Call {
  struct LagState* state = nullptr;
  Broker* owner = nullptr;
  std::vector<LagItem*> items;
  std::size_t cursor = 0;
  ByteSpan scratch;
  store::ReadOp read;
};

struct LagState {
  Request* request = nullptr;
  coord::GroupView view;
  wire::ErrorCode code = wire::ErrorCode::none;
  std::vector<LagItem> items;
  std::vector<LagCall> calls;  // by core
  std::size_t outstanding = 0;
};

void answer_lag(Broker& broker, std::unique_ptr<LagState> state) {
  using Response = wire::GroupLagResponse;
  Request& request = *state->request;
  const auto partitions = broker.allocate<Response::Partition>(request, state->items.size());
  if (partitions.size() != state->items.size())
    return broker.protocol_error(request, "no memory for the lag of the group");
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const LagItem& item = state->items[i];
    partitions[i].error_code = item.code;
    partitions[i].topic = item.topic;
    partitions[i].partition_index = item.index;
    partitions[i].committed_offset = item.committed.offset;
    partitions[i].committed_ms = item.committed.committed_ms;
    partitions[i].log_start_offset = item.log_start.value();
    partitions[i].log_end_offset = item.log_end.value();
    partitions[i].lag_events = item.lag_events;
    partitions[i].lag_ms = item.lag_ms;
  }
  Response response;
  response.error_code = state->code;
  response.generation_id = state->view.generation;
  response.group_state = to_string(state->view.phase);
  response.partitions = partitions;
  broker.respond(request, response);
}

// --- the cores of the partitions
// --------------------------------------------------------------------------------

void continue_lag(Broker& broker, LagCall& call);

void take_time(Broker& broker, LagItem& item, ByteView bytes) {
  const auto batch = wire::BatchView::parse(bytes);
  if (!batch) return;
  const std::int64_t written_ms = batch->log_append_time() ? batch->max_timestamp() : batch->base_timestamp();
  if (written_ms >= 0) item.lag_ms = std::max<std::int64_t>(broker.env().clock.wall_ms() - written_ms, 0);
}

void on_lag_read(store::ReadOp& read, Errc code) {
  auto& call = *static_cast<LagCall*>(read.context);
  LagItem& item = *call.items[call.cursor];
  call.owner->group(item.group)->unpin();
  if (code == Errc::ok && !read.bytes.empty()) take_time(*call.owner, item, read.bytes);
  ++call.cursor;
  continue_lag(*call.owner, call);
}

// False: an asynchronous read has begun.
bool look_at(Broker& broker, LagCall& call, LagItem& item) {
  replica::Group& group = *broker.group(item.group);
  replica::Partition* const partition = group.find(item.partition);
  if (partition == nullptr) {
    item.code = wire::ErrorCode::unknown_topic_or_partition;
    return true;
  }
  item.log_start = partition->log_start_offset();
  item.log_end = partition->high_watermark();
  // What retention has dropped cannot be consumed any more.
  const Offset next = std::max(Offset(item.committed.offset), item.log_start);
  item.lag_events = std::max<std::int64_t>(item.log_end.value() - next.value(), 0);
  if (item.lag_events == 0) {
    item.lag_ms = 0;
    return true;
  }
  if (group.in_tail(*partition, next)) {
    auto read = group.read_tail(*partition, next, {});
    if (read.needed <= call.scratch.size())
      read = group.read_tail(*partition, next, call.scratch.first(read.needed));
    if (read.bytes > 0) take_time(broker, item, ByteView(call.scratch).first(read.bytes));
    return true;
  }
  if (call.scratch.empty()) return true;
  call.read = store::ReadOp{};
  call.read.offset = next;
  call.read.buffer = call.scratch;
  call.read.context = &call;
  call.read.done = &on_lag_read;
  group.pin();
  partition->log().read(call.read);
  return false;
}

void continue_lag(Broker& broker, LagCall& call) {
  for (; call.cursor < call.items.size(); ++call.cursor) {
    if (!look_at(broker, call, *call.items[call.cursor])) return;
  }
  broker.router().reply(call);
}

void lag_done(Call& base, Broker& broker) {
  LagState* const state = static_cast<LagCall&>(base).state;
  if (--state->outstanding == 0) answer_lag(broker, std::unique_ptr<LagState>(state));
}

// --- the request's core
// -----------------------------------------------------------------------------------------

void measure(Broker& broker, std::unique_ptr<LagState> state) {
  state->calls = std::vector<LagCall>(broker.router().cores());
  for (LagItem& item : state->items) {
    if (!locate(broker.directory().find(item.topic), item.index, item)) continue;
    state->calls[broker.core_of(item.group).value()].items.push_back(&item);
  }
  state->outstanding = 1;
  LagState* const shared = state.release();
  for (std::uint32_t core = 0; core < broker.router().cores(); ++core) {
    LagCall& call = shared->calls[core];
    if (call.items.empty()) continue;
    // Without memory the events are told, and times are unknown.
    if (!shared->request->data.full()) call.scratch = broker.response_pool().allocate(kScratchBytes);
    if (!call.scratch.empty()) shared->request->data.push_back(call.scratch);
    call.state = shared;
    call.target = CoreId(core);
    call.run = [](Call& base, Broker& target) {
      auto& run = static_cast<LagCall&>(base);
      run.owner = &target;
      continue_lag(target, run);
    };
    call.done = &lag_done;
    ++shared->outstanding;
    broker.router().send(call);
  }
  if (--shared->outstanding == 0) answer_lag(broker, std::unique_ptr<LagState>(shared));
}

struct LagOffsetsCall final : CoordinatorCall {
  std::unique_ptr<LagState> state;

  void begin(coord::Coordinator& coordinator, Broker& owner) override {
    state->view = coordinator.describe(state->view.id);
    const coord::StoredGroup* stored = coordinator.state().find(state->view.id);
    if (stored == nullptr && state->view.phase == coord::Phase::dead) {
      answer.code = wire::ErrorCode::group_id_not_found;
    }
    if (stored != nullptr) {
      for (const auto& [topic, offsets] : stored->topics) {
        for (const auto& [partition, offset] : offsets.partitions) {
          LagItem& item = state->items.emplace_back();
          item.topic = topic;
          item.index = partition;
          item.committed = offset;
        }
      }
    }
    owner.coordinators().finish(*this);
  }
  void finish(Broker& broker) override {
    state->code = answer.code;
    measure(broker, std::move(state));
  }
};

}  // namespace

void handle_group_lag(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::GroupLagRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<LagOffsetsCall>();
  call->request = &request;
  call->state = std::make_unique<LagState>();
  call->state->request = &request;
  call->state->view.id = asked->group_id;
  submit_coordinator_call(broker, asked->group_id, std::move(call));
}

}  // namespace esc::broker
