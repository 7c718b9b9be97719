#include "membership.h"

#include <algorithm>

#include "checkpoint_format.h"
#include "esc/base/byte_codec.h"
#include "esc/replica/group.h"
#include "peer_sender.h"
#include "snapshot_messages.h"

namespace esc::replica {
namespace {

constexpr std::string_view kFileName = "incarnation";
constexpr Nanos kFirstWord = 2 * kSecond;  // nobody looks before that
constexpr Nanos kNextWord = 10 * kSecond;
constexpr Nanos kSilence = kSecond;
constexpr Nanos kRemindEvery = 50 * kMillisecond;
// Terms that members who were given up may have gone through meanwhile, times a lot: an entry of theirs and
// one of the group that goes on without them never have the same index and term.
constexpr std::uint64_t kTermsSkipped = 1 << 20;

// Answers promise something in the sender's name; requests come from who needs such promises.
bool is_answer(const raft::Message& message) {
  return std::holds_alternative<raft::AppendReply>(message.payload) ||
         std::holds_alternative<raft::HeartbeatReply>(message.payload) ||
         std::holds_alternative<raft::VoteReply>(message.payload) ||
         std::holds_alternative<raft::SnapshotFailed>(message.payload);
}

// Of a group that has been served before.
bool knows_history(MemberStatus::State state) {
  return state == MemberStatus::State::member || state == MemberStatus::State::lost;
}

}  // namespace

void encode(const MemberStatus& status, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(status.state));
  encode_configuration(status.members, writer);
}

std::optional<MemberStatus> decode_member_status(ByteView bytes) {
  ByteReader reader(bytes);
  const auto state = reader.number<std::uint8_t>();
  const auto members = decode_configuration(reader);
  if (!members || !reader.at_end() || state > static_cast<std::uint8_t>(MemberStatus::State::lost))
    return std::nullopt;
  return MemberStatus{static_cast<MemberStatus::State>(state), *members};
}

Membership::Membership(Group& group) : group_(group), saver_(group.env_.disk) {
  set_peers();
}

void Membership::set_peers() {
  const std::vector<peer::PeerAddress>& wanted = group_.options_.peers;
  std::erase_if(peers_, [&](const Peer& peer) {
    return std::ranges::find(wanted, peer.node, &peer::PeerAddress::node) == wanted.end();
  });
  for (const peer::PeerAddress& peer : wanted) {
    if (peer.node != group_.options_.node && find(peer.node) == nullptr)
      peers_.push_back({.node = peer.node, .status = {}});
  }
}

Status Membership::open(const Found& found) {
  const std::string path = group_.options_.data_directory + "/" + std::string(kFileName);
  io::Files& files = group_.env_.files;
  auto exists = files.exists(path);
  if (!exists) return std::unexpected(std::move(exists.error()));
  const bool planted = group_.options_.replica_plant == Plant::damage_keeps_incarnation;
  if (*exists && (!found.log_created || planted)) {
    auto bytes = io::read_whole_file(files, path, kIncarnationFileBytesMax);
    if (!bytes) return std::unexpected(std::move(bytes.error()));
    auto decoded = decode_incarnation_file(*bytes, path);
    if (decoded) {
      file_ = *decoded;
      return file_.seat.state == Seat::State::wanted ? take_seat(path, found) : Status();
    }
    if (!found.blank) return std::unexpected(std::move(decoded.error()));
  } else if (!found.blank) {
    if (!*exists && group_.options_.began_alone && found.anonymous) return take_seat(path, found);
    return fail(Errc::invalid_argument,
                path +
                    (*exists ? " is older than the log beside it"
                             : " is missing: it says which member of the cluster the data "
                               "beside it belong to") +
                    "; restore it from a copy, or replace this group's data from its peers");
  }
  // Nothing is here that anybody could have relied on. Votes of a log that is gone are forgotten: whoever
  // cast them is not this node any more.
  file_.lost = found.put_aside || *exists;
  file_.incarnation = draw_incarnation(group_.env_.prng);
  group_.log_.info("group_incarnation", {{"group", group_.options_.id},
                                         {"incarnation", file_.incarnation},
                                         {"why", found.put_aside ? "what was here is put aside"
                                                 : *exists       ? "the log directory is new"
                                                                 : "the directory is new"}});
  return write(path);
}

Status Membership::write(const std::string& path) const {
  std::vector<std::byte> contents;
  encode_incarnation_file(file_, contents);
  return io::write_file_atomically(group_.env_.files, path, contents);
}

Status Membership::take_seat(const std::string& path, const Found& found) {
  const bool forced = file_.seat.state == Seat::State::wanted;
  if (found.blank) {
    return fail(Errc::invalid_argument,
                path + " says that this node goes on alone with its data of group " +
                    std::to_string(group_.options_.id.value()) +
                    ", but there are none: put the directories of checkpoint and log back");
  }
  file_ = {.incarnation = draw_incarnation(group_.env_.prng), .pledged = {}, .founded = true};
  file_.pledged.voters.push_back(group_.options_.node);
  file_.pledged.set_incarnation(group_.options_.node, file_.incarnation);
  file_.seat = {Seat::State::taken, found.last_index,
                forced ? Term(found.term.value() + kTermsSkipped) : found.term};
  group_.log_.warn("group_goes_on_alone",
                   {{"group", group_.options_.id},
                    {"incarnation", file_.incarnation},
                    {"last_index", found.last_index},
                    {"cause", forced ? "escd --force-sole-voter: the other members were given up"
                                     : "the data are of a node that was alone, and becomes one of a cluster"},
                    {"next", "other nodes of cluster.nodes are taken in when their directories are empty"}});
  return write(path);
}

bool Membership::heard(NodeId node) const {
  const Peer* const peer = find(node);
  return peer != nullptr && peer->heard;
}

bool Membership::is_foreign(NodeId node) const {
  const Peer* const peer = find(node);
  if (peer == nullptr || peer->status.state != State::member || peer->status.members.incarnations.empty())
    return false;
  return std::ranges::none_of(peer->status.members.incarnations, [&](const raft::MemberIncarnation& theirs) {
    return group_.core_->configuration().incarnation_of(theirs.node) == theirs.incarnation;
  });
}

raft::Configuration Membership::base() const {
  return file_.founded ? file_.pledged : raft::Configuration{};
}

// --- what the others say ----------------------------------------------------------------------------------

Membership::State Membership::state() const {
  const raft::Core& core = *group_.core_;
  if (file_.founded || core.term() > Term(0) || core.last_index() > Index(0)) return State::member;
  if (file_.lost) return State::lost;
  return file_.pledged.voters.empty() ? State::blank : State::pledged;
}

// The configured voters with their incarnations; empty as long as one of them has not spoken.
raft::Configuration Membership::view() const {
  const raft::Configuration& configured = group_.options_.members;
  raft::Configuration members;
  if (!configured.is_voter(group_.options_.node)) return members;
  members.voters = configured.voters;
  for (const NodeId voter : configured.voters) {
    raft::Incarnation incarnation = file_.incarnation;
    if (voter != group_.options_.node) {
      const Peer* const peer = find(voter);
      if (peer == nullptr || !peer->heard || knows_history(peer->status.state)) return {};
      incarnation = raft::Incarnation(group_.links_->incarnation(voter));
    }
    if (incarnation == raft::Incarnation(0)) return {};
    members.set_incarnation(voter, incarnation);
  }
  return members;
}

MemberStatus Membership::status() const {
  switch (state()) {
    case State::blank: return {State::blank, view()};
    case State::pledged: return {State::pledged, file_.pledged};
    case State::member: return {State::member, group_.core_->configuration()};
    case State::lost: return {State::lost, {}};
  }
  ESC_UNREACHABLE("state");
}

Membership::Peer* Membership::find(NodeId node) {
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  return found == peers_.end() ? nullptr : &*found;
}

const Membership::Peer* Membership::find(NodeId node) const {
  const auto found = std::ranges::find(peers_, node, &Peer::node);
  return found == peers_.end() ? nullptr : &*found;
}

void Membership::on_link_up(NodeId node) {
  if (Peer* const peer = find(node)) {
    peer->heard = false;
    peer->to_tell = true;
  }
}

void Membership::on_link_down(NodeId node) {
  Peer* const peer = find(node);
  if (peer == nullptr) return;
  peer->heard = peer->to_tell = false;
  if (state() == State::blank) tell_all();  // the view has become incomplete
}

void Membership::on_status(NodeId from, ByteView payload) {
  Peer* const peer = find(from);
  const auto status = decode_member_status(payload);
  if (peer == nullptr || !status) return;
  const MemberStatus before = this->status();
  peer->heard = true;
  peer->status = *status;
  advance();
  const MemberStatus after = this->status();
  if (after.state != before.state || !(after.members == before.members)) tell_all();
}

// Whether every other one of `members` has said the same: sees the same, or has pledged itself to them.
bool Membership::all_agree(const raft::Configuration& members, bool pledged) const {
  return std::ranges::all_of(members.voters, [&](NodeId voter) {
    if (voter == group_.options_.node) return true;
    const Peer* const peer = find(voter);
    if (peer == nullptr || !peer->heard) return false;
    if (raft::Incarnation(group_.links_->incarnation(voter)) != members.incarnation_of(voter)) return false;
    if (peer->status.state == State::member) return pledged;
    if (peer->status.state == State::lost) return false;
    if (pledged && peer->status.state != State::pledged) return false;
    return peer->status.members == members;
  });
}

void Membership::advance() {
  if (!saver_.idle() || group_.failed_ || group_.shutting_down_) return;
  if (group_.options_.replica_plant == Plant::blank_disk_is_member) return;
  if (state() == State::blank) {
    const raft::Configuration members = view();
    if (members.voters.empty() || !all_agree(members, false)) return;
    save(members, false);
  } else if (state() == State::pledged && all_agree(file_.pledged, true)) {
    save(file_.pledged, true);
  }
}

void Membership::save(const raft::Configuration& pledged, bool founded) {
  saving_ = {.incarnation = file_.incarnation,
             .pledged = pledged,
             .lost = file_.lost,
             .founded = founded,
             .seat = file_.seat};
  saver_.contents().clear();
  encode_incarnation_file(saving_, saver_.contents());
  saver_.save(
      group_.options_.data_directory, kFileName,
      [](void* context, Errc code) { static_cast<Membership*>(context)->on_saved(code); }, this);
}

void Membership::on_saved(Errc code) {
  if (group_.failed_) return;
  if (code != Errc::ok) {
    group_.enter_failed("writing " + group_.options_.data_directory + "/" + std::string(kFileName) +
                        " failed (" + std::string(to_string(code)) + "); check the device, then restart");
    return;
  }
  const bool founds = saving_.founded && !file_.founded;
  file_ = saving_;
  if (founds) group_.found(file_.pledged);
  tell_all();
  advance();
}

void Membership::tell_all() {
  for (Peer& peer : peers_) peer.to_tell = true;
}

std::uint32_t Membership::tell() {
  std::uint32_t work = 0;
  for (Peer& peer : peers_) {
    PeerSender* const sender = peer.to_tell ? group_.sender(peer.node) : nullptr;
    if (sender == nullptr || !group_.links_->up(peer.node)) continue;
    std::vector<std::byte> payload;
    encode(status(), payload);
    if (!sender->queue_service({kMemberStatus, 0}, payload)) continue;
    peer.to_tell = false;
    peer.told_at = group_.now_;
    ++work;
  }
  return work;
}

// --- messages of the core ---------------------------------------------------------------------------------

bool Membership::admits(const raft::Message& message) {
  if (group_.options_.replica_plant == Plant::blank_disk_is_member) return true;
  const raft::Core& core = *group_.core_;
  const bool planted = group_.options_.replica_plant == Plant::incarnation_ignored;
  const raft::Incarnation sender(group_.links_->incarnation(message.from));
  // Only members count. (A request is Raft's usual business whoever asks: its sender needs a majority of
  // members all the same.)
  if (is_answer(message)) return planted || core.configuration().incarnation_of(message.from) == sender;
  if (state() == State::pledged) {
    // A member's word: the cluster has been founded. It comes again when that is on disk.
    if (saver_.idle()) save(file_.pledged, true);
    return false;
  }
  // Being founded: the same.
  if (!saver_.idle()) return false;
  // A vote names a node. What was given to one incarnation is not repeated to another.
  const auto* request = std::get_if<raft::VoteRequest>(&message.payload);
  const bool given = request != nullptr && !request->pre_vote && message.term == core.term() &&
                     core.hard_state().vote == message.from;
  return !given || voted_for_ == sender;
}

bool Membership::is_meant() const {
  if (group_.options_.replica_plant == Plant::blank_disk_is_member) return true;
  const raft::Configuration& members = group_.core_->configuration();
  return members.incarnations.empty() || members.incarnation_of(group_.options_.node) == file_.incarnation;
}

void Membership::seen(const raft::Message& message) {
  const auto* request = std::get_if<raft::VoteRequest>(&message.payload);
  if (request == nullptr && !is_answer(message)) heard_at_ = group_.now_;
  if (request == nullptr || request->pre_vote) return;
  const raft::HardState& given = group_.core_->hard_state();
  if (given.term == message.term && given.vote == message.from)
    voted_for_ = raft::Incarnation(group_.links_->incarnation(message.from));
}

bool Membership::is_for_peer(const raft::Message& message) const {
  const Plant plant = group_.options_.replica_plant;
  if (is_answer(message) || plant == Plant::incarnation_ignored || plant == Plant::blank_disk_is_member)
    return true;
  const raft::Incarnation meant = group_.core_->configuration().incarnation_of(message.to);
  return raft::Incarnation(group_.links_->incarnation(message.to)) == meant;
}

void Membership::remind(NodeId node) {
  Peer* const peer = find(node);
  if (peer != nullptr && group_.now_ - peer->told_at >= kRemindEvery) peer->to_tell = true;
}

// --- time -------------------------------------------------------------------------------------------------

std::uint32_t Membership::do_work(Nanos now) {
  // Without a leader, and nothing to say to anybody: a connection to a process that is gone is noticed only
  // by sending, and it is in the way of the new one.
  if (!group_.core_->is_leader() && now - heard_at_ > kSilence && now >= tell_again_at_) {
    tell_again_at_ = now + kSilence;
    tell_all();
  }
  // Nor does a leader say anything to who is no member.
  if (group_.core_->is_leader() && now >= tell_again_at_) {
    tell_again_at_ = now + kSilence;
    for (Peer& peer : peers_)
      peer.to_tell = peer.to_tell || !group_.core_->configuration().contains(peer.node);
  }
  const std::uint32_t work = tell();
  const bool waits = state() != State::member || group_.core_->configuration().voters.empty() ||
                     (group_.core_->leader() == NodeId(0) && majority_lost());
  if (!waits) {
    waiting_since_ = 0;
  } else if (waiting_since_ == 0) {
    waiting_since_ = now;
    log_waiting_at_ = now + kFirstWord;
  } else if (now >= log_waiting_at_) {
    log_waiting(now);
  }
  return work;
}

// A majority of the voters, as far as they have spoken, has nothing any more.
bool Membership::majority_lost() const {
  const auto lost = std::ranges::count_if(
      peers_, [](const Peer& peer) { return peer.heard && peer.status.state == State::lost; });
  const std::size_t all = static_cast<std::size_t>(lost) + (state() == State::lost ? 1 : 0);
  // Who joins knows no voters before it is taken in.
  const raft::Configuration& known = group_.core_->configuration();
  const std::size_t voters =
      known.voters.empty() ? group_.options_.members.voters.size() : known.voters.size();
  return voters > 0 && 2 * all > voters;
}

void Membership::log_waiting(Nanos now) {
  log_waiting_at_ = now + kNextWord;
  std::string what;
  bool founded = false;
  for (const Peer& peer : peers_) {
    if (!what.empty()) what += "; ";
    what += "node " + std::to_string(peer.node.value()) + ": " + waits_for(peer);
    founded = founded || (peer.heard && peer.status.state == State::member);
  }
  founded = founded || state() == State::lost;
  if (majority_lost()) {
    return group_.log_.error(
        "group_stopped",
        {{"group", group_.options_.id},
         {"what", std::string_view(what)},
         {"cause",
          "too many nodes have lost data of this group: without a majority of those that still have "
          "theirs nothing can be known to be complete, and the group does not go on"},
         {"fix",
          "start the nodes that still have data; keep every group-*.damaged-* directory: acknowledged "
          "events may be nowhere else; restore a node from a copy of its data directory. Only if the "
          "cluster has never served: stop all nodes and remove this group's directories everywhere"}});
  }
  group_.log_.warn(
      "group_waits",
      {{"group", group_.options_.id},
       {"seconds", (now - waiting_since_) / kSecond},
       {"what", std::string_view(what)},
       {"cause", founded
                     ? "the data here are new, the cluster is not: it takes this node in as a learner first"
                 : group_.options_.members.voters.empty()
                     ? "cluster.join: this node waits until the cluster takes it in"
                     : "a new cluster begins when all voters of cluster.nodes are there"},
       {"fix", founded
                   ? "see esctl cluster status: a leader and a majority of the old members are needed; the "
                     "leader's log has member_ lines"
               : group_.options_.members.voters.empty()
                   ? "esctl node add at the cluster; start its nodes; see peer_ lines"
                   : "start the missing nodes, see their logs for peer_ lines"}});
}

std::string Membership::waits_for(const Peer& peer) const {
  if (!group_.links_->up(peer.node)) return "no link";
  if (!peer.heard) return "has not spoken yet";
  switch (peer.status.state) {
    case State::member: {
      const bool known = peer.status.members.incarnation_of(group_.options_.node) == file_.incarnation;
      return known ? "knows this node as a member" : "is a member, this node is not known to it";
    }
    case State::pledged:
      return peer.status.members.incarnation_of(group_.options_.node) == file_.incarnation
                 ? "is ready"
                 : "was about to begin with another disk of this node: if no node of the cluster has ever "
                   "served, "
                   "stop all and remove this group's directory everywhere";
    case State::lost: return "has lost its data, too";
    case State::blank:
      if (peer.status.members.voters.empty()) return "waits for others, too";
      return peer.status.members == view() ? "is ready" : "has another list of voters or sees other disks";
  }
  ESC_UNREACHABLE("state");
}

}  // namespace esc::replica
