// Topics and nodes of the cluster: the replicated metadata of group 0, as a deterministic function of its
// log.
//
// Group 0's core applies each committed command; every other core applies the same commands to its own
// copy, so lookups on the data path share nothing. Applying is idempotent per log index.
//
// Threading: one core per instance. Errors: commands are validated before they are proposed; a committed
// command that does not decode is a broken invariant.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/replica/node_record.h"
#include "esc/replica/partition.h"

namespace esc::replica {

struct PartitionAssignment {
  PartitionId id;
  GroupId group;
};

struct Topic {
  TopicId id{};
  std::string name;
  std::vector<PartitionAssignment> partitions;                 // by partition index
  std::vector<std::pair<std::string, std::string>> overrides;  // configuration that differs from the defaults
};

// What one command has changed.
struct CatalogChange {
  std::string topic;  // empty: no topic
  bool removed = false;
  bool nodes = false;
};

class Catalog {
 public:
  // Commands, to be proposed to group 0. Appended to `out`.
  static void encode_create_topic(const Topic& topic, std::vector<std::byte>& out);
  static void encode_delete_topic(const TopicId& id, std::vector<std::byte>& out);
  static void encode_add_partitions(const TopicId& id, const std::vector<PartitionAssignment>& added,
                                    std::vector<std::byte>& out);

  // The whole of a topic's configuration from now on.
  static void encode_set_overrides(const TopicId& id,
                                   const std::vector<std::pair<std::string, std::string>>& overrides,
                                   std::vector<std::byte>& out);

  // All nodes from now on.
  static void encode_set_nodes(const NodeList& nodes, std::vector<std::byte>& out);

  // Applies a committed command; ignored when `index` has been applied already, or when it lost a race
  // (a second creation of the same name, a deletion of what is gone).
  CatalogChange apply(Index index, ByteView command);

  void save(std::vector<std::byte>& out) const;
  [[nodiscard]] Status load(ByteView state);

  [[nodiscard]] const Topic* find(std::string_view name) const;
  [[nodiscard]] const Topic* find(const TopicId& id) const;
  [[nodiscard]] const std::map<std::string, Topic, std::less<>>& topics() const { return topics_; }
  // Without nodes as long as nobody has changed those of the configuration.
  [[nodiscard]] const NodeList& nodes() const { return nodes_; }
  [[nodiscard]] Index applied() const { return applied_; }
  [[nodiscard]] PartitionId next_partition_id() const { return next_partition_id_; }
  [[nodiscard]] std::size_t partition_count() const { return partition_count_; }

 private:
  void add(Topic topic);

  std::map<std::string, Topic, std::less<>> topics_;
  std::map<TopicId, std::string> names_;
  NodeList nodes_;
  Index applied_;
  PartitionId next_partition_id_{1};
  std::size_t partition_count_ = 0;
};

}  // namespace esc::replica
