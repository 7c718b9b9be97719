// The part of one produce request that concerns one core's groups.
#pragma once

#include <span>

#include "esc/broker/broker.h"

namespace esc::broker {

struct ProduceItem {
  PartitionId partition;
  GroupId group;
  ByteView batch;  // validated; in the request's frame
  std::int32_t record_count = 0;
  wire::ErrorCode code = wire::ErrorCode::none;
  const char* reason = nullptr;       // why the batch was refused: static text
  const TopicView* unread = nullptr;  // RecordReader is to look into the records
  replica::BatchIds ids;
  Offset base_offset{-1};
  Offset log_start{-1};
  WallMs append_time = -1;
  std::uint32_t replicas_min = 1;  // that must have the batch before it is acknowledged
  ProduceItem* next = nullptr;     // of the same core

  void judge(const wire::BatchVerdict& verdict) {
    code = verdict.code;
    if (!verdict.ok()) reason = verdict.reason;
  }
  [[nodiscard]] bool refused_by_sequence() const {
    return code == wire::ErrorCode::out_of_order_sequence_number ||
           code == wire::ErrorCode::invalid_producer_epoch;
  }
};

struct ProduceCall : Call, ListNode<ProduceCall> {
  Request* request = nullptr;
  Broker* owner = nullptr;  // where it runs
  ProduceItem* first = nullptr;
  ProduceItem* cursor = nullptr;  // next to append
  Nanos deadline = 0;
  std::span<replica::CommitWaiter> waiters;  // one slot per group
  std::uint32_t uncommitted = 0;             // groups we wait for
  bool sole = false;                         // the only call of its request, and on the request's own core
};

// What this topic takes.
[[nodiscard]] wire::ProduceBatchLimits produce_limits(Broker& broker, const TopicView& view);

// Whether every batch of the call is on as many replicas as its topic asks for, or never will be in time;
// then the items' codes say so.
[[nodiscard]] bool replicated(Broker& broker, ProduceCall& call);

// On the owner's core: goes on appending. False: the ring is still full.
bool resume_produce(Broker& broker, ProduceCall& call);

}  // namespace esc::broker
