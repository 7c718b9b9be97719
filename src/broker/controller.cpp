#include "controller.h"

#include <algorithm>
#include <cstring>

namespace esc::broker {

// One metadata change (or, at start, the whole directory) on its way to every core.
struct Controller::BroadcastCall : Call {
  struct Work {
    GroupId group;
    bool create = false;
    replica::PartitionIdentity identity;  // only the id counts for a deletion
  };
  Broadcast* broadcast = nullptr;
  // Of the receiving core.
  std::vector<Work> work;
  std::size_t cursor = 0;
  std::vector<replica::CommitWaiter> waiters;  // by group
  std::uint32_t uncommitted = 0;
};

struct Controller::Broadcast {
  Index index;
  std::vector<std::byte> bytes;
  bool whole = false;
  std::uint32_t outstanding = 0;
  std::vector<BroadcastCall> calls;
};

Controller::Controller(Broker& broker) : broker_(broker) {}

Controller::~Controller() {
  while (!queue_.empty()) queue_.pop_front();
}

void submit_admin_call(Broker& broker, std::unique_ptr<AdminCall> call) {
  AdminCall& sent = *call.release();
  sent.target = broker.core_of(GroupId(0));
  sent.run = [](Call& base, Broker& target) { target.controller().enqueue(static_cast<AdminCall&>(base)); };
  sent.done = [](Call& base, Broker& origin) {
    std::unique_ptr<AdminCall> owned(&static_cast<AdminCall&>(base));
    owned->finish(origin, *owned);
  };
  broker.router().send(sent);
}

// --- the core of group 0 ------------------------------------------------------------------------------

void Controller::on_metadata(Index index, ByteView command) {
  master_.apply(index, command);
  // Broadcast from do_work: we are inside the group's commit here.
  if (live_) committed_.emplace_back(index, std::vector<std::byte>(command.begin(), command.end()));
}

void Controller::start() {
  ESC_ASSERT(!live_);
  live_ = true;
  std::vector<std::byte> state;
  master_.save(state);
  broadcast(master_.applied(), std::move(state), true);
}

void Controller::broadcast(Index index, std::vector<std::byte> bytes, bool whole) {
  broadcasts_.push_back(std::make_unique<Broadcast>());
  Broadcast& sent = *broadcasts_.back();
  sent.index = index;
  sent.bytes = std::move(bytes);
  sent.whole = whole;
  sent.outstanding = broker_.router().cores();
  sent.calls = std::vector<BroadcastCall>(sent.outstanding);
  for (std::uint32_t core = 0; core < broker_.router().cores(); ++core) {
    BroadcastCall& call = sent.calls[core];
    call.broadcast = &sent;
    call.target = CoreId(core);
    call.run = [](Call& base, Broker& target) {
      target.controller().receive(static_cast<BroadcastCall&>(base));
    };
    call.done = [](Call& base, Broker& origin) {
      origin.controller().broadcast_done(static_cast<BroadcastCall&>(base));
    };
    broker_.router().send(call);
  }
}

void Controller::broadcast_done(BroadcastCall& call) {
  Broadcast& sent = *call.broadcast;
  if (--sent.outstanding > 0) return;
  if (sent.whole) {
    ready_ = true;
  }
  finished_ = std::max(finished_, sent.index);
  std::erase_if(broadcasts_, [&](const auto& each) { return each.get() == &sent; });
}

std::uint32_t Controller::do_work() {
  std::uint32_t work = 0;
  while (!committed_.empty()) {
    auto [index, command] = std::move(committed_.front());
    committed_.pop_front();
    broadcast(index, std::move(command), false);
    ++work;
  }
  while (!reconciling_.empty()) {
    BroadcastCall& call = *reconciling_.front();
    if (!advance_reconciliation(call)) break;
    reconciling_.erase(reconciling_.begin());
    broker_.router().reply(call);
    ++work;
  }
  return work + advance_queue();
}

std::uint32_t Controller::advance_queue() {
  if (!live_ || queue_.empty()) return 0;
  AdminCall& call = queue_.front();
  if (!propose(call)) return 0;
  if (call.last_index > finished_) return 0;
  queue_.pop_front();
  broker_.router().reply(call);
  return 1;
}

// Proposes the orders of a call one by one, each against the state that the one before has led to.
bool Controller::propose(AdminCall& call) {
  while (call.cursor < call.orders.size()) {
    if (master_.applied() < call.last_index) return false;  // the order before is not committed yet
    TopicOrder& order = call.orders[call.cursor];
    std::vector<std::byte> command;
    switch (order.kind) {
      case TopicOrder::Kind::create: order_create(order, command); break;
      case TopicOrder::Kind::remove: order_remove(order, command); break;
      case TopicOrder::Kind::add_partitions: order_add_partitions(order, command); break;
    }
    if (order.code == wire::ErrorCode::none && !call.validate_only) {
      const auto index =
          broker_.group(GroupId(0))->append_command(logfmt::EntryKind::metadata, PartitionId(0), command);
      if (!index && index.error() == Errc::busy) return false;  // try again next turn
      if (!index) {
        order.code = wire::ErrorCode::not_controller;
        order.message = "group 0 does not accept changes: " + std::string(to_string(index.error()));
      } else {
        call.last_index = *index;
      }
    }
    ++call.cursor;
  }
  return master_.applied() >= call.last_index;
}

std::vector<replica::PartitionAssignment> Controller::assign(std::int32_t count) const {
  std::vector<replica::PartitionAssignment> assignments;
  PartitionId id = master_.next_partition_id();
  for (std::int32_t i = 0; i < count; ++i, ++id) {
    assignments.push_back({id, GroupId(id.value() % broker_.options().groups)});
  }
  return assignments;
}

void Controller::order_create(TopicOrder& order, std::vector<std::byte>& command) {
  const auto refuse = [&](wire::ErrorCode code, std::string message) {
    order.code = code;
    order.message = std::move(message);
  };
  if (const char* problem = topic_name_problem(order.name))
    return refuse(wire::ErrorCode::invalid_topic, problem);
  if (master_.find(std::string_view(order.name)) != nullptr) {
    return refuse(wire::ErrorCode::topic_already_exists, "topic " + order.name + " exists");
  }
  const std::int32_t count = order.partitions == -1 ? broker_.options().default_partitions : order.partitions;
  if (count < 1)
    return refuse(wire::ErrorCode::invalid_partitions, "the number of partitions must be at least 1");
  if (order.replication_factor != -1 && order.replication_factor != 1) {
    return refuse(wire::ErrorCode::invalid_replication_factor,
                  "this cluster has 1 node: the replication factor is 1");
  }
  if (master_.topics().size() >= broker_.options().topics_max ||
      master_.partition_count() + static_cast<std::size_t>(count) > broker_.options().partitions_max) {
    return refuse(wire::ErrorCode::policy_violation,
                  "over tuning.limits.topics_max or partitions_max: there are " +
                      std::to_string(master_.topics().size()) + " topics with " +
                      std::to_string(master_.partition_count()) + " partitions");
  }
  TopicSettings settings = broker_.directory().defaults();
  for (const auto& [key, value] : order.overrides) {
    if (Status status = apply_override(settings, key, value); !status) {
      return refuse(wire::ErrorCode::invalid_config, status.error().message);
    }
  }
  replica::Topic topic;
  for (std::size_t i = 0; i < topic.id.size(); i += 8) {
    const std::uint64_t random = broker_.env().prng.next();
    std::memcpy(topic.id.data() + i, &random, sizeof random);
  }
  topic.id[6] = (topic.id[6] & std::byte{0x0f}) | std::byte{0x40};  // RFC 4122, version 4
  topic.id[8] = (topic.id[8] & std::byte{0x3f}) | std::byte{0x80};
  topic.name = order.name;
  topic.partitions = assign(count);
  topic.overrides = order.overrides;
  order.id = topic.id;
  order.partitions = count;
  replica::Catalog::encode_create_topic(topic, command);
}

void Controller::order_remove(TopicOrder& order, std::vector<std::byte>& command) {
  const replica::Topic* topic =
      order.name.empty() ? master_.find(order.id) : master_.find(std::string_view(order.name));
  if (topic == nullptr) {
    order.code =
        order.name.empty() ? wire::ErrorCode::unknown_topic_id : wire::ErrorCode::unknown_topic_or_partition;
    order.message = "no such topic";
    return;
  }
  order.id = topic->id;
  order.name = topic->name;
  replica::Catalog::encode_delete_topic(topic->id, command);
}

void Controller::order_add_partitions(TopicOrder& order, std::vector<std::byte>& command) {
  const replica::Topic* topic = master_.find(std::string_view(order.name));
  if (topic == nullptr) {
    order.code = wire::ErrorCode::unknown_topic_or_partition;
    order.message = "no such topic";
    return;
  }
  const auto existing = static_cast<std::int32_t>(topic->partitions.size());
  if (order.partitions <= existing) {
    order.code = wire::ErrorCode::invalid_partitions;
    order.message = "topic " + order.name + " has " + std::to_string(existing) +
                    " partitions; the new total must be larger (partitions cannot be taken away)";
    return;
  }
  if (master_.partition_count() + static_cast<std::size_t>(order.partitions - existing) >
      broker_.options().partitions_max) {
    order.code = wire::ErrorCode::policy_violation;
    order.message = "over tuning.limits.partitions_max";
    return;
  }
  replica::Catalog::encode_add_partitions(topic->id, assign(order.partitions - existing), command);
}

// --- every core -----------------------------------------------------------------------------------------

void Controller::announce_leadership(GroupId group, Term term) {
  struct LeaderCall : Call {
    GroupId group;
    GroupView view;
  };
  for (std::uint32_t core = 0; core < broker_.router().cores(); ++core) {
    auto* call = new LeaderCall;
    call->group = group;
    call->view = {broker_.options().node, term};
    call->target = CoreId(core);
    call->run = [](Call& base, Broker& target) {
      auto& leader = static_cast<LeaderCall&>(base);
      target.directory().set_group(leader.group, leader.view);
      target.router().reply(base);
    };
    call->done = [](Call& base, Broker&) { delete &static_cast<LeaderCall&>(base); };
    broker_.router().send(*call);
  }
}

void Controller::on_partition(GroupId, replica::Partition& partition) {
  if (partition.deleted()) return;
  if (const TopicView* view = broker_.directory().find(partition.identity().topic_id)) {
    partition.set_retention({view->settings.retention_ms, view->settings.retention_bytes});
  }
}

void Controller::receive(BroadcastCall& call) {
  const Broadcast& received = *call.broadcast;
  if (received.whole) {
    const Status status = broker_.directory().load(received.bytes);
    ESC_ASSERT_MSG(status.has_value(), "the directory that this process encoded decodes");
  } else {
    broker_.directory().apply(received.index, received.bytes);
  }
  plan_reconciliation(call);
  reconciling_.push_back(&call);
}

// What this core's groups have too few or too many of.
void Controller::plan_reconciliation(BroadcastCall& call) {
  const replica::Catalog& catalog = broker_.directory().catalog();
  std::vector<bool> wanted(catalog.next_partition_id().value(), false);
  for (const auto& [name, view] : broker_.directory().topics()) {
    const replica::Topic& topic = *view.topic;
    for (std::size_t i = 0; i < topic.partitions.size(); ++i) {
      const replica::PartitionAssignment& assignment = topic.partitions[i];
      replica::Group* group = broker_.group(assignment.group);
      if (group == nullptr) continue;
      wanted[assignment.id.value()] = true;
      if (replica::Partition* partition = group->find(assignment.id)) {
        partition->set_retention({view.settings.retention_ms, view.settings.retention_bytes});
        continue;
      }
      BroadcastCall::Work& work = call.work.emplace_back();
      work.group = assignment.group;
      work.create = true;
      work.identity = {assignment.id, topic.id, topic.name, static_cast<std::int32_t>(i),
                       static_cast<std::uint64_t>(view.settings.segment_bytes)};
    }
  }
  for (std::uint32_t id = 0; id < broker_.options().groups; ++id) {
    replica::Group* group = broker_.group(GroupId(id));
    if (group == nullptr) continue;
    for (const replica::Partition* partition : group->partitions()) {
      if (partition->id().value() < wanted.size() && wanted[partition->id().value()]) continue;
      BroadcastCall::Work& work = call.work.emplace_back();
      work.group = GroupId(id);
      work.identity.id = partition->id();
    }
  }
  call.waiters = std::vector<replica::CommitWaiter>(broker_.options().groups);
}

// True when everything is proposed and committed.
bool Controller::advance_reconciliation(BroadcastCall& call) {
  for (; call.cursor < call.work.size(); ++call.cursor) {
    const BroadcastCall::Work& work = call.work[call.cursor];
    replica::Group& group = *broker_.group(work.group);
    const auto index =
        work.create ? group.create_partition(work.identity) : group.delete_partition(work.identity.id);
    if (!index) return false;  // ring full, or not leading yet: try again next turn
    call.waiters[work.group.value()].index = *index;
    if (call.cursor + 1 < call.work.size()) continue;
    call.uncommitted = 1;
    for (std::uint32_t id = 0; id < call.waiters.size(); ++id) {
      replica::CommitWaiter& waiter = call.waiters[id];
      if (waiter.index == Index(0)) continue;
      ++call.uncommitted;
      waiter.context = &call;
      waiter.done = [](replica::CommitWaiter& done, Errc) {
        --static_cast<BroadcastCall*>(done.context)->uncommitted;
      };
      broker_.group(GroupId(id))->wait_committed(waiter);
    }
    --call.uncommitted;
  }
  return call.uncommitted == 0;
}

}  // namespace esc::broker
