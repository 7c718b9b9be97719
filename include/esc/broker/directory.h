// A core's view of the cluster: nodes, topics with their settings, and who leads each group. Kept current by
// broadcasts from group 0's core; read without synchronisation on the data path.
//
// Threading: one core per instance.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "esc/broker/topic_settings.h"
#include "esc/replica/catalog.h"
#include "esc/replica/node_record.h"

namespace esc::broker {

struct TopicView {
  const replica::Topic* topic = nullptr;
  TopicSettings settings;
};

struct GroupView {
  NodeId leader;  // 0: unknown; this node only once it may assign offsets
  Term term;
  NodeId last_leader;  // the one known last, and the one before; 0: none since the start
  NodeId previous_leader;
  Nanos elected_at = 0;  // when last_leader was first heard of
};

struct NodeView {
  replica::NodeRecord record;
  bool gone = false;  // not named to clients, see node_watch.h
};

class Directory {
 public:
  Directory(const TopicSettings& defaults, std::uint32_t groups, std::vector<replica::NodeRecord> nodes)
      : defaults_(defaults), groups_(groups), in_sync_(groups) {
    set_nodes(std::move(nodes));
  }

  // The topic that is new or has changed; null: none has.
  const TopicView* apply(Index index, ByteView command) {
    const replica::CatalogChange change = catalog_.apply(index, command);
    if (change.nodes) take_nodes();
    if (change.topic.empty()) return nullptr;
    if (change.removed) {
      views_.erase(change.topic);
      return nullptr;
    }
    view_topic(*catalog_.find(std::string_view(change.topic)));
    return find(std::string_view(change.topic));
  }
  [[nodiscard]] Status load(ByteView state) {
    Status status = catalog_.load(state);
    refresh();
    take_nodes();
    return status;
  }

  [[nodiscard]] const TopicView* find(std::string_view name) const {
    const auto found = views_.find(name);
    return found == views_.end() ? nullptr : &found->second;
  }
  [[nodiscard]] const TopicView* find(const replica::TopicId& id) const {
    const replica::Topic* topic = catalog_.find(id);
    return topic == nullptr ? nullptr : find(std::string_view(topic->name));
  }
  // A partition as clients name it; null when there is none.
  [[nodiscard]] static const replica::PartitionAssignment* partition(const TopicView* topic,
                                                                     std::int32_t index) {
    if (topic == nullptr || index < 0 || static_cast<std::size_t>(index) >= topic->topic->partitions.size())
      return nullptr;
    return &topic->topic->partitions[static_cast<std::size_t>(index)];
  }
  [[nodiscard]] const std::map<std::string, TopicView, std::less<>>& topics() const { return views_; }
  [[nodiscard]] const replica::Catalog& catalog() const { return catalog_; }
  [[nodiscard]] const TopicSettings& defaults() const { return defaults_; }

  // All of the cluster, ascending by id.
  [[nodiscard]] const std::vector<NodeView>& nodes() const { return nodes_; }
  [[nodiscard]] const NodeView* find_node(NodeId id) const {
    const auto found =
        std::ranges::find_if(nodes_, [id](const NodeView& each) { return each.record.node == id; });
    return found == nodes_.end() ? nullptr : &*found;
  }
  void set_nodes(std::vector<replica::NodeRecord> nodes) {
    std::vector<NodeView> views;
    for (replica::NodeRecord& node : nodes) {
      const NodeView* known = find_node(node.node);
      const bool gone = known != nullptr && known->gone;
      views.push_back({.record = std::move(node), .gone = gone});
    }
    nodes_ = std::move(views);
  }
  // Counts the changes of the log's nodes: those of the configuration are version 0.
  [[nodiscard]] std::uint64_t nodes_version() const { return nodes_version_; }
  void set_gone(const std::vector<NodeId>& gone) {
    for (NodeView& node : nodes_) node.gone = std::ranges::find(gone, node.record.node) != gone.end();
  }
  // Who leads the group, as clients are told: 0 when nobody is known, or who is known is gone.
  [[nodiscard]] NodeId leader(GroupId id) const {
    const NodeId leader = group(id).leader;
    const NodeView* node = find_node(leader);
    return node == nullptr || node->gone ? NodeId(0) : leader;
  }

  [[nodiscard]] const GroupView& group(GroupId id) const { return groups_[id.value()]; }
  void set_group(GroupId id, const GroupView& view) { groups_[id.value()] = view; }
  // Who is in sync in a group that this node leads, ascending; empty: another node does.
  [[nodiscard]] const std::vector<NodeId>& in_sync(GroupId id) const { return in_sync_[id.value()]; }
  void set_in_sync(GroupId id, const std::vector<NodeId>& nodes) { in_sync_[id.value()] = nodes; }
  [[nodiscard]] std::uint32_t group_count() const { return static_cast<std::uint32_t>(groups_.size()); }

 private:
  void take_nodes() {
    if (catalog_.nodes().nodes.empty()) return;
    set_nodes(catalog_.nodes().nodes);
    ++nodes_version_;
  }
  void refresh() {
    views_.clear();
    for (const auto& [name, topic] : catalog_.topics()) view_topic(topic);
  }
  // A map's nodes do not move, so pointers into the catalog stay valid.
  void view_topic(const replica::Topic& topic) {
    views_.insert_or_assign(topic.name, TopicView{&topic, resolve(defaults_, topic.overrides)});
  }

  TopicSettings defaults_;
  replica::Catalog catalog_;
  std::map<std::string, TopicView, std::less<>> views_;
  std::vector<GroupView> groups_;
  std::vector<std::vector<NodeId>> in_sync_;  // by group
  std::vector<NodeView> nodes_;
  std::uint64_t nodes_version_ = 0;
};

}  // namespace esc::broker
