// Threading: called on the group's core, from within do_work() and the proposals.
#pragma once

#include <string>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/peer/links.h"
#include "esc/replica/partition.h"

namespace esc::replica {

// What a group tells the floor above.
class GroupListener {
 public:
  virtual ~GroupListener() = default;
  // A committed command of kind `metadata` (only group 0 carries them), in log order, also on replay.
  virtual void on_metadata(GroupId group, Index index, ByteView command) = 0;
  // A committed command of kind `coordinator`, of any group; `timestamp` is the leader's when it was
  // appended.
  virtual void on_coordinator(GroupId, Index, WallMs /*timestamp*/, ByteView /*command*/) {}
  // Contents for, and from, the group's checkpoint: the state that on_metadata and on_coordinator have built.
  virtual void save_metadata(GroupId group, std::vector<std::byte>& out) = 0;
  [[nodiscard]] virtual Status load_metadata(GroupId group, ByteView state) = 0;
  // A partition exists from now on (created, replayed, or loaded), or has been deleted.
  virtual void on_partition(GroupId group, Partition& partition) = 0;
  // The group leads and has applied its term's no-op: it may assign offsets.
  virtual void on_leading(GroupId group, Term term) = 0;
  // The node that leads the group as far as is known here has changed; 0: nobody known. This node itself may
  // be named before on_leading says that it may assign offsets.
  virtual void on_leader_changed(GroupId group, NodeId leader, Term term) = 0;
  // A message of another node's floor above, see send_service().
  virtual void on_service(GroupId group, NodeId from, peer::Service service, ByteView payload) = 0;
  // Unrecoverable: stop acknowledging, exit. `what` names cause and fix.
  virtual void on_failed(GroupId group, const std::string& what) = 0;
  // The group's data here are damaged, and marked: it is over for this process, without on_failed. The one
  // that opens the group next puts them aside, and learns everything from the peers.
  virtual void on_damaged(GroupId, const std::string& /*what*/) {}
};

}  // namespace esc::replica
