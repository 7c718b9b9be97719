#include "esc/raft/configuration.h"

#include <algorithm>

namespace esc::raft {
namespace {

template <std::size_t Capacity>
bool holds(const FixedVector<NodeId, Capacity>& members, NodeId node) {
  return std::find(members.begin(), members.end(), node) != members.end();
}

template <std::size_t Capacity>
void insert(FixedVector<NodeId, Capacity>& members, NodeId node) {
  members.push_back(node);
  std::sort(members.begin(), members.end());
}

template <std::size_t Capacity>
void remove(FixedVector<NodeId, Capacity>& members, NodeId node) {
  for (std::size_t i = 0; i < members.size(); ++i) {
    if (members[i] == node) return members.erase_at(i);
  }
}

}  // namespace

bool Configuration::is_voter(NodeId node) const {
  return holds(voters, node);
}
bool Configuration::is_learner(NodeId node) const {
  return holds(learners, node);
}

Incarnation Configuration::incarnation_of(NodeId node) const {
  for (const MemberIncarnation& member : incarnations) {
    if (member.node == node) return member.incarnation;
  }
  return Incarnation(0);
}

void Configuration::set_incarnation(NodeId node, Incarnation incarnation) {
  for (std::size_t i = 0; i < incarnations.size(); ++i) {
    if (incarnations[i].node != node) continue;
    incarnations.erase_at(i);
    break;
  }
  if (incarnation == Incarnation(0)) return;
  incarnations.push_back({node, incarnation});
  std::sort(incarnations.begin(), incarnations.end(),
            [](const auto& a, const auto& b) { return a.node < b.node; });
}

std::expected<Configuration, Errc> change(const Configuration& from, ConfigurationChange what) {
  Configuration to = from;
  if (what.node == NodeId(0)) return std::unexpected(Errc::invalid_argument);
  switch (what.kind) {
    case ChangeKind::add_learner:
      if (from.contains(what.node)) return std::unexpected(Errc::invalid_argument);
      if (to.learners.full()) return std::unexpected(Errc::too_large);
      insert(to.learners, what.node);
      to.set_incarnation(what.node, what.incarnation);
      return to;
    case ChangeKind::promote:
      if (!from.is_learner(what.node)) return std::unexpected(Errc::invalid_argument);
      if (to.voters.full()) return std::unexpected(Errc::too_large);
      remove(to.learners, what.node);
      insert(to.voters, what.node);
      return to;
    case ChangeKind::remove:
      if (!from.contains(what.node)) return std::unexpected(Errc::invalid_argument);
      if (from.is_voter(what.node) && from.voters.size() == 1) return std::unexpected(Errc::invalid_argument);
      remove(to.voters, what.node);
      remove(to.learners, what.node);
      to.set_incarnation(what.node, Incarnation(0));
      return to;
    case ChangeKind::replace:
      if (!from.contains(what.node) || from.incarnation_of(what.node) == what.incarnation)
        return std::unexpected(Errc::invalid_argument);
      if (from.is_voter(what.node) && from.voters.size() == 1) return std::unexpected(Errc::invalid_argument);
      if (from.is_voter(what.node) && to.learners.full()) return std::unexpected(Errc::too_large);
      remove(to.voters, what.node);
      if (!from.is_learner(what.node)) insert(to.learners, what.node);
      to.set_incarnation(what.node, what.incarnation);
      return to;
  }
  ESC_UNREACHABLE("ChangeKind");
}

ConfigurationLog::ConfigurationLog(const Configuration& base, Index index) {
  entries_.push_back({index, base});
}

const Configuration* ConfigurationLog::at(Index index) const {
  // The base is below the log: its content travels with the snapshot.
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    if (entries_[i].index == index) return &entries_[i].configuration;
  }
  return nullptr;
}

Index ConfigurationLog::next_after(Index index) const {
  for (std::size_t i = 1; i < entries_.size(); ++i) {
    if (entries_[i].index > index) return entries_[i].index;
  }
  return Index(0);
}

const Configuration& ConfigurationLog::in_force_at(Index index) const {
  std::size_t i = entries_.size() - 1;
  while (i > 0 && entries_[i].index > index) --i;
  return entries_[i].configuration;
}

void ConfigurationLog::append(Index index, const Configuration& configuration) {
  ESC_ASSERT(index > current_index());
  entries_.push_back({index, configuration});
}

bool ConfigurationLog::truncate(Index from) {
  bool changed = false;
  while (entries_.size() > 1 && entries_.back().index >= from) {
    entries_.pop_back();
    changed = true;
  }
  return changed;
}

void ConfigurationLog::compact(Index index) {
  while (entries_.size() > 1 && entries_[1].index <= index) entries_.erase_at(0);
}

}  // namespace esc::raft
