// GroupLag: how far a consumer group is behind. The coordinator's node answers, which holds a replica of
// every partition: committed offsets from the group, ends and times from the logs.
//
//   request -> coordinator (offsets) -> request's core -> cores of the partitions (LagSurvey) -> answer
#include "esc/wire/api/group_lag.h"

#include <memory>

#include "../coordinators.h"
#include "../handlers.h"
#include "../lag_survey.h"
#include "../respond.h"

namespace esc::broker {
namespace {

// Of a larger batch the time is not known.
constexpr std::size_t kBatchBytesMax = 2 * 1024 * 1024;

// Of a detached request, so it outlives the connection; deletes itself.
struct LagAnswer final : LagSurvey {
  Request* request = nullptr;
  coord::GroupView view;
  wire::ErrorCode code = wire::ErrorCode::none;

 private:
  void done(Broker& broker) override;
};

void LagAnswer::done(Broker& broker) {
  const std::unique_ptr<LagAnswer> self(this);
  using Response = wire::GroupLagResponse;
  const auto partitions = broker.allocate<Response::Partition>(*request, items.size());
  if (partitions.size() != items.size())
    return broker.protocol_error(*request, "no memory for the lag of the group");
  for (std::size_t i = 0; i < partitions.size(); ++i) {
    const LagItem& item = items[i];
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
  response.error_code = code;
  response.generation_id = view.generation;
  response.group_state = to_string(view.phase);
  response.partitions = partitions;
  broker.respond(*request, response);
}

struct LagOffsetsCall final : CoordinatorCall {
  std::unique_ptr<LagAnswer> state;

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
    state.release()->measure(broker, kBatchBytesMax);
  }
};

}  // namespace

void handle_group_lag(Broker& broker, Request& request) {
  if (!broker.detach_frame(request)) return;
  const auto* asked = broker.decode<wire::GroupLagRequest>(request);
  if (asked == nullptr) return;
  auto call = std::make_unique<LagOffsetsCall>();
  call->request = &request;
  call->state = std::make_unique<LagAnswer>();
  call->state->request = &request;
  call->state->view.id = asked->group_id;
  submit_coordinator_call(broker, asked->group_id, std::move(call));
}

}  // namespace esc::broker
