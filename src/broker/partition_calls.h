// One request about many partitions, split by core: each part visits its partitions where their groups live,
// and the request is answered when all parts are back.
//
// Threading: as Call. Memory: the request's. An item is touched by its group's core until the call is replied
// to.
#pragma once

#include <span>

#include "handlers.h"
#include "respond.h"

namespace esc::broker {

// `Item` has PartitionId partition, GroupId group, wire::ErrorCode code and Item* next.
template <class Item>
struct PartitionCall : Call {
  Request* request = nullptr;
  Broker* owner = nullptr;  // where it runs
  Item* first = nullptr;
  std::uint32_t waiting = 0;  // visits that have not ended
  void (*visit)(PartitionCall&, Item&) = nullptr;

  // A visit that waits adds one to `waiting`, and ends with this.
  void visit_done() {
    if (--waiting == 0) owner->router().reply(*this);
  }
};

template <class Item>
struct PartitionState {
  std::span<Item> items;  // in request order
  std::span<PartitionCall<Item>> calls;
  std::uint32_t outstanding = 0;
  void (*finish)(Broker&, Request&) = nullptr;
  void* context = nullptr;  // finish's
};

// Room for `count` items in request.state; null when there is no memory.
template <class Item>
PartitionState<Item>* make_partition_state(Broker& broker, Request& request, std::size_t count) {
  const auto states = broker.allocate<PartitionState<Item>>(request, 1);
  if (states.data() == nullptr) return nullptr;
  PartitionState<Item>& state = states[0];
  state.items = broker.allocate<Item>(request, std::max<std::size_t>(count, 1));
  state.calls = broker.allocate<PartitionCall<Item>>(request, broker.router().cores());
  if (state.items.data() == nullptr || state.calls.data() == nullptr) return nullptr;
  request.state = &state;
  return &state;
}

// Visits every item without an error; state.finish runs on this core when all visits have ended.
template <class Item>
void visit_partitions(Broker& broker, Request& request, std::size_t count,
                      void (*visit)(PartitionCall<Item>&, Item&)) {
  auto& state = *static_cast<PartitionState<Item>*>(request.state);
  for (std::size_t i = count; i-- > 0;) {
    Item& item = state.items[i];
    if (item.code != wire::ErrorCode::none) continue;
    PartitionCall<Item>& call = state.calls[broker.core_of(item.group).value()];
    item.next = call.first;
    call.first = &item;
  }
  state.outstanding = 1;
  for (std::uint32_t core = 0; core < state.calls.size(); ++core) {
    PartitionCall<Item>& call = state.calls[core];
    if (call.first == nullptr) continue;
    ++state.outstanding;
    call.request = &request;
    call.visit = visit;
    call.target = CoreId(core);
    call.run = [](Call& base, Broker& target) {
      auto& running = static_cast<PartitionCall<Item>&>(base);
      running.owner = &target;
      running.waiting = 1;
      for (Item* item = running.first; item != nullptr; item = item->next) running.visit(running, *item);
      running.visit_done();
    };
    call.done = [](Call& base, Broker& origin) {
      Request& answered = *static_cast<PartitionCall<Item>&>(base).request;
      auto& all = *static_cast<PartitionState<Item>*>(answered.state);
      if (--all.outstanding == 0) all.finish(origin, answered);
    };
    broker.router().send(call);
  }
  if (--state.outstanding == 0) state.finish(broker, request);
}

}  // namespace esc::broker
