#include "esc/replica/catalog.h"

#include <algorithm>

#include "esc/base/byte_codec.h"

namespace esc::replica {
namespace {

enum class Command : std::uint8_t {
  create_topic = 1,
  delete_topic = 2,
  add_partitions = 3,
  set_overrides = 4,
  set_nodes = 5
};

using Overrides = std::vector<std::pair<std::string, std::string>>;

// Version 1 knows no nodes; it is still written as long as there are none.
constexpr std::uint32_t kStateVersion = 1;
constexpr std::uint32_t kStateVersionWithNodes = 2;

void put_assignments(ByteWriter& writer, const std::vector<PartitionAssignment>& assignments) {
  writer.number(static_cast<std::uint32_t>(assignments.size()));
  for (const PartitionAssignment& assignment : assignments) {
    writer.number(assignment.id.value());
    writer.number(assignment.group.value());
  }
}

std::vector<PartitionAssignment> get_assignments(ByteReader& reader) {
  std::vector<PartitionAssignment> assignments;
  const std::uint32_t count = reader.count(8);
  for (std::uint32_t i = 0; i < count; ++i) {
    const PartitionId id(reader.number<std::uint32_t>());
    assignments.push_back({id, GroupId(reader.number<std::uint32_t>())});
  }
  return assignments;
}

void put_overrides(ByteWriter& writer, const Overrides& overrides) {
  writer.number(static_cast<std::uint32_t>(overrides.size()));
  for (const auto& [key, value] : overrides) {
    writer.text(key);
    writer.text(value);
  }
}

Overrides get_overrides(ByteReader& reader) {
  Overrides overrides;
  const std::uint32_t count = reader.count(8);
  for (std::uint32_t i = 0; i < count; ++i) {
    std::string key = reader.text();
    overrides.emplace_back(std::move(key), reader.text());
  }
  return overrides;
}

void put_topic(ByteWriter& writer, const Topic& topic) {
  writer.bytes(topic.id);
  writer.text(topic.name);
  put_assignments(writer, topic.partitions);
  put_overrides(writer, topic.overrides);
}

TopicId get_topic_id(ByteReader& reader) {
  TopicId id{};
  const ByteView bytes = reader.bytes(id.size());
  std::copy(bytes.begin(), bytes.end(), id.begin());
  return id;
}

Topic get_topic(ByteReader& reader) {
  Topic topic;
  topic.id = get_topic_id(reader);
  topic.name = reader.text();
  topic.partitions = get_assignments(reader);
  topic.overrides = get_overrides(reader);
  return topic;
}

}  // namespace

void encode(const NodeList& list, ByteWriter& writer) {
  writer.number(static_cast<std::uint32_t>(list.nodes.size()));
  for (const NodeRecord& record : list.nodes) {
    writer.number(record.node.value());
    writer.text(record.host);
    writer.number(record.port);
    writer.text(record.peer_host);
    writer.number(record.peer_port);
    writer.text(record.rack);
    writer.number(static_cast<std::uint8_t>(record.leaving ? 1 : 0));
  }
  writer.number(static_cast<std::uint32_t>(list.removed.size()));
  for (const NodeId node : list.removed) writer.number(node.value());
}

NodeList decode_node_list(ByteReader& reader) {
  NodeList list;
  const std::uint32_t nodes = reader.count(21);
  for (std::uint32_t i = 0; i < nodes && !reader.failed(); ++i) {
    NodeRecord& record = list.nodes.emplace_back();
    record.node = NodeId(reader.number<std::uint32_t>());
    record.host = reader.text();
    record.port = reader.number<std::uint16_t>();
    record.peer_host = reader.text();
    record.peer_port = reader.number<std::uint16_t>();
    record.rack = reader.text();
    record.leaving = reader.number<std::uint8_t>() != 0;
  }
  const std::uint32_t removed = reader.count(4);
  for (std::uint32_t i = 0; i < removed && !reader.failed(); ++i)
    list.removed.emplace_back(reader.number<std::uint32_t>());
  return list;
}

void Catalog::encode_set_nodes(const NodeList& nodes, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(Command::set_nodes));
  encode(nodes, writer);
}

void Catalog::encode_create_topic(const Topic& topic, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(Command::create_topic));
  put_topic(writer, topic);
}

void Catalog::encode_delete_topic(const TopicId& id, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(Command::delete_topic));
  writer.bytes(id);
}

void Catalog::encode_add_partitions(const TopicId& id, const std::vector<PartitionAssignment>& added,
                                    std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(Command::add_partitions));
  writer.bytes(id);
  put_assignments(writer, added);
}

void Catalog::encode_set_overrides(const TopicId& id, const Overrides& overrides,
                                   std::vector<std::byte>& out) {
  ByteWriter writer(out);
  writer.number(static_cast<std::uint8_t>(Command::set_overrides));
  writer.bytes(id);
  put_overrides(writer, overrides);
}

void Catalog::add(Topic topic) {
  for (const PartitionAssignment& assignment : topic.partitions) {
    next_partition_id_ = std::max(next_partition_id_, assignment.id.next());
  }
  partition_count_ += topic.partitions.size();
  names_.emplace(topic.id, topic.name);
  std::string name = topic.name;
  topics_.emplace(std::move(name), std::move(topic));
}

CatalogChange Catalog::apply(Index index, ByteView command) {
  CatalogChange change;
  if (index <= applied_) return change;
  applied_ = index;
  ByteReader reader(command);
  switch (static_cast<Command>(reader.number<std::uint8_t>())) {
    case Command::create_topic: {
      Topic topic = get_topic(reader);
      if (find(topic.name) != nullptr || find(topic.id) != nullptr) break;
      change.topic = topic.name;
      add(std::move(topic));
      break;
    }
    case Command::delete_topic: {
      const auto name = names_.find(get_topic_id(reader));
      if (name == names_.end()) break;
      change = {.topic = name->second, .removed = true};
      const auto topic = topics_.find(name->second);
      partition_count_ -= topic->second.partitions.size();
      topics_.erase(topic);
      names_.erase(name);
      break;
    }
    case Command::add_partitions: {
      const auto name = names_.find(get_topic_id(reader));
      const std::vector<PartitionAssignment> added = get_assignments(reader);
      if (name == names_.end()) break;
      change.topic = name->second;
      Topic& topic = topics_.find(name->second)->second;
      for (const PartitionAssignment& assignment : added) {
        next_partition_id_ = std::max(next_partition_id_, assignment.id.next());
        topic.partitions.push_back(assignment);
      }
      partition_count_ += added.size();
      break;
    }
    case Command::set_overrides: {
      const auto name = names_.find(get_topic_id(reader));
      Overrides overrides = get_overrides(reader);
      if (name == names_.end()) break;
      change.topic = name->second;
      topics_.find(name->second)->second.overrides = std::move(overrides);
      break;
    }
    case Command::set_nodes: {
      nodes_ = decode_node_list(reader);
      change.nodes = true;
      break;
    }
  }
  ESC_ASSERT_MSG(reader.at_end(), "a committed metadata command decodes");
  return change;
}

void Catalog::save(std::vector<std::byte>& out) const {
  ByteWriter writer(out);
  writer.number(nodes_.nodes.empty() ? kStateVersion : kStateVersionWithNodes);
  writer.number(applied_.value());
  writer.number(next_partition_id_.value());
  writer.number(static_cast<std::uint32_t>(topics_.size()));
  for (const auto& [name, topic] : topics_) put_topic(writer, topic);
  if (!nodes_.nodes.empty()) encode(nodes_, writer);
}

Status Catalog::load(ByteView state) {
  ByteReader reader(state);
  const auto version = reader.number<std::uint32_t>();
  if (version != kStateVersion && version != kStateVersionWithNodes) {
    return fail(Errc::unsupported, "the metadata in the checkpoint has version " + std::to_string(version) +
                                       ", this build reads versions 1 and 2: use the build that wrote it");
  }
  topics_.clear();
  names_.clear();
  partition_count_ = 0;
  applied_ = Index(reader.number<std::uint64_t>());
  const PartitionId next(reader.number<std::uint32_t>());
  const std::uint32_t topics = reader.count(28);
  for (std::uint32_t i = 0; i < topics && !reader.failed(); ++i) add(get_topic(reader));
  next_partition_id_ = std::max(next_partition_id_, next);
  nodes_ = version == kStateVersionWithNodes ? decode_node_list(reader) : NodeList{};
  if (!reader.at_end()) return fail(Errc::corruption, "the metadata in the checkpoint does not decode");
  return {};
}

const Topic* Catalog::find(std::string_view name) const {
  const auto found = topics_.find(name);
  return found == topics_.end() ? nullptr : &found->second;
}

const Topic* Catalog::find(const TopicId& id) const {
  const auto found = names_.find(id);
  return found == names_.end() ? nullptr : find(std::string_view(found->second));
}

}  // namespace esc::replica
