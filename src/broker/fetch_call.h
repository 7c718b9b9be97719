// The part of one fetch request that concerns one core's groups. Two rounds: wait until enough is committed,
// then read into a buffer of the origin.
#pragma once

#include <span>

#include "esc/broker/broker.h"

namespace esc::broker {

struct FetchItem {
  PartitionId partition;
  GroupId group;
  Offset offset{0};
  std::int32_t leader_epoch = -1;  // as the client knows it, -1: unknown
  std::uint32_t bytes_max = 0;
  wire::ErrorCode code = wire::ErrorCode::none;
  Offset high_watermark{-1};
  Offset log_start{-1};
  ByteView records;
  FetchItem* next = nullptr;  // of the same core
};

struct FetchCall : Call {
  Request* request = nullptr;
  Broker* owner = nullptr;
  FetchItem* first = nullptr;
  std::span<replica::FetchWaiter> waiters;  // one per item of this call
  std::uint64_t bytes_wanted = 0;           // before the wait ends
  // The wait. `parked` belongs to the owner's core; `out` to the origin's.
  std::uint64_t bytes_ready = 0;
  bool parked = false;
  bool hurried = false;  // an early end was asked for
  bool out = false;
  // The read.
  FetchItem* cursor = nullptr;
  ByteSpan buffer;
  std::uint32_t used = 0;
  std::uint32_t bytes_needed = 0;  // the first batch is larger than the buffer: give me this much
  store::ReadOp read;
};

// Ends a wait early. Travels separately, because the call itself is with the owner; comes back before the
// request may be forgotten.
struct HurryCall : Call {
  FetchCall* fetch = nullptr;
  bool out = false;
};

}  // namespace esc::broker
