// The consumer groups of this core: one coord::Coordinator per Raft group it owns, between the log and the
// requests. A consumer group belongs to the Raft group that a hash of its name picks, and is coordinated by
// whoever leads that.
//
//   request -> CoordinatorCall to the group's core -> Coordinator -> command into the log -> committed
//           -> answer -> call returns to the request's core
//
// A parked call waits in the Coordinator, not at the connection: when that closes, the answer finds nobody.
//
// Threading: the core of the broker.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/coord/coordinator.h"

namespace esc::broker {

// One request, or a part of it, for one coordinator. On the heap: such requests are few and may wait long.
struct CoordinatorCall : Call {
  virtual ~CoordinatorCall() = default;
  // On the group's core, where it is led. Either hands token() to the coordinator, whose answer ends the
  // call, or ends it with Coordinators::finish.
  virtual void begin(coord::Coordinator& coordinator, Broker& owner) = 0;
  // On the group's core, when the coordinator has answered: `answer` is set.
  virtual void answered(Broker&) {}
  // On the request's core; the call is deleted afterwards.
  virtual void finish(Broker& origin) = 0;
  [[nodiscard]] coord::Token token() const { return reinterpret_cast<coord::Token>(this); }

  Request* request = nullptr;
  GroupId group;
  coord::Answer answer;
};

// Sends the call to the core of the Raft group that has the consumer group of this name.
void submit_coordinator_call(Broker& broker, std::string_view group, std::unique_ptr<CoordinatorCall> call);
// To a Raft group by number.
void submit_coordinator_call(Broker& broker, GroupId group, std::unique_ptr<CoordinatorCall> call);

class Coordinators {
 public:
  explicit Coordinators(Broker& broker);

  // The Raft group of a consumer group: the same on every node, for ever.
  [[nodiscard]] static GroupId home(std::string_view group, std::uint32_t groups);
  // What a node says for a consumer group of this Raft group: none where it is coordinated.
  [[nodiscard]] wire::ErrorCode check(GroupId group);

  void begin(CoordinatorCall& call);
  void finish(CoordinatorCall& call);
  [[nodiscard]] coord::Coordinator& of(GroupId group) { return *machines_[group.value()]->coordinator; }

  // Of the groups that are coordinated on this core, and what was counted here since the start.
  struct Totals {
    coord::GroupCounts groups;
    coord::CoordinatorStats stats;
  };
  [[nodiscard]] Totals totals() const;

  // --- the log ---
  void on_committed(GroupId group, Index index, WallMs timestamp, ByteView command);
  void save(GroupId group, std::vector<std::byte>& out);
  [[nodiscard]] Status load(GroupId group, ByteView state);

  std::uint32_t do_work(Nanos now);
  // Parked requests are answered not_coordinator, and so is everything that comes later.
  void begin_shutdown();

 private:
  struct Machine {
    GroupId group;
    Term term;  // of our leadership; 0: not led here
    std::unique_ptr<coord::Coordinator> coordinator;
  };
  [[nodiscard]] Machine& machine(GroupId group);
  // Follows the Raft group's leadership.
  void follow(Machine& machine);
  // Commands into the log, answers to their calls.
  std::uint32_t flush(Machine& machine);
  void forget_topics(Machine& machine) const;

  Broker& broker_;
  std::vector<std::unique_ptr<Machine>> machines_;  // by Raft group; null until the group is known here
  Nanos next_topic_check_ = 0;
};

}  // namespace esc::broker
