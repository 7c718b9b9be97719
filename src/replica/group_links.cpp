// Messages from and to the other members, and what follows from how the links are.
#include <algorithm>

#include "checkpoint_format.h"
#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"
#include "membership.h"
#include "peer_sender.h"
#include "repair.h"
#include "snapshot_fetch.h"
#include "snapshot_source.h"

namespace esc::replica {
namespace {

// A send that holds frames others need is given up after this long: the peer does not take its bytes.
constexpr Nanos kSlowSendWhenCrowded = 100 * kMillisecond;
constexpr Nanos kHandoverMax = 2 * kSecond;

// The first entries of a term, and changes of the members.
bool has_no_batch(ByteView payload) {
  logfmt::EntryReader reader(payload);
  while (const auto entry = reader.next()) {
    if (entry->header.kind != logfmt::EntryKind::noop &&
        entry->header.kind != logfmt::EntryKind::configuration)
      return false;
  }
  return true;
}

// Whether the payload is exactly the entries that the message announces.
bool announces(const raft::AppendEntries& append, ByteView payload) {
  logfmt::EntryReader reader(payload);
  std::uint64_t next = append.prev_index.value() + 1;
  while (const auto entry = reader.next()) {
    if (entry->header.index != next++) return false;
    if ((entry->header.kind == logfmt::EntryKind::configuration) != append.configuration.has_value())
      return false;
    if (entry->header.kind == logfmt::EntryKind::batch && !wire::BatchView::parse(entry->body)) return false;
  }
  return !reader.malformed() && next == append.prev_index.value() + 1 + append.count;
}

// The header of a message names members only; their incarnations are in the entry. False: they do not fit.
bool complete(raft::AppendEntries& append, ByteView payload) {
  logfmt::EntryReader entries(payload);
  const auto entry = entries.next();
  if (!entry) return false;
  ByteReader reader(entry->body);
  const auto members = decode_configuration(reader);
  if (!members || !(members->voters == append.configuration->voters) ||
      !(members->learners == append.configuration->learners))
    return false;
  append.configuration = *members;
  return true;
}

}  // namespace

// Entries of one message: at least the largest frame, and little more: a small ring must have room for all of
// it.
std::uint32_t Group::message_bytes_max() const {
  const std::uint64_t frame = ring_.frame_bytes_max();
  return static_cast<std::uint32_t>(
      align_up(frame + std::min<std::uint64_t>(64 * kKiB, frame / 2), kBlockBytes));
}

void Group::open_links() {
  if (options_.peers.empty()) return;
  peer::LinkOptions options;
  options.cluster_name = options_.cluster_name;
  options.cluster_id = options_.cluster_id;
  options.secret = options_.cluster_secret;
  options.self = options_.node;
  options.group = options_.id;
  options.incarnation = membership_->incarnation().value();
  options.payload_bytes_max = message_bytes_max();
  links_ = std::make_unique<peer::Links>(env_, log_, options, static_cast<peer::LinkHandler&>(*this));
  source_ = std::make_unique<SnapshotSource>(*this);
  for (const peer::PeerAddress& peer : options_.peers) {
    if (peer.node == options_.node) continue;
    add_peer(peer);
  }
}

// Senders stay when their node goes: the kernel may still read what they have sent, and ids are few.
void Group::add_peer(const peer::PeerAddress& peer) {
  if (sender(peer.node) == nullptr)
    senders_.push_back(std::make_unique<PeerSender>(peer.node, message_bytes_max()));
  links_->set_peer(peer);
}

void Group::set_nodes(const NodeList& nodes) {
  if (links_ == nullptr || nodes.nodes.empty()) return;
  nodes_ = nodes;
  std::vector<peer::PeerAddress> peers;
  for (const NodeRecord& record : nodes.nodes) {
    if (record.node == options_.node) continue;
    peers.push_back({record.node, record.peer_host, record.peer_port});
    add_peer(peers.back());
  }
  for (const peer::PeerAddress& known : options_.peers) {
    if (std::ranges::find(peers, known.node, &peer::PeerAddress::node) == peers.end())
      links_->remove_peer(known.node);
  }
  options_.peers = std::move(peers);
  links_->set_removed(nodes.removed);
  membership_->set_peers();
  links_widened_ = false;
  leader_heard_at_ = now_;
}

// Who hears of no leader may have an old list: nodes that it takes for removed may have been taken in again
// since, and lead. Then everybody whom the configuration names may have a link, until the list is renewed or
// a leader is heard that it names.
void Group::widen_links() {
  constexpr Nanos kWidenAfter = 2 * kSecond;
  const NodeId leader = core_->leader();
  if (leader != NodeId(0)) {
    leader_heard_at_ = now_;
    if (links_widened_ && (leader == options_.node || nodes_.stays(leader))) set_nodes(NodeList(nodes_));
    return;
  }
  if (links_widened_ || nodes_.nodes.empty() || now_ - leader_heard_at_ < kWidenAfter) return;
  links_widened_ = true;
  for (const peer::PeerAddress& peer : configured_peers_) {
    if (std::ranges::find(options_.peers, peer.node, &peer::PeerAddress::node) != options_.peers.end())
      continue;
    options_.peers.push_back(peer);
    add_peer(peer);
  }
  links_->set_removed({});
  membership_->set_peers();
}

bool Group::may_count(NodeId node) const {
  const raft::Core& core = *core_;
  return core.configuration().contains(node) || core.configurations().current_index() > core.commit_index();
}

raft::Incarnation Group::incarnation() const {
  return membership_ != nullptr ? membership_->incarnation() : raft::Incarnation(0);
}

PeerSender* Group::sender(NodeId peer) {
  for (const auto& candidate : senders_) {
    if (candidate->peer() == peer) return candidate.get();
  }
  return nullptr;
}

void Group::accept(const peer::Hello& hello, io::AcceptedSocket socket) {
  ESC_ASSERT(links_ != nullptr);
  links_->accept(hello, socket);
}

void Group::on_link_up(NodeId peer) {
  if (failed_ || shutting_down_) return;
  membership_->on_link_up(peer);
  tick(env_.clock.now());
  core_->peer_connected(peer, effects_);
  handle_effects();
}

void Group::on_link_down(NodeId peer, Errc) {
  if (PeerSender* to = sender(peer)) to->link_down();
  if (fetch_ != nullptr) fetch_->on_link_down();
  if (failed_ || shutting_down_) return;
  membership_->on_link_down(peer);
  tick(env_.clock.now());
  core_->peer_unreachable(peer, effects_);
  handle_effects();
}

void Group::on_sent(NodeId peer) {
  if (PeerSender* to = sender(peer)) to->sent();
}

// Room for all of it now: the core takes a message as a whole. Entries that do not fit are dropped;
// heartbeats tell the leader, who sends them again. What a new leader begins its term with may use the last
// room: without it nothing that fills the ring can be committed.
bool Group::room_for(ByteView entries, std::uint32_t count) {
  constexpr std::uint64_t kEntriesSpare = 64;
  constexpr std::uint64_t kFramesSpare = 8;
  const std::uint64_t bytes = entries.size() + 2 * std::uint64_t{ring_.frame_bytes_max()};
  const auto spacious = [&] {
    return ring_.bytes_free() >= bytes && ring_.entries_free() >= count + kEntriesSpare &&
           ring_.frames_free() >= kFramesSpare;
  };
  if (!spacious() || ring_.crowded()) reclaim(bytes, count + kEntriesSpare, kFramesSpare);
  if (has_no_batch(entries)) return ring_.can_take(entries.size(), count);
  return spacious();
}

// Of a message whose entries find no room. What they follow may be what fills the memory: to know that it
// equals the leader's log is to commit it, and only that makes room.
void Group::take_head(const raft::Message& message) {
  const auto& append = std::get<raft::AppendEntries>(message.payload);
  if (std::min(append.commit, append.prev_index) <= core_->commit_index()) return;
  raft::Message head = message;
  auto& without_entries = std::get<raft::AppendEntries>(head.payload);
  without_entries.count = 0;
  without_entries.bytes = 0;
  without_entries.configuration.reset();
  tick(env_.clock.now());
  core_->message(head, effects_);
  handle_effects({});
}

void Group::on_message(const raft::Message& message, ByteView payload) {
  if (failed_ || shutting_down_ || !membership_->admits(message)) return;
  const auto* append = std::get_if<raft::AppendEntries>(&message.payload);
  if (append != nullptr) {
    if (!announces(*append, payload)) {
      links_->close(message.from, "its entries are not what their header says");
      return;
    }
    if (append->count > 0 && !room_for(payload, append->count)) {
      ++stats_.appends_dropped;
      return take_head(message);
    }
  }
  tick(env_.clock.now());
  if (append != nullptr && append->configuration) {
    raft::Message completed = message;
    if (!complete(std::get<raft::AppendEntries>(completed.payload), payload)) {
      links_->close(message.from, "its list of members is not what its header says");
      return;
    }
    core_->message(completed, effects_);
  } else {
    core_->message(message, effects_);
    membership_->seen(message);
  }
  handle_effects(payload);
}

void Group::on_service(NodeId from, peer::Service service, ByteView payload) {
  if (failed_ || shutting_down_) return;
  switch (service.kind) {
    case kLeadRequest: return repair_->on_request(from, service.tag);
    case kMemberStatus: return membership_->on_status(from, payload);
    case kSnapshotStateRequest: return source_->on_state_request(from, service.tag, payload);
    case kSnapshotRecordsRequest: return source_->on_records_request(from, service.tag, payload);
    case kSnapshotIdsRequest: return source_->on_ids_request(from, service.tag, payload);
    case kSnapshotIds:
      if (fetch_ != nullptr) fetch_->on_ids(payload, service.tag);
      return;
    case kSnapshotState:
      if (fetch_ != nullptr) fetch_->on_state(payload, service.tag);
      return;
    case kSnapshotRecords:
      if (fetch_ != nullptr) fetch_->on_records(payload, service.tag);
      return;
    default: break;
  }
  if (service.kind >= kFirstKindAbove) listener_.on_service(options_.id, from, service, payload);
}

bool Group::send_service(NodeId to, peer::Service service, ByteView payload) {
  ESC_ASSERT(service.kind >= kFirstKindAbove);
  PeerSender* const link = sender(to);
  return link != nullptr && links_->up(to) && link->queue_service(service, payload);
}

std::uint32_t Group::flush_senders(Nanos now) {
  std::uint32_t work = 0;
  for (const auto& to : senders_) {
    work += to->flush(*links_, ring_, *wal_, now);
    if (const std::string why = to->take_read_error(); !why.empty()) {
      log_.error("wal_read_failed", {{"group", options_.id}, {"for", to->peer()}, {"detail", why}});
      if (to->read_damage()) report_damage(why);
    }
  }
  drop_slow_link(now);
  return work;
}

std::uint64_t Group::pinned_frame() const {
  std::uint64_t oldest = UINT64_MAX;
  for (const auto& to : senders_) oldest = std::min(oldest, to->pinned_frame());
  return oldest;
}

// Nobody else waits for a peer that does not take its bytes.
void Group::drop_slow_link(Nanos now) {
  if (ring_.bytes_free() >= 2 * std::uint64_t{ring_.frame_bytes_max()} && !ring_.crowded()) return;
  const std::uint64_t pinned = pinned_frame();
  if (pinned == UINT64_MAX || pinned != ring_.frame_front()) return;
  for (const auto& to : senders_) {
    if (to->pinned_frame() == pinned && now - to->sent_at() > kSlowSendWhenCrowded) {
      links_->close(to->peer(), "it does not take its bytes and the memory for frames is full");
    }
  }
}

// Whoever wins an election writes an entry at once.
bool Group::has_room_to_lead() {
  if (ring_.can_take(logfmt::kEntryHeaderBytes)) return true;
  reclaim(2 * kBlockBytes, 1, 1);
  return ring_.can_take(logfmt::kEntryHeaderBytes);
}

// Up to where the WAL may be recycled. In a cluster the last stretch stays for followers that lag a little,
// at a leader as much as they need, within a limit; whoever lags more gets a snapshot.
Index Group::releasable() const {
  if (links_ == nullptr || wal_->space() == wal::Space::low) return checkpointed_;
  Index released = checkpointed_before_;
  if (core_->is_leader() && wal_->live_bytes() < options_.retain_bytes) {
    for (const raft::Progress& peer : core_->peers()) {
      if (peer.state != raft::ProgressState::regressed) released = std::min(released, peer.match);
    }
  }
  // Within the same limit for those that a snapshot is bringing this far.
  if (core_->is_leader() && wal_->live_bytes() < options_.retain_bytes)
    released = std::min(released, source_->holds());
  return std::max(released, core_->log().snapshot_index());
}

// Leaders spread over the nodes: group g prefers the (g mod n)-th voter.
void Group::rebalance(Nanos now) {
  if (!leading_ || shutting_down_ || options_.rebalance_after == 0 || handover_deadline_ != 0) return;
  const raft::Configuration& members = core_->configuration();
  const NodeId preferred = members.voters[options_.id.value() % members.voters.size()];
  const auto& peers = core_->peers();
  const auto found = std::find_if(peers.begin(), peers.end(), [&](const raft::Progress& peer) {
    return peer.node == preferred && peer.state == raft::ProgressState::replicate;
  });
  const bool fit = preferred != options_.node && nodes_.stays(preferred) && found != peers.end() &&
                   core_->last_index() - found->match <= 1024 + found->inflight.count();
  if (!fit) {
    rebalance_at_ = 0;
  } else if (rebalance_at_ == 0) {
    // Not all groups at once.
    rebalance_at_ =
        now + std::max(options_.rebalance_after, rebalance_pause_) + options_.id.value() * (kSecond / 4);
  } else if (now >= rebalance_at_) {
    rebalance_at_ = 0;
    log_.info("leadership_offered", {{"group", options_.id}, {"to", preferred}, {"why", "balance"}});
    if (core_->transfer_leadership(preferred, effects_)) handle_effects();
  }
}

// A node whose disk is full does not lead as long as somebody else can: producers would be refused.
void Group::judge_fitness(Nanos now) {
  const bool full = no_space_ || wal_->space() == wal::Space::low;
  // Who is to leave the cluster may still be elected, and hands over at once: it may be the only one that has
  // all that the others need.
  core_->set_electable(!full && membership_->is_meant() && fetch_ == nullptr && has_room_to_lead());
  if (!full) {
    full_since_ = 0;
  } else if (full_since_ == 0) {
    full_since_ = now;
  } else if (leading_ && handover_deadline_ == 0 && now - full_since_ >= options_.timeouts.disk_stall) {
    full_since_ = now;  // when nobody takes over, try again after as long
    if (core_->transfer_leadership(NodeId(0), effects_)) {
      log_.warn("leadership_offered", {{"group", options_.id}, {"why", "the disk is full"}});
      handle_effects();
    }
  }
}

void Group::begin_handover() {
  if (handover_deadline_ != 0) return;
  handover_deadline_ = now_ + kHandoverMax;
  if (failed_ || !core_->is_leader()) return;
  if (!core_->transfer_leadership(NodeId(0), effects_)) handover_deadline_ = now_;  // nobody to take over
  handle_effects();
}

bool Group::handed_over() const {
  return failed_ || !core_->is_leader() || (handover_deadline_ != 0 && now_ >= handover_deadline_);
}

}  // namespace esc::replica
