#include "esc/coord/state.h"

#include <algorithm>

#include "command.h"
#include "esc/base/assert.h"

namespace esc::coord {
namespace {

constexpr std::uint32_t kStateVersion = 1;
// What a node of a map and the strings in it take beside their bytes, about.
constexpr std::uint64_t kNodeBytes = 96;

std::uint64_t offset_bytes(const CommittedOffset& offset) {
  return kNodeBytes + offset.metadata.size();
}

std::uint64_t member_bytes(const StoredGroup& group) {
  std::uint64_t bytes = 0;
  for (const auto& [id, member] : group.members) {
    bytes += 2 * kNodeBytes + 2 * id.size() + member.client_id.size() + member.client_host.size() +
             member.assignment.size();
    for (const Protocol& protocol : member.protocols)
      bytes += kNodeBytes + protocol.name.size() + protocol.metadata.size();
  }
  return bytes;
}

std::uint64_t topic_bytes(const std::string& name, const TopicOffsets& topic) {
  std::uint64_t bytes = kNodeBytes + name.size();
  for (const auto& [partition, offset] : topic.partitions) bytes += offset_bytes(offset);
  return bytes;
}

std::uint64_t group_bytes(const std::string& name, const StoredGroup& group) {
  std::uint64_t bytes = 2 * kNodeBytes + name.size() + member_bytes(group);
  for (const auto& [topic, offsets] : group.topics) bytes += topic_bytes(topic, offsets);
  return bytes;
}

void put_topic(ByteWriter& writer, const std::string& name, const TopicOffsets& topic) {
  writer.text(name);
  writer.bytes(topic.topic_id.bytes);
  writer.number(topic.known_at);
  writer.number(static_cast<std::uint32_t>(topic.partitions.size()));
  for (const auto& [partition, offset] : topic.partitions) {
    writer.number(partition);
    writer.number(offset.offset);
    writer.number(offset.leader_epoch);
    writer.number(offset.committed_ms);
    writer.text(offset.metadata);
  }
}

void put_group(ByteWriter& writer, const std::string& name, const StoredGroup& group) {
  writer.text(name);
  writer.number(group.generation);
  writer.text(group.protocol_type);
  writer.text(group.protocol_name);
  writer.text(group.leader);
  writer.number(group.empty_since_ms);
  writer.number(static_cast<std::uint32_t>(group.members.size()));
  for (const auto& [id, member] : group.members) put_member(writer, member);
  writer.number(static_cast<std::uint32_t>(group.topics.size()));
  for (const auto& [topic, offsets] : group.topics) put_topic(writer, topic, offsets);
}

TopicOffsets get_topic(ByteReader& reader) {
  TopicOffsets topic;
  topic.topic_id = get_uuid(reader);
  topic.known_at = reader.number<std::uint64_t>();
  const std::uint32_t count = reader.count(28);
  for (std::uint32_t i = 0; i < count && !reader.failed(); ++i) {
    const auto partition = reader.number<std::int32_t>();
    CommittedOffset& offset = topic.partitions[partition];
    offset.offset = reader.number<std::int64_t>();
    offset.leader_epoch = reader.number<std::int32_t>();
    offset.committed_ms = reader.number<std::int64_t>();
    offset.metadata = reader.text();
  }
  return topic;
}

StoredGroup get_group(ByteReader& reader) {
  StoredGroup group;
  group.generation = reader.number<std::int32_t>();
  group.protocol_type = reader.text();
  group.protocol_name = reader.text();
  group.leader = reader.text();
  group.empty_since_ms = reader.number<std::int64_t>();
  const std::uint32_t members = reader.count(kMemberBytesMin);
  for (std::uint32_t i = 0; i < members && !reader.failed(); ++i) {
    Member member = get_member(reader);
    std::string id = member.id;
    group.members.insert_or_assign(std::move(id), std::move(member));
  }
  const std::uint32_t topics = reader.count(32);
  for (std::uint32_t i = 0; i < topics && !reader.failed(); ++i) {
    std::string name = reader.text();
    group.topics.insert_or_assign(std::move(name), get_topic(reader));
  }
  return group;
}

}  // namespace

const StoredGroup* State::find(std::string_view group) const {
  const auto found = groups_.find(group);
  return found == groups_.end() ? nullptr : &found->second;
}

void State::apply(Index index, WallMs timestamp, ByteView bytes) {
  if (index <= applied_) return;
  applied_ = index;
  log_time_ms_ = std::max(log_time_ms_, timestamp);
  auto command = decode(bytes);
  ESC_ASSERT_MSG(command.has_value(), "a committed command of the coordinator decodes");
  switch (command->kind) {
    case CommandKind::members: return set_members(*command, log_time_ms_);
    case CommandKind::commit: return commit(*command, log_time_ms_);
    case CommandKind::forget: return forget(*command);
    case CommandKind::remove:
      if (const auto found = groups_.find(command->group); found != groups_.end()) drop(found);
      return;
    case CommandKind::expire: return expire(command->until_ms);
    case CommandKind::nothing: return;
  }
}

void State::drop(std::map<std::string, StoredGroup, std::less<>>::iterator group) {
  bytes_ -= group_bytes(group->first, group->second);
  groups_.erase(group);
}

void State::set_members(Decoded& command, std::int64_t now_ms) {
  const auto [at, created] = groups_.try_emplace(command.group);
  StoredGroup& group = at->second;
  bytes_ -= created ? 0 : group_bytes(at->first, group);
  auto topics = std::move(group.topics);
  group = std::move(command.members);
  group.topics = std::move(topics);
  group.empty_since_ms = now_ms;
  bytes_ += group_bytes(at->first, group);
}

void State::commit(Decoded& command, std::int64_t now_ms) {
  const auto [at, created] = groups_.try_emplace(command.group);
  if (created) bytes_ += group_bytes(at->first, at->second);
  for (Decoded::Offset& offset : command.offsets) {
    const auto [topic, first] = at->second.topics.try_emplace(offset.topic);
    TopicOffsets& offsets = topic->second;
    if (!first && offsets.topic_id != offset.topic_id) {
      bytes_ -= topic_bytes(topic->first, offsets);
      offsets = {};
    }
    if (offsets.partitions.empty()) bytes_ += topic_bytes(topic->first, offsets);
    offsets.topic_id = offset.topic_id;
    offsets.known_at = std::max(offsets.known_at, offset.known_at);
    const auto [partition, fresh] = offsets.partitions.try_emplace(offset.partition);
    if (!fresh) bytes_ -= offset_bytes(partition->second);
    partition->second = std::move(offset.value);
    partition->second.committed_ms = now_ms;
    bytes_ += offset_bytes(partition->second);
  }
}

void State::forget(Decoded& command) {
  const auto group = groups_.find(command.group);
  if (group == groups_.end()) return;
  for (const Decoded::Offset& offset : command.offsets) {
    const auto topic = group->second.topics.find(offset.topic);
    if (topic == group->second.topics.end()) continue;
    bytes_ -= topic_bytes(topic->first, topic->second);
    if (offset.partition != kAllPartitions) topic->second.partitions.erase(offset.partition);
    if (offset.partition == kAllPartitions || topic->second.partitions.empty()) {
      group->second.topics.erase(topic);
    } else {
      bytes_ += topic_bytes(topic->first, topic->second);
    }
  }
}

// A group that had members counts from when the last of them went (KIP-211), one that only keeps offsets from
// each offset's commit.
void State::expire(std::int64_t until_ms) {
  for (auto at = groups_.begin(); at != groups_.end();) {
    const auto group = at++;
    StoredGroup& stored = group->second;
    if (!stored.members.empty()) continue;
    if (!stored.protocol_type.empty() && stored.empty_since_ms > until_ms) continue;
    bytes_ -= group_bytes(group->first, stored);
    for (auto topic = stored.topics.begin(); topic != stored.topics.end();) {
      std::erase_if(topic->second.partitions,
                    [until_ms](const auto& offset) { return offset.second.committed_ms <= until_ms; });
      topic = topic->second.partitions.empty() ? stored.topics.erase(topic) : std::next(topic);
    }
    if (stored.topics.empty()) {
      groups_.erase(group);
    } else {
      bytes_ += group_bytes(group->first, stored);
    }
  }
}

void State::save(std::vector<std::byte>& out) const {
  ByteWriter writer(out);
  writer.number(kStateVersion);
  writer.number(applied_.value());
  writer.number(log_time_ms_);
  writer.number(static_cast<std::uint32_t>(groups_.size()));
  for (const auto& [name, group] : groups_) put_group(writer, name, group);
}

Status State::load(ByteView state) {
  ByteReader reader(state);
  if (const auto version = reader.number<std::uint32_t>(); version != kStateVersion) {
    return fail(Errc::unsupported, "the consumer groups in the checkpoint have version " +
                                       std::to_string(version) +
                                       ", this build reads version 1: use the build that wrote it");
  }
  State loaded;
  loaded.applied_ = Index(reader.number<std::uint64_t>());
  loaded.log_time_ms_ = reader.number<std::int64_t>();
  const std::uint32_t groups = reader.count(36);
  for (std::uint32_t i = 0; i < groups && !reader.failed(); ++i) {
    std::string name = reader.text();
    StoredGroup group = get_group(reader);
    loaded.bytes_ += group_bytes(name, group);
    if (!loaded.groups_.try_emplace(std::move(name), std::move(group)).second)
      return fail(Errc::corruption, "the consumer groups in the checkpoint name a group twice");
  }
  if (!reader.at_end()) return fail(Errc::corruption, "the consumer groups in the checkpoint do not decode");
  *this = std::move(loaded);
  return {};
}

}  // namespace esc::coord
