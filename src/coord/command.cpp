// The commands as bytes.
#include "command.h"

#include <algorithm>

namespace esc::coord {
namespace {

void put_kind(ByteWriter& writer, CommandKind kind) {
  writer.number(static_cast<std::uint8_t>(kind));
}

}  // namespace

void put_member(ByteWriter& writer, const Member& member) {
  writer.text(member.id);
  writer.number(static_cast<std::uint8_t>(member.instance.has_value()));
  if (member.instance) writer.text(*member.instance);
  writer.text(member.client_id);
  writer.text(member.client_host);
  writer.number(member.session_timeout_ms);
  writer.number(member.rebalance_timeout_ms);
  writer.number(static_cast<std::uint32_t>(member.protocols.size()));
  for (const Protocol& protocol : member.protocols) {
    writer.text(protocol.name);
    writer.blob(protocol.metadata);
  }
  writer.blob(member.assignment);
}

namespace {

std::vector<std::byte> get_blob(ByteReader& reader) {
  const ByteView bytes = reader.blob();
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Member get_member(ByteReader& reader) {
  Member member;
  member.id = reader.text();
  if (reader.number<std::uint8_t>() != 0) member.instance = reader.text();
  member.client_id = reader.text();
  member.client_host = reader.text();
  member.session_timeout_ms = reader.number<std::int32_t>();
  member.rebalance_timeout_ms = reader.number<std::int32_t>();
  const std::uint32_t protocols = reader.count(8);
  for (std::uint32_t i = 0; i < protocols && !reader.failed(); ++i) {
    Protocol protocol;
    protocol.name = reader.text();
    protocol.metadata = get_blob(reader);
    member.protocols.push_back(std::move(protocol));
  }
  member.assignment = get_blob(reader);
  return member;
}

wire::Uuid get_uuid(ByteReader& reader) {
  wire::Uuid id;
  const ByteView bytes = reader.bytes(id.bytes.size());
  std::copy(bytes.begin(), bytes.end(), id.bytes.begin());
  return id;
}

void encode_members(const Generation& generation, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  put_kind(writer, CommandKind::members);
  writer.text(generation.group);
  writer.number(generation.generation);
  writer.text(generation.protocol_type);
  writer.text(generation.protocol_name);
  writer.text(generation.leader);
  writer.number(static_cast<std::uint32_t>(generation.members.size()));
  for (const Member* member : generation.members) put_member(writer, *member);
}

void encode_commit(std::string_view group, const std::vector<OffsetToCommit>& offsets,
                   std::vector<std::byte>& out) {
  ByteWriter writer(out);
  put_kind(writer, CommandKind::commit);
  writer.text(group);
  writer.number(static_cast<std::uint32_t>(offsets.size()));
  for (const OffsetToCommit& offset : offsets) {
    writer.text(offset.topic);
    writer.bytes(offset.topic_id.bytes);
    writer.number(offset.known_at);
    writer.number(offset.partition);
    writer.number(offset.offset);
    writer.number(offset.leader_epoch);
    writer.text(offset.metadata);
  }
}

void encode_forget(std::string_view group, const std::vector<OffsetName>& offsets,
                   std::vector<std::byte>& out) {
  ByteWriter writer(out);
  put_kind(writer, CommandKind::forget);
  writer.text(group);
  writer.number(static_cast<std::uint32_t>(offsets.size()));
  for (const OffsetName& offset : offsets) {
    writer.text(offset.topic);
    writer.number(offset.partition);
  }
}

void encode_remove(std::string_view group, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  put_kind(writer, CommandKind::remove);
  writer.text(group);
}

void encode_expire(std::int64_t until_ms, std::vector<std::byte>& out) {
  ByteWriter writer(out);
  put_kind(writer, CommandKind::expire);
  writer.number(until_ms);
}

std::optional<State::Decoded> State::decode(ByteView bytes) {
  ByteReader reader(bytes);
  Decoded command;
  command.kind = static_cast<CommandKind>(reader.number<std::uint8_t>());
  switch (command.kind) {
    case CommandKind::members: {
      command.group = reader.text();
      command.members.generation = reader.number<std::int32_t>();
      command.members.protocol_type = reader.text();
      command.members.protocol_name = reader.text();
      command.members.leader = reader.text();
      const std::uint32_t count = reader.count(kMemberBytesMin);
      for (std::uint32_t i = 0; i < count && !reader.failed(); ++i) {
        Member member = get_member(reader);
        std::string id = member.id;
        command.members.members.insert_or_assign(std::move(id), std::move(member));
      }
      break;
    }
    case CommandKind::commit: {
      command.group = reader.text();
      const std::uint32_t count = reader.count(kOffsetBytesMin);
      for (std::uint32_t i = 0; i < count && !reader.failed(); ++i) {
        Decoded::Offset& offset = command.offsets.emplace_back();
        offset.topic = reader.text();
        offset.topic_id = get_uuid(reader);
        offset.known_at = reader.number<std::uint64_t>();
        offset.partition = reader.number<std::int32_t>();
        offset.value.offset = reader.number<std::int64_t>();
        offset.value.leader_epoch = reader.number<std::int32_t>();
        offset.value.metadata = reader.text();
      }
      break;
    }
    case CommandKind::forget: {
      command.group = reader.text();
      const std::uint32_t count = reader.count(8);
      for (std::uint32_t i = 0; i < count && !reader.failed(); ++i) {
        Decoded::Offset& offset = command.offsets.emplace_back();
        offset.topic = reader.text();
        offset.partition = reader.number<std::int32_t>();
      }
      break;
    }
    case CommandKind::remove: command.group = reader.text(); break;
    case CommandKind::expire: command.until_ms = reader.number<std::int64_t>(); break;
    case CommandKind::nothing: break;
    default: return std::nullopt;
  }
  if (!reader.at_end()) return std::nullopt;
  return command;
}

bool valid_command(ByteView command) {
  return State::decode(command).has_value();
}

std::string describe_command(ByteView bytes) {
  const auto command = State::decode(bytes);
  if (!command) return "?";
  std::string text;
  switch (command->kind) {
    case CommandKind::members:
      text = "members " + command->group + " generation=" + std::to_string(command->members.generation) +
             " protocol=" + command->members.protocol_name + " leader=" + command->members.leader + " [";
      for (const auto& [id, member] : command->members.members) text += (text.back() == '[' ? "" : " ") + id;
      return text + "]";
    case CommandKind::commit:
    case CommandKind::forget:
      text = (command->kind == CommandKind::commit ? "commit " : "forget ") + command->group;
      for (const State::Decoded::Offset& offset : command->offsets) {
        text += " " + offset.topic + "-" + std::to_string(offset.partition);
        if (command->kind == CommandKind::commit) text += "=" + std::to_string(offset.value.offset);
      }
      return text;
    case CommandKind::remove: return "remove " + command->group;
    case CommandKind::expire: return "expire until=" + std::to_string(command->until_ms);
    case CommandKind::nothing: return "nothing";
  }
  return "?";
}

}  // namespace esc::coord
