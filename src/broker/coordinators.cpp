#include "coordinators.h"

#include "esc/base/crc32c.h"

namespace esc::broker {
namespace {

constexpr Nanos kTopicCheckInterval = 5 * kSecond;

}  // namespace

Coordinators::Coordinators(Broker& broker) : broker_(broker), machines_(broker.options().groups) {}

GroupId Coordinators::home(std::string_view group, std::uint32_t groups) {
  return GroupId(crc32c(as_bytes(group)) % groups);
}

void submit_coordinator_call(Broker& broker, std::string_view group, std::unique_ptr<CoordinatorCall> call) {
  submit_coordinator_call(broker, Coordinators::home(group, broker.options().groups), std::move(call));
}

void submit_coordinator_call(Broker& broker, GroupId group, std::unique_ptr<CoordinatorCall> call) {
  CoordinatorCall& sent = *call.release();
  sent.group = group;
  sent.target = broker.core_of(group);
  sent.run = [](Call& base, Broker& target) {
    target.coordinators().begin(static_cast<CoordinatorCall&>(base));
  };
  sent.done = [](Call& base, Broker& origin) {
    const std::unique_ptr<CoordinatorCall> owned(&static_cast<CoordinatorCall&>(base));
    owned->finish(origin);
  };
  broker.router().send(sent);
}

Coordinators::Machine& Coordinators::machine(GroupId group) {
  auto& slot = machines_[group.value()];
  if (slot == nullptr) {
    slot = std::make_unique<Machine>();
    slot->group = group;
    slot->coordinator = std::make_unique<coord::Coordinator>(broker_.options().groups_options);
  }
  return *slot;
}

void Coordinators::follow(Machine& machine) {
  const replica::Group* group = broker_.group(machine.group);
  const bool leads = group != nullptr && group->leading() && !broker_.shutting_down();
  const Term term = leads ? group->term() : Term(0);
  if (term == machine.term) return;
  if (machine.term != Term(0)) machine.coordinator->lost_leadership();
  machine.term = term;
  if (leads) machine.coordinator->became_leader(broker_.env().clock.now());
}

wire::ErrorCode Coordinators::check(GroupId id) {
  const replica::Group* group = broker_.group(id);
  Machine& here = machine(id);
  follow(here);
  if (here.term != Term(0)) return wire::ErrorCode::none;
  // Elected, but its first entry is not committed: what was committed before may still be on its way here.
  const bool loading = group != nullptr && group->core().is_leader() && !broker_.shutting_down();
  return loading ? wire::ErrorCode::coordinator_load_in_progress : wire::ErrorCode::not_coordinator;
}

void Coordinators::begin(CoordinatorCall& call) {
  call.answer.code = check(call.group);
  if (call.answer.code != wire::ErrorCode::none) return finish(call);
  Machine& here = machine(call.group);
  call.begin(*here.coordinator, broker_);
  flush(here);
}

void Coordinators::finish(CoordinatorCall& call) {
  broker_.router().reply(call);
}

std::uint32_t Coordinators::flush(Machine& machine) {
  replica::Group* const group = broker_.group(machine.group);
  std::uint32_t work = 0;
  while (const std::vector<std::byte>* command = machine.coordinator->proposal()) {
    const auto index = group->append_command(logfmt::EntryKind::coordinator, PartitionId(0), *command);
    if (index) {
      machine.coordinator->proposed(*index);
    } else if (index.error() == Errc::too_large) {
      machine.coordinator->refused(wire::ErrorCode::invalid_commit_offset_size);
    } else {
      break;  // no room now: next turn; no longer the leader: follow() sees it
    }
    ++work;
  }
  for (coord::Answer& answer : machine.coordinator->take_answers()) {
    auto& call = *reinterpret_cast<CoordinatorCall*>(answer.token);
    call.answer = std::move(answer);
    call.answered(broker_);
    finish(call);
    ++work;
  }
  return work;
}

Coordinators::Totals Coordinators::totals() const {
  Totals all;
  for (const auto& slot : machines_) {
    if (slot == nullptr) continue;
    const coord::GroupCounts counts = slot->coordinator->count();
    for (std::size_t i = 0; i < coord::kPhases; ++i) all.groups.groups[i] += counts.groups[i];
    all.groups.members += counts.members;
    const coord::CoordinatorStats& stats = slot->coordinator->stats();
    all.stats.rebalances += stats.rebalances;
    all.stats.members_expired += stats.members_expired;
    all.stats.commits += stats.commits;
    all.stats.offsets_committed += stats.offsets_committed;
  }
  return all;
}

void Coordinators::on_committed(GroupId group, Index index, WallMs timestamp, ByteView command) {
  // Answers leave with the next turn: we are inside the group's commit here.
  machine(group).coordinator->committed(index, timestamp, command, broker_.env().clock.now());
}

void Coordinators::save(GroupId group, std::vector<std::byte>& out) {
  if (broker_.options().plant != Plant::groups_not_saved) machine(group).coordinator->save(out);
}

Status Coordinators::load(GroupId group, ByteView state) {
  return machine(group).coordinator->load(state);
}

std::uint32_t Coordinators::do_work(Nanos now) {
  std::uint32_t work = 0;
  const bool check_topics = now >= next_topic_check_;
  if (check_topics) next_topic_check_ = now + kTopicCheckInterval;
  for (std::uint32_t id = 0; id < machines_.size(); ++id) {
    if (broker_.group(GroupId(id)) == nullptr) continue;
    Machine& here = machine(GroupId(id));
    follow(here);
    here.coordinator->tick(now, broker_.env().clock.wall_ms());
    if (check_topics) forget_topics(here);
    work += flush(here);
  }
  return work;
}

// Offsets of topics that were deleted. A topic that this core's directory does not know may also be newer
// than the directory: not if that has reached the change that the topic was known at.
void Coordinators::forget_topics(Machine& machine) const {
  if (machine.term == Term(0)) return;
  const replica::Catalog& catalog = broker_.directory().catalog();
  for (const auto& [group, stored] : machine.coordinator->state().groups()) {
    for (const auto& [name, offsets] : stored.topics) {
      const bool known = catalog.find(replica::TopicId(offsets.topic_id.bytes)) != nullptr;
      if (!known && catalog.applied().value() >= offsets.known_at)
        machine.coordinator->forget_topic(group, name);
    }
  }
}

void Coordinators::begin_shutdown() {
  for (const auto& slot : machines_) {
    if (slot == nullptr || broker_.group(slot->group) == nullptr) continue;
    follow(*slot);  // the broker is shutting down: leadership ends here
    flush(*slot);
  }
}

}  // namespace esc::broker
