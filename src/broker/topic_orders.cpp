#include "topic_orders.h"

#include <cstring>

namespace esc::broker {
namespace {

std::vector<replica::PartitionAssignment> assign(const Broker& broker, const replica::Catalog& master,
                                                 std::int32_t count) {
  std::vector<replica::PartitionAssignment> assignments;
  PartitionId id = master.next_partition_id();
  for (std::int32_t i = 0; i < count; ++i, ++id) {
    assignments.push_back({id, GroupId(id.value() % broker.options().groups)});
  }
  return assignments;
}

void create(Broker& broker, const replica::Catalog& master, TopicOrder& order,
            std::vector<std::byte>& command) {
  const auto refuse = [&](wire::ErrorCode code, std::string message) {
    order.code = code;
    order.message = std::move(message);
  };
  if (const char* problem = topic_name_problem(order.name))
    return refuse(wire::ErrorCode::invalid_topic, problem);
  if (master.find(std::string_view(order.name)) != nullptr) {
    return refuse(wire::ErrorCode::topic_already_exists, "topic " + order.name + " exists");
  }
  const std::int32_t count = order.partitions == -1 ? broker.options().default_partitions : order.partitions;
  if (count < 1)
    return refuse(wire::ErrorCode::invalid_partitions, "the number of partitions must be at least 1");
  // Every partition is on every node, which is never less safe than what was asked for.
  const auto nodes = static_cast<std::int16_t>(broker.replication_factor());
  if (order.replication_factor != -1 && (order.replication_factor < 1 || order.replication_factor > nodes)) {
    return refuse(wire::ErrorCode::invalid_replication_factor,
                  "this cluster has " + std::to_string(nodes) + (nodes == 1 ? " node" : " nodes") +
                      ": the replication factor is " + std::to_string(nodes));
  }
  if (master.topics().size() >= broker.options().topics_max ||
      master.partition_count() + static_cast<std::size_t>(count) > broker.options().partitions_max) {
    return refuse(wire::ErrorCode::policy_violation,
                  "over tuning.limits.topics_max or partitions_max: there are " +
                      std::to_string(master.topics().size()) + " topics with " +
                      std::to_string(master.partition_count()) + " partitions");
  }
  TopicSettings settings = broker.directory().defaults();
  for (const auto& [key, value] : order.overrides) {
    if (Status status = apply_override(settings, key, value); !status) {
      return refuse(wire::ErrorCode::invalid_config, status.error().message);
    }
  }
  if (Status status = check_together(settings); !status)
    return refuse(wire::ErrorCode::invalid_config, status.error().message);
  replica::Topic topic;
  for (std::size_t i = 0; i < topic.id.size(); i += 8) {
    const std::uint64_t random = broker.env().prng.next();
    std::memcpy(topic.id.data() + i, &random, sizeof random);
  }
  topic.id[6] = (topic.id[6] & std::byte{0x0f}) | std::byte{0x40};  // RFC 4122, version 4
  topic.id[8] = (topic.id[8] & std::byte{0x3f}) | std::byte{0x80};
  topic.name = order.name;
  topic.partitions = assign(broker, master, count);
  topic.overrides = order.overrides;
  order.id = topic.id;
  order.partitions = count;
  replica::Catalog::encode_create_topic(topic, command);
}

void remove(const replica::Catalog& master, TopicOrder& order, std::vector<std::byte>& command) {
  const replica::Topic* topic =
      order.name.empty() ? master.find(order.id) : master.find(std::string_view(order.name));
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

void add_partitions(Broker& broker, const replica::Catalog& master, TopicOrder& order,
                    std::vector<std::byte>& command) {
  const replica::Topic* topic = master.find(std::string_view(order.name));
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
  if (master.partition_count() + static_cast<std::size_t>(order.partitions - existing) >
      broker.options().partitions_max) {
    order.code = wire::ErrorCode::policy_violation;
    order.message = "over tuning.limits.partitions_max";
    return;
  }
  replica::Catalog::encode_add_partitions(topic->id, assign(broker, master, order.partitions - existing),
                                          command);
}

void configure(Broker& broker, const replica::Catalog& master, TopicOrder& order,
               std::vector<std::byte>& command) {
  if (order.code != wire::ErrorCode::none) return;
  const replica::Topic* topic = master.find(std::string_view(order.name));
  if (topic == nullptr) {
    order.code = wire::ErrorCode::unknown_topic_or_partition;
    order.message = "no such topic";
    return;
  }
  auto changed =
      change_overrides(broker.directory().defaults(), topic->overrides, order.changes, order.replaces_all);
  if (!changed) {
    order.code = wire::ErrorCode::invalid_config;
    order.message = std::move(changed.error().message);
    return;
  }
  replica::Catalog::encode_set_overrides(topic->id, *changed, command);
}

}  // namespace

void encode_order(Broker& broker, const replica::Catalog& master, TopicOrder& order,
                  std::vector<std::byte>& command) {
  switch (order.kind) {
    case TopicOrder::Kind::create: return create(broker, master, order, command);
    case TopicOrder::Kind::remove: return remove(master, order, command);
    case TopicOrder::Kind::add_partitions: return add_partitions(broker, master, order, command);
    case TopicOrder::Kind::configure: return configure(broker, master, order, command);
  }
}

}  // namespace esc::broker
