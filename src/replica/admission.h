// The leader's side of membership: configured nodes whose data are new are taken in, one change at a time.
// Private to the group.
//
//   seen under another incarnation -> learner under the new one (its old self votes no more) -> fed from the
//   log or by snapshot -> has what was committed before it came -> voter
//
// A node that is to leave (nodes of group 0's log) is taken out; when it leads, it hands over first. It may
// not know: group 0 takes it out as any other group does, and may do so before it hears that the list with
// its departure is committed. So followers ask such a leader to hand over to them.
//
// A change waits until the one before is committed, the leader's term has committed something, and a majority
// of the voters that it leaves is heard from. Threading: the group's core.
#pragma once

#include <string_view>

#include "esc/base/units.h"
#include "esc/obs/log.h"
#include "esc/raft/configuration.h"

namespace esc::replica {

class Group;

class Admission {
 public:
  explicit Admission(Group& group) : group_(group) {}

  std::uint32_t do_work(Nanos now);

 private:
  // Members that are no nodes of the cluster any more. Whether something was done.
  bool dismiss(Nanos now);
  bool step_aside(Nanos now);
  // A follower's part.
  std::uint32_t ask_to_lead(Nanos now);
  // Whether something was proposed: one change at a time.
  bool judge(NodeId node, Nanos now);
  [[nodiscard]] bool may_be_taken_in(NodeId node);
  bool propose(const raft::ConfigurationChange& change, std::string_view cause, std::string_view next);
  [[nodiscard]] bool majority_without(NodeId node, Nanos now) const;
  [[nodiscard]] bool caught_up(NodeId node) const;

  Group& group_;
  Nanos next_check_ = 0;
  NodeId replaced_last_;  // not again at once: two processes may claim one id
  Nanos replaced_at_ = 0;
  Nanos step_aside_at_ = 0;
  Nanos ask_at_ = 0;  // 0: whoever leads stays
  obs::LogLimiter wait_limiter_{.burst = 1, .interval = 10 * kSecond};
};

}  // namespace esc::replica
