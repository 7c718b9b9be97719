#include "reconciler.h"

#include <algorithm>

#include "esc/base/assert.h"

namespace esc::broker {

bool Reconciler::settled(std::uint64_t version) const {
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    const replica::Group* group = broker_.group(GroupId(id));
    if (group == nullptr || !group->leading()) continue;
    if (id >= groups_.size() || groups_[id].term != group->term() || groups_[id].done < version) return false;
  }
  return true;
}

std::uint32_t Reconciler::do_work() {
  if (version_ == 0) return 0;
  groups_.resize(broker_.options().groups);
  std::uint32_t work = 0;
  for (std::uint32_t id = 0; id < groups_.size(); ++id) {
    replica::Group* group = broker_.group(GroupId(id));
    if (group == nullptr) continue;
    GroupState& state = groups_[id];
    const Term term = group->leading() ? group->term() : Term(0);
    if (state.term != term) {
      state = GroupState{};
      state.term = term;
    }
    if (term != Term(0) && state.done != version_) work += advance(*group, state);
  }
  return work;
}

std::uint32_t Reconciler::advance(replica::Group& group, GroupState& state) const {
  if (state.planned == 0) {
    plan(group, state);
    state.planned = version_;
  }
  std::uint32_t work = 0;
  for (; state.cursor < state.work.size(); ++state.cursor) {
    const Work& next = state.work[state.cursor];
    const auto index = propose(group, next);
    if (!index) return work;  // no room, or no longer the leader: looked at again next turn
    state.last = *index;
    ++work;
  }
  if (group.commit_index() < state.last) return work;
  state.done = state.planned;
  state.planned = 0;
  state.work.clear();
  state.cursor = 0;
  return work + 1;
}

std::expected<Index, Errc> Reconciler::propose(replica::Group& group, const Work& work) {
  switch (work.kind) {
    case Work::Kind::create: return group.create_partition(work.identity);
    case Work::Kind::remove: return group.delete_partition(work.identity.id);
    case Work::Kind::roll: return group.propose_rolling(work.identity.id, work.identity.rolling());
  }
  ESC_UNREACHABLE("kind of work");
}

// What the group has too few or too many of.
void Reconciler::plan(replica::Group& group, GroupState& state) const {
  const Directory& directory = broker_.directory();
  const PartitionId next = directory.catalog().next_partition_id();
  PartitionId newest(0);
  for (const replica::Partition* partition : group.partitions()) newest = std::max(newest, partition->id());
  std::vector<bool> wanted(next.value(), false);
  for (const auto& [name, view] : directory.topics()) {
    const replica::Topic& topic = *view.topic;
    for (std::size_t i = 0; i < topic.partitions.size(); ++i) {
      const replica::PartitionAssignment& assignment = topic.partitions[i];
      if (assignment.group != group.id()) continue;
      wanted[assignment.id.value()] = true;
      if (replica::Partition* partition = group.find(assignment.id)) {
        apply_to(view.settings, *partition);
        const store::RollRules rules = roll_rules(view.settings);
        if (partition->identity().rolling() == rules) continue;
        Work& work = state.work.emplace_back();
        work.kind = Work::Kind::roll;
        work.identity.id = assignment.id;
        work.identity.set_rolling(rules);
      } else if (assignment.id > newest) {
        Work& work = state.work.emplace_back();
        work.kind = Work::Kind::create;
        work.identity = {.id = assignment.id,
                         .topic_id = topic.id,
                         .topic = topic.name,
                         .index = static_cast<std::int32_t>(i)};
        work.identity.set_rolling(roll_rules(view.settings));
      }
    }
  }
  std::ranges::sort(state.work, {}, [](const Work& work) { return work.identity.id; });
  if (broker_.options().plant == Plant::deleted_partitions_stay) return;
  for (const replica::Partition* partition : group.partitions()) {
    if (partition->id() >= next || wanted[partition->id().value()]) continue;
    state.work.emplace_back().identity.id = partition->id();
  }
}

}  // namespace esc::broker
