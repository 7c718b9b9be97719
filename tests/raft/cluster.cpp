#include "raft/cluster.h"

#include <algorithm>
#include <sstream>

namespace esc::raft::testing {

// --- LogImage -----------------------------------------------------------------------------------

Term LogImage::term_at(Index index) const {
  if (index == snapshot_index) return snapshot_term;
  return holds(index) ? at(index).term : Term(0);
}

Configuration LogImage::configuration_at(Index index) const {
  for (Index i = index; i > snapshot_index; i = i.prev()) {
    if (at(i).configuration) return *at(i).configuration;
  }
  return snapshot_configuration;
}

void LogImage::apply(const LogWrite& write, const std::vector<Entry>& added) {
  if (write.kind == EntryKind::reset) {
    if (write.last > snapshot_index) install(write.last, write.term, snapshot_configuration);
    return;
  }
  if (write.truncate_from != Index(0)) {
    ESC_ASSERT(write.truncate_from > snapshot_index);
    entries.resize(std::min<std::size_t>(entries.size(), write.truncate_from - snapshot_index - 1));
  }
  ESC_ASSERT(write.first == last().next());
  ESC_ASSERT(added.size() == write.last - write.first + 1);
  entries.insert(entries.end(), added.begin(), added.end());
}

void LogImage::compact(Index index) {
  if (index <= snapshot_index) return;
  const Configuration configuration = configuration_at(index);
  const Term term = term_at(index);
  entries.erase(entries.begin(), entries.begin() + static_cast<std::ptrdiff_t>(index - snapshot_index));
  snapshot_index = index;
  snapshot_term = term;
  snapshot_configuration = configuration;
}

void LogImage::install(Index index, Term term, const Configuration& configuration) {
  if (term_at(index) == term && index >= snapshot_index) return compact(index);
  entries.clear();
  snapshot_index = index;
  snapshot_term = term;
  snapshot_configuration = configuration;
}

// --- life and death -----------------------------------------------------------------------------

Cluster::Cluster(const Options& options) : options_(options) {
  Configuration bootstrap;
  for (const std::uint32_t id : options.voters) bootstrap.voters.push_back(NodeId(id));
  for (const std::uint32_t id : options.voters) {
    Node& node = nodes_[NodeId(id)];
    node.id = NodeId(id);
    node.memory.snapshot_configuration = node.disk.snapshot_configuration = bootstrap;
    node.checkpoint.configuration = bootstrap;
    start(node);
  }
}

void Cluster::add_node(NodeId id) {
  Node& node = nodes_[id];
  node.id = id;
  start(node);
}

void Cluster::start(Node& node) {
  // Recovery: a checkpoint newer than the log replaces what it covers.
  if (node.checkpoint.index > node.disk.snapshot_index) {
    node.disk.install(node.checkpoint.index, node.checkpoint.term, node.checkpoint.configuration);
  }
  node.memory = node.disk;
  std::vector<TermRun> runs;
  std::vector<ConfigurationEntry> configurations;
  for (Index i = node.disk.snapshot_index.next(); i <= node.disk.last(); ++i) {
    const Entry& entry = node.disk.at(i);
    if (runs.empty() || runs.back().term != entry.term) runs.push_back({i, entry.term});
    if (entry.configuration) configurations.push_back({i, *entry.configuration});
  }
  Restored restored;
  restored.hard_state = node.disk_hard_state;
  restored.hard_state.term = std::max(restored.hard_state.term, node.memory.snapshot_term);
  restored.snapshot_index = node.disk.snapshot_index;
  restored.snapshot_term = node.disk.snapshot_term;
  restored.runs = runs;
  restored.last_index = node.disk.last();
  restored.commit = restored.applied = node.disk.snapshot_index;
  restored.configuration = node.disk.snapshot_configuration;
  restored.configurations = configurations;
  Config config;
  config.node = node.id;
  config.seed = options_.seed * 1000003 + node.id.value() * 101 + ++node.incarnation;
  config.timeouts = options_.timeouts;
  config.limits = options_.limits;
  config.plant = options_.plant;
  node.core = std::make_unique<Core>(config, restored);
  call(node, [this](Core& core, Effects& effects) { core.tick(now_, effects); });
}

void Cluster::crash(NodeId id, std::size_t writes_that_survive) {
  Node& n = node(id);
  for (std::size_t i = 0; i < writes_that_survive && !n.writes.empty(); ++i) {
    const DiskWrite& write = n.writes.front();
    if (write.hard_state) n.disk_hard_state = *write.hard_state;
    for (const auto& [log_write, added] : write.log_writes) n.disk.apply(log_write, added);
    n.writes.pop_front();
  }
  n.core.reset();
  n.writes.clear();
  n.late_marks.clear();
  n.fetch.reset();
  n.reads.clear();
  trace(id.value() + 17);
}

void Cluster::restart(NodeId id) {
  start(node(id));
  for (auto& [other, peer] : nodes_) {
    if (other != id && peer.core) connected(other, id);
  }
}

void Cluster::isolate(NodeId id) {
  for (const auto& [other, peer] : nodes_) {
    if (other != id) cut(id, other);
  }
}

// --- inputs -------------------------------------------------------------------------------------

void Cluster::call(Node& n, const std::function<void(Core&, Effects&)>& input,
                   const std::vector<Entry>* received) {
  effects_->clear();
  input(*n.core, *effects_);
  carry_out(n, received);
  while (effects_->more) {
    effects_->clear();
    n.core->tick(now_, *effects_);
    carry_out(n, nullptr);
  }
  if (options_.instant_disk) finish_writes(n.id);
}

void Cluster::advance(Nanos by) {
  now_ += by;
  for (auto& [id, n] : nodes_) {
    if (n.core) tick(id);
  }
}

void Cluster::tick(NodeId id) {
  call(node(id), [this](Core& core, Effects& effects) { core.tick(now_, effects); });
}

bool Cluster::deliver(std::size_t position) {
  const Packet packet = network_.at(position);
  network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(position));
  const NodeId to = packet.message.to;
  if (!nodes_.contains(to) || !up(to) || cut_.contains({packet.message.from, to})) return false;
  inject(packet.message, packet.entries);
  return true;
}

void Cluster::inject(const Message& message, std::vector<Entry> entries) {
  call(node(message.to), [&](Core& core, Effects& effects) { core.message(message, effects); }, &entries);
}

void Cluster::deliver_all() {
  while (!network_.empty()) deliver(0);
}

bool Cluster::finish_write(NodeId id) {
  Node& n = node(id);
  if (!n.core || n.writes.empty()) return false;
  const DiskWrite write = n.writes.front();
  n.writes.pop_front();
  if (write.hard_state) n.disk_hard_state = *write.hard_state;
  for (const auto& [log_write, added] : write.log_writes) n.disk.apply(log_write, added);
  if (record_late_marks) n.late_marks.push_back(write.mark);
  call(n, [&](Core& core, Effects& effects) { core.persisted(write.mark, effects); });
  return true;
}

void Cluster::finish_writes(NodeId id) {
  while (finish_write(id)) {
  }
}

void Cluster::repeat_late_mark(NodeId id, std::size_t position) {
  Node& n = node(id);
  if (!n.core || n.late_marks.empty()) return;
  const WriteMark mark = n.late_marks[position % n.late_marks.size()];
  call(n, [&](Core& core, Effects& effects) { core.persisted(mark, effects); });
}

void Cluster::settle() {
  for (bool moved = true; moved;) {
    moved = !network_.empty();
    deliver_all();
    for (auto& [id, n] : nodes_) {
      while (finish_write(id)) moved = true;
    }
  }
}

void Cluster::run(Nanos duration, Nanos step) {
  settle();
  for (Nanos end = now_ + duration; now_ < end;) {
    advance(step);
    settle();
  }
}

std::expected<Index, Errc> Cluster::propose(NodeId id, std::uint32_t count, std::uint64_t bytes) {
  std::expected<Index, Errc> result = Index(0);
  call(node(id), [&](Core& core, Effects& effects) { result = core.propose({count, bytes}, effects); });
  return result;
}

std::expected<Index, Errc> Cluster::change(NodeId id, ConfigurationChange what) {
  std::expected<Index, Errc> result = Index(0);
  call(node(id), [&](Core& core, Effects& effects) { result = core.propose_configuration(what, effects); });
  return result;
}

std::expected<void, Errc> Cluster::read(NodeId id, std::uint64_t request) {
  std::expected<void, Errc> result;
  node(id).reads[request] = committed();
  call(node(id), [&](Core& core, Effects& effects) { result = core.read_index(request, effects); });
  return result;
}

std::expected<void, Errc> Cluster::transfer(NodeId id, NodeId to) {
  std::expected<void, Errc> result;
  call(node(id), [&](Core& core, Effects& effects) { result = core.transfer_leadership(to, effects); });
  return result;
}

void Cluster::compact(NodeId id, Index index) {
  Node& n = node(id);
  index = std::min({index, n.core->applied_index(), n.core->durable_index(), n.disk.last()});
  if (index <= n.memory.snapshot_index) return;
  n.checkpoint = {index, n.memory.term_at(index), n.memory.configuration_at(index)};
  n.memory.compact(index);
  n.disk.compact(index);
  n.core->compacted(index);
}

// The fetched snapshot is the applied state of any node that has one at or above what was asked for.
void Cluster::finish_fetch(NodeId id, bool succeed) {
  Node& n = node(id);
  if (!n.core || !n.fetch) return;
  SnapshotDone done;
  const auto from = nodes_.find(n.fetch->from);
  if (succeed && from != nodes_.end() && from->second.core) {
    Node& source = from->second;
    const Index index = std::max(source.core->applied_index(), source.memory.snapshot_index);
    if (index >= n.fetch->index) {
      done = {true, index, source.memory.term_at(index), source.memory.configuration_at(index)};
    }
  }
  n.fetch.reset();
  if (done.installed && done.index > n.core->commit_index()) {
    n.checkpoint = {done.index, done.index_term, done.configuration};
    if (!n.core->log().matches(done.index, done.index_term))
      n.memory.install(done.index, done.index_term, done.configuration);
  }
  call(n, [&](Core& core, Effects& effects) { core.snapshot_done(done, effects); });
}

void Cluster::unreachable(NodeId at, NodeId peer) {
  call(node(at), [&](Core& core, Effects& effects) { core.peer_unreachable(peer, effects); });
}

void Cluster::connected(NodeId at, NodeId peer) {
  call(node(at), [&](Core& core, Effects& effects) { core.peer_connected(peer, effects); });
}

// --- effects ------------------------------------------------------------------------------------

void Cluster::collect_writes(Node& n, const std::vector<Entry>* received) {
  const Effects& effects = *effects_;
  if (!effects.mark) return;
  DiskWrite write{.hard_state = effects.hard_state, .log_writes = {}, .mark = *effects.mark};
  for (const LogWrite& log_write : effects.log_writes) {
    std::vector<Entry> added;
    for (Index i = log_write.first; i <= log_write.last; ++i) {
      Entry entry{.term = log_write.term};
      if (log_write.kind == EntryKind::proposal) entry.payload = next_payload_++;
      if (log_write.kind == EntryKind::configuration)
        entry.configuration = effects.configuration->configuration;
      // AppendEntries carries entries up to the last one that is written.
      if (log_write.kind == EntryKind::received) {
        entry = received->at(received->size() - 1 - (log_write.last - i));
      }
      added.push_back(entry);
    }
    n.memory.apply(log_write, added);
    write.log_writes.emplace_back(log_write, std::move(added));
  }
  n.writes.push_back(std::move(write));
}

void Cluster::carry_out(Node& n, const std::vector<Entry>* received) {
  if (observer) observer(n, *effects_);
  const Effects& effects = *effects_;
  collect_writes(n, received);
  for (const Message& message : effects.messages) {
    Packet packet{message, {}};
    if (const auto* append = std::get_if<AppendEntries>(&message.payload)) {
      for (std::uint32_t i = 1; i <= append->count; ++i)
        packet.entries.push_back(n.memory.at(append->prev_index + i));
    }
    trace(message.from.value() * 31 + message.to.value() + message.payload.index() * 1009 +
          message.term.value() * 7);
    network_.push_back(std::move(packet));
  }
  if (effects.snapshot_request) n.fetch = effects.snapshot_request;
  if (effects.leadership) check_leadership(n, *effects.leadership);
  if (effects.commit) check_commit(n, *effects.commit);
  if (effects.regressed_peer != NodeId(0)) fail("a peer was taken for one that lost durable entries");
  check_reads(n);
}

void Cluster::check_leadership(Node& n, const LeadershipChange& change) {
  if (!change.is_leader) return;
  trace(change.term.value() * 13 + n.id.value());
  const auto [at, first] = leaders_.emplace(change.term, n.id);
  if (!first && at->second != n.id)
    fail("election safety: two leaders in term " + std::to_string(change.term.value()));
  for (const auto& [index, entry] : committed_) {
    if (index <= n.memory.snapshot_index) continue;
    const bool same = n.memory.holds(index) && n.memory.at(index).term == entry.term;
    if (!same)
      return fail("leader completeness: committed entry " + std::to_string(index.value()) + " is missing");
  }
}

void Cluster::check_commit(Node& n, Index commit) {
  trace(commit.value() * 3 + n.id.value());
  for (Index i = std::max(n.core->applied_index(), n.memory.snapshot_index).next(); i <= commit; ++i) {
    const Entry& entry = n.memory.at(i);
    const auto [at, first] = committed_.emplace(i, entry);
    if (at->second.term != entry.term || at->second.payload != entry.payload)
      return fail("state machine safety: two different entries committed at " + std::to_string(i.value()));
  }
  if (n.core->is_leader()) {
    const Configuration& configuration = n.core->configuration();
    std::size_t durable = 0;
    for (const NodeId voter : configuration.voters) {
      const LogImage& disk = node(voter).disk;
      const bool has = commit <= std::max(disk.snapshot_index, node(voter).checkpoint.index) ||
                       (disk.holds(commit) && disk.term_at(commit) == n.memory.term_at(commit));
      if (has) ++durable;
    }
    if (durable < configuration.majority())
      fail("durability: entry " + std::to_string(commit.value()) + " committed without a durable majority");
  }
  n.core->applied(commit);
}

void Cluster::check_reads(Node& n) {
  for (const ReadAnswer& answer : effects_->reads) {
    const auto asked = n.reads.find(answer.request);
    if (asked == n.reads.end()) return fail("a read was answered twice");
    if (answer.code == Errc::ok && answer.index < asked->second)
      fail("a read missed what had been committed before it");
    n.reads.erase(asked);
  }
}

void Cluster::check_logs() {
  for (auto& [a, left] : nodes_) {
    for (auto& [b, right] : nodes_) {
      if (!(a < b)) continue;
      bool equal_above = false;  // once equal at an index, equal everywhere below (Raft figure 3)
      const Index low = std::max(left.memory.snapshot_index, right.memory.snapshot_index);
      for (Index i = std::min(left.memory.last(), right.memory.last()); i > low; i = i.prev()) {
        const Entry& x = left.memory.at(i);
        const Entry& y = right.memory.at(i);
        const bool equal = x.term == y.term;
        if ((equal && x.payload != y.payload) || (equal_above && !equal))
          return fail("log matching: logs differ below an equal entry at " + std::to_string(i.value()));
        equal_above = equal_above || equal;
      }
    }
  }
}

void Cluster::fail(const std::string& what) {
  if (failure_.empty()) failure_ = what;
}

NodeId Cluster::leader() const {
  NodeId found(0);
  Term term(0);
  for (const auto& [id, n] : nodes_) {
    if (n.core && n.core->is_leader() && n.core->term() > term) {
      found = id;
      term = n.core->term();
    }
  }
  return found;
}

Index Cluster::committed() const {
  return committed_.empty() ? Index(0) : committed_.rbegin()->first;
}

// --- text ---------------------------------------------------------------------------------------

const char* to_string(Role role) {
  switch (role) {
    case Role::follower: return "follower";
    case Role::pre_candidate: return "pre-candidate";
    case Role::candidate: return "candidate";
    case Role::leader: return "leader";
  }
  return "?";
}

std::string describe(const Configuration& configuration) {
  std::ostringstream out;
  out << "voters";
  for (const NodeId id : configuration.voters) out << ' ' << id.value();
  if (!configuration.learners.empty()) out << ", learners";
  for (const NodeId id : configuration.learners) out << ' ' << id.value();
  return out.str();
}

namespace {

struct Describe {
  std::ostringstream& out;
  void operator()(const AppendEntries& m) const {
    out << "AppendEntries after " << m.prev_index.value() << "/t" << m.prev_term.value();
    if (m.count > 0) {
      out << " entries " << m.prev_index.value() + 1 << ".." << m.prev_index.value() + m.count << "/t"
          << m.entries_term.value();
    }
    out << " commit " << m.commit.value();
    if (m.configuration) out << " {" << describe(*m.configuration) << '}';
  }
  void operator()(const AppendReply& m) const {
    out << "AppendReply ";
    if (m.accepted) {
      out << "received " << m.received.value() << " durable " << m.durable.value();
    } else {
      out << "REJECTED " << m.rejected_prev.value() << " hint " << m.hint_index.value() << "/t"
          << m.hint_term.value();
    }
  }
  void operator()(const Heartbeat& m) const {
    out << "Heartbeat round " << m.round << " commit " << m.commit.value();
  }
  void operator()(const HeartbeatReply& m) const {
    out << "HeartbeatReply round " << m.round << " received " << m.received.value() << " durable "
        << m.durable.value();
  }
  void operator()(const VoteRequest& m) const {
    out << (m.pre_vote ? "PreVote" : "Vote") << " with log " << m.last_index.value() << "/t"
        << m.last_term.value();
    if (m.transfer) out << " (transfer)";
  }
  void operator()(const VoteReply& m) const {
    out << (m.pre_vote ? "PreVoteReply " : "VoteReply ") << (m.granted ? "granted" : "refused");
  }
  void operator()(const TimeoutNow&) const { out << "TimeoutNow"; }
  void operator()(const InstallSnapshot& m) const {
    out << "InstallSnapshot " << m.index.value() << "/t" << m.index_term.value();
  }
  void operator()(const SnapshotFailed&) const { out << "SnapshotFailed"; }
};

}  // namespace

std::string describe(const Message& message) {
  std::ostringstream out;
  out << message.from.value() << "->" << message.to.value() << " t" << message.term.value() << ' ';
  std::visit(Describe{out}, message.payload);
  return out.str();
}

std::string describe_state(const Core& core) {
  std::ostringstream out;
  out << core.node().value() << ": " << to_string(core.role()) << " t" << core.term().value() << " vote "
      << core.hard_state().vote.value() << " leader " << core.leader().value() << ", log "
      << core.log().snapshot_index().value() + 1 << ".." << core.last_index().value() << "/t"
      << core.log().last_term().value() << " durable " << core.durable_index().value() << " commit "
      << core.commit_index().value() << ", " << describe(core.configuration());
  for (const Progress& peer : core.peers()) {
    static constexpr const char* kStates[] = {"probe", "replicate", "snapshot", "regressed"};
    out << "; peer " << peer.node.value() << ' ' << kStates[static_cast<int>(peer.state)] << " match "
        << peer.match.value() << " received " << peer.received.value() << " next " << peer.next.value();
  }
  return out.str();
}

}  // namespace esc::raft::testing
