// Damage that is found while the group runs: a stored batch, or a frame of the log, that fails its checksum
// when it is read back. The node keeps what is whole in service, and leaves the group to learn it again as
// soon as the others can do without it (docs/decisions/0020). Private to the group, of a cluster only.
//
//   found --> leads, all others follow closely --> mark, the process starts anew
//             leads, somebody is behind        --> leadership is handed to a node that can serve him
//             follows, all others are linked   --> asks the leader for leadership, and leaves as a leader
//
// Only leaders leave: of two damaged nodes the second one sees that the first one is missing, and waits.
//
// Threading: the group's core.
#pragma once

#include <string>
#include <string_view>

#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/obs/log.h"
#include "scrub.h"

namespace esc::replica {

class Group;

class Repair {
 public:
  explicit Repair(Group& group);

  // `what` names file and position. The first one counts.
  void found(std::string_view what);
  [[nodiscard]] bool wanted() const { return !cause_.empty(); }
  [[nodiscard]] bool reading() const { return scrub_.reading(); }
  // Another member asks to lead: because its data are damaged and only leaders leave, or because this node
  // leaves the cluster (`tag` of the request).
  void on_request(NodeId from, std::uint64_t tag);
  std::uint32_t do_work(Nanos now);

 private:
  [[nodiscard]] bool others_linked() const;
  [[nodiscard]] bool others_follow(Nanos now) const;
  void hand_over(Nanos now);
  void ask_to_lead(Nanos now);

  Group& group_;
  Scrub scrub_;
  std::string cause_;
  Nanos next_check_ = 0;
  Nanos next_step_ = 0;
  obs::LogLimiter wait_limiter_{.burst = 1, .interval = 10 * kSecond};
};

}  // namespace esc::replica
