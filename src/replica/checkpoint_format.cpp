#include "checkpoint_format.h"

#include <algorithm>

#include "esc/base/byte_codec.h"
#include "esc/base/crc32c.h"

namespace esc::replica {
namespace {

constexpr std::uint64_t kMagic = 0x31544b5043435345;  // "ESCCPKT1"
constexpr std::uint32_t kVersion = 5;
constexpr std::uint32_t kVersionUntimed = 4;      // without when segments began, and rolling by time
constexpr std::uint32_t kVersionUncompacted = 3;  // without what compaction leaves
constexpr std::uint32_t kVersionMin = 2;          // nor the memory of partitions, producer ids, incarnations
constexpr std::size_t kPrefixBytes = 16;
constexpr std::size_t kPartitionBytesMin = 16 + 4 + 4 + 8 + 4 + 8 + 8 + 4;

void encode_partition(ByteWriter& writer, const CheckpointPartition& partition) {
  writer.number(partition.identity.id.value());
  writer.bytes(partition.identity.topic_id);
  writer.number(partition.identity.index);
  writer.number(partition.identity.segment_bytes);
  writer.text(partition.identity.topic);
  writer.number(partition.state.log_start_offset.value());
  writer.number(partition.state.next_offset.value());
  writer.number(static_cast<std::uint32_t>(partition.state.segments.size()));
  for (const auto& segment : partition.state.segments) {
    writer.number(segment.base_offset.value());
    writer.number(segment.bytes);
    writer.number(segment.generation);
    writer.number(segment.first_timestamp);
  }
  writer.number(partition.identity.segment_ms);
  writer.number(partition.state.compacted_until.value());
  writer.number(partition.state.tombstones_until);
  writer.number(partition.memory_through.value());
  writer.blob(partition.memory);
}

CheckpointPartition decode_partition(ByteReader& reader, std::uint32_t version) {
  CheckpointPartition partition;
  partition.identity.id = PartitionId(reader.number<std::uint32_t>());
  const ByteView topic_id = reader.bytes(partition.identity.topic_id.size());
  std::copy(topic_id.begin(), topic_id.end(), partition.identity.topic_id.begin());
  partition.identity.index = reader.number<std::int32_t>();
  partition.identity.segment_bytes = reader.number<std::uint64_t>();
  partition.identity.topic = reader.text();
  partition.state.log_start_offset = Offset(reader.number<std::int64_t>());
  partition.state.next_offset = Offset(reader.number<std::int64_t>());
  const bool compacted = version > kVersionUncompacted;
  const bool timed = version > kVersionUntimed;
  const std::uint32_t segments = reader.count(16 + (compacted ? 4 : 0) + (timed ? 8 : 0));
  for (std::uint32_t i = 0; i < segments; ++i) {
    store::PartitionState::Segment& segment = partition.state.segments.emplace_back();
    segment.base_offset = Offset(reader.number<std::int64_t>());
    segment.bytes = reader.number<std::uint64_t>();
    if (compacted) segment.generation = reader.number<std::uint32_t>();
    if (timed) segment.first_timestamp = reader.number<std::int64_t>();
  }
  if (timed) partition.identity.segment_ms = reader.number<std::int64_t>();
  if (compacted) {
    partition.state.compacted_until = Offset(reader.number<std::int64_t>());
    partition.state.tombstones_until = reader.number<std::int64_t>();
  }
  if (version == kVersionMin) return partition;
  partition.memory_through = Index(reader.number<std::uint64_t>());
  const ByteView memory = reader.blob();
  partition.memory.assign(memory.begin(), memory.end());
  return partition;
}

template <std::size_t Capacity>
void encode_members(const raft::Configuration& from, const FixedVector<NodeId, Capacity>& members,
                    ByteWriter& writer) {
  writer.number(static_cast<std::uint32_t>(members.size()));
  for (const NodeId node : members) {
    writer.number(node.value());
    writer.number(from.incarnation_of(node).value());
  }
}

template <std::size_t Capacity>
bool decode_members(ByteReader& reader, bool incarnations, raft::Configuration& into,
                    FixedVector<NodeId, Capacity>& out) {
  const std::uint32_t count = reader.count(incarnations ? 4 + 8 : 4);
  if (count > Capacity) return false;
  for (std::uint32_t i = 0; i < count; ++i) {
    const NodeId node(reader.number<std::uint32_t>());
    const raft::Incarnation incarnation(incarnations ? reader.number<std::uint64_t>() : 0);
    if (node == NodeId(0) || (!out.empty() && node <= out.back())) return false;
    if (into.incarnation_of(node) != raft::Incarnation(0)) return false;  // voter and learner
    out.push_back(node);
    into.set_incarnation(node, incarnation);
  }
  return true;
}

}  // namespace

void encode_configuration(const raft::Configuration& configuration, ByteWriter& writer) {
  encode_members(configuration, configuration.voters, writer);
  encode_members(configuration, configuration.learners, writer);
}

std::optional<raft::Configuration> decode_configuration(ByteReader& reader, bool incarnations) {
  raft::Configuration configuration;
  if (!decode_members(reader, incarnations, configuration, configuration.voters)) return std::nullopt;
  if (!decode_members(reader, incarnations, configuration, configuration.learners)) return std::nullopt;
  if (reader.failed()) return std::nullopt;
  return configuration;
}

void encode_checkpoint(const Checkpoint& checkpoint, std::vector<std::byte>& out) {
  const std::size_t start = out.size();
  ByteWriter writer(out);
  writer.number(kMagic);
  writer.number(kVersion);
  writer.number(std::uint32_t{0});  // body bytes, below
  writer.number(checkpoint.group.value());
  writer.number(checkpoint.applied.value());
  writer.number(checkpoint.applied_term.value());
  encode_configuration(checkpoint.configuration, writer);
  writer.number(static_cast<std::uint8_t>(checkpoint.installed ? 1 : 0));
  writer.number(checkpoint.partition_max.value());
  writer.number(checkpoint.producer_ids);
  writer.blob(checkpoint.metadata);
  writer.number(static_cast<std::uint32_t>(checkpoint.partitions.size()));
  for (const CheckpointPartition& partition : checkpoint.partitions) encode_partition(writer, partition);
  store_le(out.data() + start + 12, static_cast<std::uint32_t>(out.size() - start - kPrefixBytes));
  writer.number(crc32c(ByteView(out).subspan(start)));
}

Result<Checkpoint> decode_checkpoint(ByteView bytes, const std::string& path) {
  const auto damaged = [&](const std::string& what) {
    return fail(Errc::corruption,
                "checkpoint " + path + " is damaged: " + what +
                    "; restore this file from a copy, or replace this node's data directory from "
                    "its peers. Nothing was changed");
  };
  if (bytes.size() < kPrefixBytes + 4)
    return damaged("it has only " + std::to_string(bytes.size()) + " bytes");
  const ByteView checked = bytes.first(bytes.size() - 4);
  if (load_le<std::uint32_t>(bytes.data() + checked.size()) != crc32c(checked))
    return damaged("checksum mismatch");
  ByteReader reader(checked);
  if (reader.number<std::uint64_t>() != kMagic) return damaged("it is not a checkpoint file");
  const auto version = reader.number<std::uint32_t>();
  if (version < kVersionMin || version > kVersion) {
    return fail(Errc::unsupported, "checkpoint " + path + " has format version " + std::to_string(version) +
                                       ", this build reads versions 2 to 5: use the build that wrote it");
  }
  if (reader.number<std::uint32_t>() != checked.size() - kPrefixBytes) return damaged("its length is wrong");
  Checkpoint checkpoint;
  checkpoint.group = GroupId(reader.number<std::uint32_t>());
  checkpoint.applied = Index(reader.number<std::uint64_t>());
  checkpoint.applied_term = Term(reader.number<std::uint64_t>());
  const auto configuration = decode_configuration(reader, version >= 3);
  if (!configuration) return damaged("its list of members makes no sense");
  checkpoint.configuration = *configuration;
  checkpoint.installed = reader.number<std::uint8_t>() != 0;
  checkpoint.partition_max = PartitionId(reader.number<std::uint32_t>());
  if (version > kVersionMin) checkpoint.producer_ids = reader.number<std::uint64_t>();
  const ByteView metadata = reader.blob();
  checkpoint.metadata.assign(metadata.begin(), metadata.end());
  const std::uint32_t partitions = reader.count(kPartitionBytesMin);
  for (std::uint32_t i = 0; i < partitions; ++i) {
    checkpoint.partitions.push_back(decode_partition(reader, version));
  }
  if (!reader.at_end()) return damaged("its contents end early or go on too long");
  return checkpoint;
}

}  // namespace esc::replica
