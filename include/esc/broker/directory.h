// A core's view of the cluster: topics with their settings, and who leads each group. Kept current by
// broadcasts from group 0's core; read without synchronisation on the data path.
//
// Threading: one core per instance.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "esc/broker/topic_settings.h"
#include "esc/replica/catalog.h"

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

class Directory {
 public:
  Directory(const TopicSettings& defaults, std::uint32_t groups) : defaults_(defaults), groups_(groups) {}

  // The topic that is new or has changed; null: none has.
  const TopicView* apply(Index index, ByteView command) {
    const replica::CatalogChange change = catalog_.apply(index, command);
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

  [[nodiscard]] const GroupView& group(GroupId id) const { return groups_[id.value()]; }
  void set_group(GroupId id, const GroupView& view) { groups_[id.value()] = view; }
  [[nodiscard]] std::uint32_t group_count() const { return static_cast<std::uint32_t>(groups_.size()); }

 private:
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
};

}  // namespace esc::broker
