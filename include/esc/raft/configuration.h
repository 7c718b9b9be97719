// Who belongs to a group: voters decide, learners only receive the log.
//
// Changes are one member at a time (Ongaro's dissertation, section 4.1): any majority of the old
// set then shares a member with any majority of the new set. A configuration is in force from the
// moment its entry is appended, committed or not; truncating the entry brings the previous one back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>

#include "esc/base/fixed_vector.h"
#include "esc/base/ids.h"
#include "esc/base/result.h"

namespace esc::raft {

inline constexpr std::size_t kVotersMax = 7;
inline constexpr std::size_t kLearnersMax = 4;
inline constexpr std::size_t kPeersMax = kVotersMax + kLearnersMax - 1;

// Which life of a node's data is meant: drawn at random when its directory is created. Whoever comes back
// under an old id with an empty disk is somebody else: it has forgotten votes and entries that it
// acknowledged.
using Incarnation = Strong<struct IncarnationTag, std::uint64_t>;  // 0: not told apart (a group of one node)

struct MemberIncarnation {
  NodeId node{};
  Incarnation incarnation{};
  friend bool operator==(const MemberIncarnation&, const MemberIncarnation&) = default;
};

struct Configuration {
  FixedVector<NodeId, kVotersMax> voters;      // ascending
  FixedVector<NodeId, kLearnersMax> learners;  // ascending, disjoint from voters
  // Of members only, ascending; whoever is not named has incarnation 0.
  FixedVector<MemberIncarnation, kPeersMax + 1> incarnations;

  [[nodiscard]] bool is_voter(NodeId node) const;
  [[nodiscard]] bool is_learner(NodeId node) const;
  [[nodiscard]] bool contains(NodeId node) const { return is_voter(node) || is_learner(node); }
  [[nodiscard]] Incarnation incarnation_of(NodeId node) const;
  // Adds, changes, or with 0 removes.
  void set_incarnation(NodeId node, Incarnation incarnation);
  // How many voters make a majority.
  [[nodiscard]] std::size_t majority() const { return voters.size() / 2 + 1; }

  friend bool operator==(const Configuration&, const Configuration&) = default;
};

enum class ChangeKind : std::uint8_t {
  add_learner,  // a new member starts here; it cannot vote before it has caught up
  promote,      // a learner that has caught up becomes a voter
  remove,       // a voter or a learner leaves
  replace,      // a voter or a learner starts anew as a learner: its data are of another incarnation
};

struct ConfigurationChange {
  ChangeKind kind = ChangeKind::add_learner;
  NodeId node{};
  Incarnation incarnation{};  // add_learner, replace
};

// The configuration after one change. invalid_argument when it makes no sense (adding a member, promoting a
// stranger, removing the last voter, replacing by the same), too_large when a limit above is reached.
[[nodiscard]] std::expected<Configuration, Errc> change(const Configuration& from, ConfigurationChange what);

// A configuration with the index of the entry that carries it (0 or the snapshot's for the base).
struct ConfigurationEntry {
  Index index{};
  Configuration configuration{};
};

// The configurations of the log: the base (at or below the snapshot) and one per configuration
// entry above it. The last one is in force.
class ConfigurationLog {
 public:
  static constexpr std::size_t kEntriesMax = 32;

  explicit ConfigurationLog(const Configuration& base = {}, Index index = Index(0));

  [[nodiscard]] const Configuration& current() const { return entries_.back().configuration; }
  // The index of the entry in force.
  [[nodiscard]] Index current_index() const { return entries_.back().index; }
  // Full until the log is compacted past the oldest entries. Meanwhile a leader refuses changes (busy)
  // and a follower takes no further configuration entry, so the driver should checkpoint and compact.
  [[nodiscard]] bool full() const { return entries_.full(); }
  // The configuration entry at exactly this index, or null.
  [[nodiscard]] const Configuration* at(Index index) const;
  // The first configuration entry above `index`, or 0.
  [[nodiscard]] Index next_after(Index index) const;
  // The configuration in force at `index` (for a snapshot there).
  [[nodiscard]] const Configuration& in_force_at(Index index) const;

  void append(Index index, const Configuration& configuration);
  // Forgets entries at and above `from`. Returns whether the current one changed.
  bool truncate(Index from);
  // Keeps the one in force at `index` as the new base.
  void compact(Index index);

 private:
  FixedVector<ConfigurationEntry, kEntriesMax> entries_;
};

}  // namespace esc::raft
