// Who of this node's data is a member, and who of the others: incarnations (docs/decisions/0017). Private to
// the group, of a cluster only.
//
// A directory gets a random incarnation when it is created, and configurations name members with theirs. So a
// blank disk under an old id is nobody: it was never told of, its answers are not counted, and messages for
// its predecessor do not reach it.
//
// The first members of a new cluster are found by the members-to-be themselves. Each waits until every
// configured voter says that it is blank and sees the same incarnations as this node; then it promises,
// durably and only once, to be one of exactly these (`pledged`); when all have promised the cluster is
// founded. Two nodes can thus never found with different members, whichever disks are replaced meanwhile.
// Everybody else waits for a message of a leader or candidate: those speak to members only.
//
// Who has put damaged data aside (`lost`) takes part in no founding: it would be one that forgets.
//
//   blank --all see the same--> pledged --all pledged, or a member's word--> member
//     '--------------------a member's word------------------------------------^
//
// Threading: the group's core.
#pragma once

#include <string>
#include <vector>

#include "esc/base/units.h"
#include "esc/raft/configuration.h"
#include "esc/raft/messages.h"
#include "file_saver.h"
#include "incarnation_file.h"

namespace esc::replica {

class Group;

// What a node tells the others about itself, as a service message.
struct MemberStatus {
  enum class State : std::uint8_t { blank, pledged, member, lost };
  State state = State::blank;
  // blank: the configured voters and their incarnations, empty until all are known; pledged: to whom;
  // member: in force there; lost: nothing, it waits to be taken in.
  raft::Configuration members;
};

void encode(const MemberStatus& status, std::vector<std::byte>& out);
[[nodiscard]] std::optional<MemberStatus> decode_member_status(ByteView bytes);

class Membership {
 public:
  explicit Membership(Group& group);

  struct Found {
    bool blank = false;        // neither log nor checkpoint hold anything
    bool log_created = false;  // the directory of the log held none
    bool put_aside = false;    // other data of the group lie beside it
    bool anonymous = false;    // no configuration in log and checkpoint names an incarnation
    Index last_index;          // of the log
    Term term;                 // the latest one heard of
  };
  // Blocking, once, when the log is open. corruption: the file is damaged; invalid_argument: the data are not
  // known to be anybody's.
  [[nodiscard]] Status open(const Found& found);
  [[nodiscard]] raft::Incarnation incarnation() const { return file_.incarnation; }
  // The configuration means these data. It does not when they came with a snapshot from before the disk was
  // replaced: the vote in it is that of the data that are gone.
  [[nodiscard]] bool is_meant() const;
  // The configuration before the first entry; without voters when it is not known here.
  [[nodiscard]] raft::Configuration base() const;
  [[nodiscard]] const Seat& seat() const { return file_.seat; }
  // The log up to here may name members that count no more: nobody gets it, only a checkpoint from behind it.
  [[nodiscard]] Index voided() const {
    return file_.seat.state == Seat::State::taken ? file_.seat.through : Index(0);
  }
  // The peer has said what its data are. Nobody is taken in before.
  [[nodiscard]] bool heard(NodeId peer) const;
  // Its data are of a group that has no member in common with this one: another history. It must not get
  // this one's log on top of them.
  [[nodiscard]] bool is_foreign(NodeId peer) const;

  // Those of the group's options: more or fewer than before.
  void set_peers();

  void on_link_up(NodeId peer);
  void on_link_down(NodeId peer);
  void on_status(NodeId from, ByteView payload);
  // Whether a message of the link to its sender may reach the core.
  [[nodiscard]] bool admits(const raft::Message& message);
  // The core has seen it.
  void seen(const raft::Message& message);
  // Whether a message of the core is for who is at the other end of the link.
  [[nodiscard]] bool is_for_peer(const raft::Message& message) const;
  // A message was for another incarnation than the link's. Something else is said instead: either it is the
  // link that is old, and only what is sent finds out; or the node has a new disk, and may like to know.
  void remind(NodeId peer);

  std::uint32_t do_work(Nanos now);
  // Nothing of ours is on its way to the disk.
  [[nodiscard]] bool idle() const { return saver_.idle(); }

 private:
  // These data become the only member, under a new incarnation.
  [[nodiscard]] Status take_seat(const std::string& path, const Found& found);
  [[nodiscard]] Status write(const std::string& path) const;

  using State = MemberStatus::State;
  struct Peer {
    NodeId node;
    bool heard = false;  // on the link that is up now
    MemberStatus status;
    bool to_tell = false;
    Nanos told_at = 0;
  };

  [[nodiscard]] State state() const;
  [[nodiscard]] MemberStatus status() const;
  [[nodiscard]] raft::Configuration view() const;
  [[nodiscard]] Peer* find(NodeId node);
  [[nodiscard]] const Peer* find(NodeId node) const;
  [[nodiscard]] bool all_agree(const raft::Configuration& members, bool pledged) const;
  void advance();
  void save(const raft::Configuration& pledged, bool founded);
  void on_saved(Errc code);
  void tell_all();
  std::uint32_t tell();
  void log_waiting(Nanos now);
  [[nodiscard]] bool majority_lost() const;
  [[nodiscard]] std::string waits_for(const Peer& peer) const;

  Group& group_;
  IncarnationFile file_;
  IncarnationFile saving_;  // becomes file_ when it is durable
  FileSaver saver_;
  std::vector<Peer> peers_;
  Nanos heard_at_ = 0;  // a leader
  Nanos tell_again_at_ = 0;
  raft::Incarnation voted_for_;  // to whom the vote of the term went, as far as this process knows
  Nanos waiting_since_ = 0;
  Nanos log_waiting_at_ = 0;
};

}  // namespace esc::replica
