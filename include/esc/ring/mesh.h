// The mesh: one bounded SPSC ring for every ordered pair of cores, and conditional wake-ups.
//
//   turn:   mesh.drain(me, budget, f);  ...work, try_send(me, other, message)...;  mesh.flush(me);
//   sleep:  if (mesh.prepare_sleep(me)) { wait in the loop; mesh.end_sleep(me); }
//
// Message: a small trivially copyable struct; bytes travel by reference (a frame pointer that the
// receiver returns by ring). A core may send to itself.
// Memory: cores^2 * capacity * sizeof(Message), allocated by the constructor, nothing later.
// Threading: every call names the calling core and is made on its thread only.
// Errors: try_send false = that ring is full: back-pressure for the caller, who retries in a later turn.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "esc/base/assert.h"
#include "esc/base/ids.h"
#include "esc/ring/sleep_gate.h"
#include "esc/ring/spsc_ring.h"
#include "esc/ring/waker.h"

namespace esc::ring {

inline constexpr std::uint32_t kMeshCoresMax = 256;

template <class Message>
class Mesh {
 public:
  // `capacity` messages per ring, a power of two. `waker` outlives the mesh.
  Mesh(std::uint32_t cores, std::uint32_t capacity, Waker& waker) : cores_(cores), waker_(waker) {
    ESC_ASSERT(cores >= 1);
    ESC_ASSERT(cores <= kMeshCoresMax);
    rings_.reserve(std::size_t{cores} * cores);
    for (std::uint32_t i = 0; i < cores * cores; ++i) {
      rings_.push_back(std::make_unique<SpscRing<Message>>(capacity));
    }
    gates_ = std::make_unique<SleepGate[]>(cores);
    own_ = std::make_unique<Own[]>(cores);
    for (std::uint32_t i = 0; i < cores; ++i) own_[i].fed.assign(cores, 0);
  }

  [[nodiscard]] std::uint32_t cores() const { return cores_; }

  // False when the ring is full. The target is woken, if it sleeps, by the next flush(from).
  [[nodiscard]] bool try_send(CoreId from, CoreId to, const Message& message) {
    Own& own = own_[checked(from)];
    if (!ring(from, to).try_push(message)) {
      ++own.full;
      return false;
    }
    own.fed[to.value()] = 1;
    own.any_fed = true;
    return true;
  }

  // Messages that `from` can certainly still send to `to` now.
  [[nodiscard]] std::uint32_t free_slots(CoreId from, CoreId to) { return ring(from, to).free_slots(); }

  // Once at the end of a turn, and before sleeping: wakes the sleepers among the cores fed since the
  // last flush, each at most once.
  void flush(CoreId from) {
    Own& own = own_[checked(from)];
    if (!own.any_fed) return;
    own.any_fed = false;
    for (std::uint32_t to = 0; to < cores_; ++to) {
      if (own.fed[to] == 0) continue;
      own.fed[to] = 0;
      if (to == from.value() || !gates_[to].claim_wake()) continue;
      ++own.wakes;
      waker_.wake(from, CoreId(to));
    }
  }

  // Calls f(CoreId from, const Message&) for at most `budget` messages; returns how many. In order per
  // sender; the senders take turns in starting, so a loud one cannot starve the others.
  template <class F>
  std::uint32_t drain(CoreId core, std::uint32_t budget, F&& f) {
    Own& own = own_[checked(core)];
    std::uint32_t from = own.drain_first;
    own.drain_first = from + 1 == cores_ ? 0 : from + 1;
    std::uint32_t left = budget;
    for (std::uint32_t i = 0; i < cores_ && left > 0; ++i) {
      left -=
          ring(CoreId(from), core).consume(left, [&](const Message& message) { f(CoreId(from), message); });
      from = from + 1 == cores_ ? 0 : from + 1;
    }
    return budget - left;
  }

  // True: the core may sleep now, and any later message wakes it (end_sleep after waking).
  // False: messages are waiting; drain them first.
  [[nodiscard]] bool prepare_sleep(CoreId core) {
    SleepGate& gate = gates_[checked(core)];
    gate.announce();
    for (std::uint32_t from = 0; from < cores_; ++from) {
      if (ring(CoreId(from), core).empty()) continue;
      gate.awake();
      return false;
    }
    return true;
  }
  void end_sleep(CoreId core) { gates_[checked(core)].awake(); }

  // Counters of the core's own calls; read them on its thread.
  [[nodiscard]] std::uint64_t wakes_sent(CoreId core) const { return own_[checked(core)].wakes; }
  [[nodiscard]] std::uint64_t sends_refused(CoreId core) const { return own_[checked(core)].full; }

 private:
  // State that only one core touches.
  struct alignas(kCacheLineBytes) Own {
    std::vector<std::uint8_t> fed;  // per target: sent to since the last flush
    bool any_fed = false;
    std::uint32_t drain_first = 0;
    std::uint64_t wakes = 0;
    std::uint64_t full = 0;
  };

  [[nodiscard]] std::uint32_t checked(CoreId core) const {
    ESC_ASSERT(core.value() < cores_);
    return core.value();
  }
  [[nodiscard]] SpscRing<Message>& ring(CoreId from, CoreId to) {
    return *rings_[std::size_t{checked(from)} * cores_ + checked(to)];
  }

  const std::uint32_t cores_;
  Waker& waker_;
  std::vector<std::unique_ptr<SpscRing<Message>>> rings_;  // [from][to]
  std::unique_ptr<SleepGate[]> gates_;                     // [core]
  std::unique_ptr<Own[]> own_;                             // [core]
};

}  // namespace esc::ring
