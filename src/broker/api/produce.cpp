// Produce: validate on the connection's core, append on the group's core, answer when committed.
#include "esc/wire/api/produce.h"

#include <algorithm>

#include "../event_ids.h"
#include "../handlers.h"
#include "../in_sync.h"
#include "../produce_call.h"
#include "../respond.h"
#include "esc/wire/record_batch.h"

namespace esc::broker {
namespace {

constexpr std::int32_t kTimeoutMsMax = 300'000;
// Their ids travel with the batch, 16 bytes each, in one log frame.
constexpr std::size_t kDedupRecordsMax = 65'536;

// Everything of one request that outlives its frame.
struct ProduceState {
  std::span<ProduceItem> items;  // in request order
  std::span<ProduceCall> calls;  // by core
  std::span<wire::ProduceResponse::Topic> topics;
  std::span<wire::ProduceResponse::Partition> partitions;
  std::uint32_t outstanding = 0;
  std::int16_t acks = 0;
};

wire::ErrorCode to_error_code(Errc code) {
  switch (code) {
    case Errc::ok: return wire::ErrorCode::none;
    case Errc::not_found: return wire::ErrorCode::unknown_topic_or_partition;
    case Errc::not_leader: return wire::ErrorCode::not_leader_or_follower;
    case Errc::too_large: return wire::ErrorCode::message_too_large;
    case Errc::stale_epoch: return wire::ErrorCode::invalid_producer_epoch;
    case Errc::out_of_order: return wire::ErrorCode::out_of_order_sequence_number;
    case Errc::timeout:
    case Errc::busy: return wire::ErrorCode::request_timed_out;
    // Retriable in every client, and it says what happened: not enough durable copies could be made.
    case Errc::no_space: return wire::ErrorCode::not_enough_replicas;
    default: return wire::ErrorCode::kafka_storage_error;
  }
}

void finish_produce(Broker& broker, Request& request) {
  auto& state = *static_cast<ProduceState*>(request.state);
  bool any_error = false;
  for (std::size_t i = 0; i < state.items.size(); ++i) {
    const ProduceItem& item = state.items[i];
    wire::ProduceResponse::Partition& answer = state.partitions[i];
    answer.error_code = item.code;
    if (item.reason != nullptr) answer.error_message = item.reason;
    const bool ok = item.code == wire::ErrorCode::none;
    answer.base_offset = ok ? item.base_offset.value() : -1;
    answer.log_start_offset = ok ? item.log_start.value() : -1;
    answer.log_append_time_ms = ok ? item.append_time : -1;
    any_error = any_error || !ok;
    if (!ok) broker.metrics().produce_errors.add();
  }
  broker.metrics().produce_latency.record(
      static_cast<std::uint64_t>(broker.env().clock.now() - request.started));
  if (state.acks == 0) {
    request.respond = false;
    request.close_after = any_error;  // the only way to tell an acks=0 producer
    broker.complete(request);
    return;
  }
  wire::ProduceResponse response;
  response.responses = state.topics;
  broker.respond(request, response);
}

template <class F>
std::uint32_t count_replicas(const replica::Group& group, F&& counts) {
  std::uint32_t replicas = 1;  // this one
  for (const raft::Progress& peer : group.core().peers()) replicas += counts(peer) ? 1 : 0;
  return replicas;
}

void conclude(Broker& broker, ProduceCall& call) {
  if (replicated(broker, call)) return broker.router().reply(call);
  broker.await_replicas(call);
}

void on_committed(replica::CommitWaiter& waiter, Errc code) {
  auto& call = *static_cast<ProduceCall*>(waiter.context);
  if (code != Errc::ok) {
    // Only this group's: what another one has committed must not be sent again.
    const GroupId group(static_cast<std::uint32_t>(&waiter - call.waiters.data()));
    for (ProduceItem* item = call.first; item != nullptr; item = item->next) {
      const bool open = item->code == wire::ErrorCode::none || item->refused_by_sequence();
      if (item->group == group && open) item->code = to_error_code(code);
    }
  }
  if (--call.uncommitted == 0) conclude(*call.owner, call);
}

// Everything is appended: wait until each group has committed.
void await_commits(Broker& broker, ProduceCall& call) {
  call.owner = &broker;
  call.uncommitted = 1;
  for (std::uint32_t id = 0; id < call.waiters.size(); ++id) {
    replica::CommitWaiter& waiter = call.waiters[id];
    if (waiter.index == Index(0) || broker.options().plant == Plant::produce_without_commit) continue;
    ++call.uncommitted;
    waiter.context = &call;
    waiter.done = &on_committed;
    broker.group(GroupId(id))->wait_committed(waiter);
  }
  if (--call.uncommitted == 0) conclude(broker, call);
}

// That a sequence does not follow ends a producer for good, so it must not be the word of a leader that has
// been replaced and does not know it: something of its own has to be committed first. False: the ring is
// full.
bool confirm_refusal(replica::Group& group, ProduceCall& call, ProduceItem& item) {
  const auto barrier = group.append_command(logfmt::EntryKind::noop, PartitionId(0), {});
  if (barrier) {
    Index& awaited = call.waiters[item.group.value()].index;
    awaited = std::max(awaited, *barrier);
    return true;
  }
  item.code = to_error_code(barrier.error());
  return barrier.error() != Errc::busy;
}

// Appends one item. False: the ring is full.
bool append_item(Broker& broker, ProduceCall& call, ProduceItem& item) {
  replica::Group& group = *broker.group(item.group);
  replica::Partition* partition = group.find(item.partition);
  if (partition == nullptr) {
    // The directory knows it, so its group will create it in a moment, here or at another leader.
    item.code = wire::ErrorCode::not_leader_or_follower;
    return true;
  }
  if (item.replicas_min > 1 && group.leading()) {
    const Nanos now = broker.env().clock.now();
    if (count_replicas(group, [&](const auto& peer) { return in_sync(peer, now); }) < item.replicas_min) {
      item.code = wire::ErrorCode::not_enough_replicas;
      return true;
    }
  }
  const bool may_wait = broker.env().clock.now() < call.deadline;
  const auto appended = group.append_batch(*partition, item.batch, item.ids);
  if (!appended) {
    if (appended.error() == Errc::busy && may_wait) return false;
    item.code = to_error_code(appended.error());
    if (item.refused_by_sequence()) return confirm_refusal(group, call, item) || !may_wait;
    return true;
  }
  item.code = wire::ErrorCode::none;  // after a wait for room
  item.base_offset = appended->base_offset;
  item.log_start = partition->log_start_offset();
  item.append_time = appended->append_time;
  // A repeated batch waits for the original, which may lie before what this request has appended.
  Index& awaited = call.waiters[item.group.value()].index;
  awaited = std::max(awaited, appended->index);
  if (!item.ids.ids.empty()) {
    broker.metrics().dedup_hits.add(appended->dropped);
    broker.metrics().dedup_misses.add(item.ids.ids.size() - appended->dropped);
  }
  if (appended->duplicate) {
    broker.metrics().produce_duplicates.add();
    return true;
  }
  broker.metrics().produced_batches.add();
  broker.metrics().produced_records.add(static_cast<std::uint64_t>(item.record_count) - appended->dropped);
  broker.metrics().produced_bytes.add(item.batch.size());
  return true;
}

void run_produce(Call& base, Broker& broker) {
  auto& call = static_cast<ProduceCall&>(base);
  call.cursor = call.first;
  if (broker.has_blocked() || !resume_produce(broker, call)) broker.block(call);
}

void produce_done(Call& base, Broker& broker) {
  Request& request = *static_cast<ProduceCall&>(base).request;
  if (--static_cast<ProduceState*>(request.state)->outstanding == 0) finish_produce(broker, request);
}

// Finds the partition and checks the batch; the result is in item.code.
void prepare_item(Broker& broker, const Request& request, const TopicView* view, std::int32_t index,
                  const wire::NullableBytes& records, ProduceItem& item) {
  if (!locate(view, index, item)) return;
  const bool dedup = view->settings.dedup_window_ms > 0;
  wire::ProduceBatchLimits limits = produce_limits(broker, *view);
  limits.produce_version = request.header.version;
  limits.verify_records = !dedup;  // EventIds walks them
  item.judge(view->settings.cleanup_compact ? broker.event_ids().validate_keyed(records, limits)
                                            : wire::validate_produce_batch(records, limits));
  if (item.code != wire::ErrorCode::none) return;
  item.replicas_min = static_cast<std::uint32_t>(view->settings.min_insync_replicas);
  item.batch = *records;
  item.record_count = wire::BatchView::parse(item.batch)->record_count();
  if (!dedup) return;
  if (static_cast<std::size_t>(item.record_count) > kDedupRecordsMax) {
    return item.judge({wire::ErrorCode::message_too_large,
                       "a batch of a topic with dedup.window.ms holds at most 65536 records"});
  }
  item.dedup = view;
}

// Copies a name out of the frame, so that the frame can be given back before the answer.
std::string_view keep(Broker& broker, Request& request, std::string_view text) {
  const auto copy = broker.allocate<char>(request, text.size());
  std::copy(text.begin(), text.end(), copy.begin());
  return {copy.data(), copy.size()};
}

bool build_state(Broker& broker, Request& request, const wire::ProduceRequest& produce) {
  std::size_t partitions = 0;
  for (const auto& topic : produce.topic_data) partitions += topic.partition_data.size();
  const auto states = broker.allocate<ProduceState>(request, 1);
  if (states.data() == nullptr) return false;
  ProduceState& state = states[0];
  request.state = &state;
  state.items = broker.allocate<ProduceItem>(request, partitions);
  state.partitions = broker.allocate<wire::ProduceResponse::Partition>(request, partitions);
  state.topics = broker.allocate<wire::ProduceResponse::Topic>(request, produce.topic_data.size());
  state.acks = produce.acks;
  if ((partitions != 0 && (state.items.data() == nullptr || state.partitions.data() == nullptr)) ||
      (!produce.topic_data.empty() && state.topics.data() == nullptr)) {
    return false;
  }
  std::size_t at = 0;
  for (std::size_t t = 0; t < produce.topic_data.size(); ++t) {
    const auto& topic = produce.topic_data[t];
    const TopicView* view = broker.directory().find(topic.name);
    const std::size_t first = at;
    for (const auto& partition : topic.partition_data) {
      state.partitions[at].index = partition.index;
      prepare_item(broker, request, view, partition.index, partition.records, state.items[at]);
      ++at;
    }
    state.topics[t].name = keep(broker, request, topic.name);
    state.topics[t].partition_responses = state.partitions.subspan(first, at - first);
  }
  return broker.event_ids().read(request, state.items);
}

}  // namespace

wire::ProduceBatchLimits produce_limits(Broker& broker, const TopicView& view) {
  wire::ProduceBatchLimits limits;
  limits.batch_bytes_max = static_cast<std::size_t>(view.settings.max_message_bytes);
  limits.set_bytes_max = static_cast<std::size_t>(view.settings.segment_bytes);
  limits.log_append_time = view.settings.log_append_time;
  limits.now_ms = broker.env().clock.wall_ms();
  return limits;
}

bool replicated(Broker& broker, ProduceCall& call) {
  const bool in_time = broker.env().clock.now() < call.deadline && !broker.shutting_down();
  bool all = true;
  for (ProduceItem* item = call.first; item != nullptr; item = item->next) {
    if (item->replicas_min <= 1 || item->code != wire::ErrorCode::none) continue;
    const replica::Group& group = *broker.group(item->group);
    const Index index = call.waiters[item->group.value()].index;
    const auto has_it = [&](const raft::Progress& peer) { return peer.match >= index; };
    if (group.leading() && count_replicas(group, has_it) >= item->replicas_min) continue;
    if (group.leading() && in_time) {
      all = false;
    } else {
      item->code = wire::ErrorCode::not_enough_replicas_after_append;
    }
  }
  return all;
}

bool resume_produce(Broker& broker, ProduceCall& call) {
  while (call.cursor != nullptr) {
    if (!append_item(broker, call, *call.cursor)) return false;
    call.cursor = call.cursor->next;
  }
  // The bytes are in the ring; a frame that only this core uses can go back to the network at once.
  if (call.sole) broker.release_frame(*call.request);
  await_commits(broker, call);
  return true;
}

void handle_produce(Broker& broker, Request& request) {
  const auto* produce = broker.decode<wire::ProduceRequest>(request);
  if (produce == nullptr) return;
  if (!build_state(broker, request, *produce)) {
    broker.protocol_error(request, "no memory for the produce request");
    return;
  }
  auto& state = *static_cast<ProduceState*>(request.state);
  const bool acks_valid = produce->acks == 0 || produce->acks == 1 || produce->acks == -1;
  const bool transactional = produce->transactional_id.has_value();
  if (!acks_valid || transactional) {
    for (ProduceItem& item : state.items) {
      item.code = acks_valid ? wire::ErrorCode::invalid_txn_state : wire::ErrorCode::invalid_required_acks;
    }
  }
  if (produce->acks != -1) {
    for (ProduceItem& item : state.items) item.replicas_min = 1;
  }
  const std::uint32_t cores = broker.router().cores();
  state.calls = broker.allocate<ProduceCall>(request, cores);
  const auto waiters =
      broker.allocate<replica::CommitWaiter>(request, std::size_t{broker.options().groups} * cores);
  if (state.calls.data() == nullptr || waiters.data() == nullptr) {
    broker.protocol_error(request, "no memory for the produce request");
    return;
  }
  const std::int32_t timeout_ms = std::clamp(produce->timeout_ms, 1, kTimeoutMsMax);
  std::uint32_t used = 0;
  for (std::size_t i = state.items.size(); i-- > 0;) {  // backwards, so that the chains are in request order
    ProduceItem& item = state.items[i];
    if (item.code != wire::ErrorCode::none) continue;
    ProduceCall& call = state.calls[broker.core_of(item.group).value()];
    if (call.first == nullptr) ++used;
    item.next = call.first;
    call.first = &item;
  }
  state.outstanding = used + 1;
  for (std::uint32_t core = 0; core < cores; ++core) {
    ProduceCall& call = state.calls[core];
    if (call.first == nullptr) continue;
    call.request = &request;
    call.target = CoreId(core);
    call.run = &run_produce;
    call.done = &produce_done;
    call.sole = used == 1 && CoreId(core) == broker.router().self();
    call.deadline = broker.env().clock.now() + Nanos{timeout_ms} * kMillisecond;
    call.waiters = waiters.subspan(std::size_t{core} * broker.options().groups, broker.options().groups);
    broker.router().send(call);
  }
  if (--state.outstanding == 0) finish_produce(broker, request);
}

}  // namespace esc::broker
