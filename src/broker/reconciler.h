// Brings the groups that this node leads in line with the directory: partitions to create and to delete, and
// other rules of where their segments end, are proposed to the groups' own logs. Every node watches the same
// directory, and only a group's leader acts, so whoever leads next goes on where the last one stopped.
//
// The directory may lag behind what an earlier leader of the group has seen. Partition numbers only grow and
// are never used again, which decides what a stale directory cannot know:
//   not yet in the directory (number >= its next one): left alone;
//   gone from the group but still in the directory: creations are proposed in the order of their numbers, so
//   one below the group's newest partition has been deleted before, and is not made again.
//
// Threading: the core of the broker.
#pragma once

#include <cstdint>
#include <expected>
#include <vector>

#include "esc/broker/broker.h"

namespace esc::broker {

class Reconciler {
 public:
  explicit Reconciler(Broker& broker) : broker_(broker) {}

  // The directory has changed. The version counts changes, from 1.
  void directory_changed() { ++version_; }
  [[nodiscard]] std::uint64_t version() const { return version_; }
  // What the directory wanted at `version` is committed in every group of this core that is led here.
  [[nodiscard]] bool settled(std::uint64_t version) const;
  std::uint32_t do_work();

 private:
  struct Work {
    enum class Kind : std::uint8_t { create, remove, roll };
    Kind kind = Kind::remove;
    replica::PartitionIdentity identity;  // only the id counts for a deletion
  };
  struct GroupState {
    Term term;                  // of our leadership; 0: not led here
    std::uint64_t done = 0;     // version reached
    std::uint64_t planned = 0;  // version of `work`; 0: no plan
    std::vector<Work> work;
    std::size_t cursor = 0;
    Index last;  // of the proposals
  };
  [[nodiscard]] static std::expected<Index, Errc> propose(replica::Group& group, const Work& work);
  void plan(replica::Group& group, GroupState& state) const;
  [[nodiscard]] std::uint32_t advance(replica::Group& group, GroupState& state) const;

  Broker& broker_;
  std::vector<GroupState> groups_;  // by id
  std::uint64_t version_ = 0;
};

}  // namespace esc::broker
