#include "snapshot_messages.h"

#include "esc/dedup/generation.h"

namespace esc::replica {
namespace {

SnapshotIdsRequest read_ids_request(ByteReader& reader) {
  SnapshotIdsRequest message;
  message.partition = PartitionId(reader.number<std::uint32_t>());
  message.generation = reader.number<std::uint64_t>();
  message.position = reader.number<std::uint32_t>();
  return message;
}

}  // namespace

void encode(const SnapshotStateRequest& message, ByteWriter& writer) {
  writer.number(message.offset);
}

void encode(const SnapshotState& message, ByteWriter& writer) {
  writer.number(message.total_bytes);
  writer.number(message.offset);
  writer.blob(message.part);
}

void encode(const SnapshotRecordsRequest& message, ByteWriter& writer) {
  writer.number(message.partition.value());
  writer.number(message.offset.value());
}

void encode(const SnapshotRecords& message, ByteWriter& writer) {
  writer.number(message.partition.value());
  writer.number(message.offset.value());
  writer.number(static_cast<std::uint8_t>(message.code == Errc::ok ? 0 : 1));
  writer.blob(message.records);
}

void encode(const SnapshotIdsRequest& message, ByteWriter& writer) {
  writer.number(message.partition.value());
  writer.number(message.generation);
  writer.number(message.position);
}

void encode(const SnapshotIds& message, ByteWriter& writer) {
  encode(message.asked, writer);
  writer.number(static_cast<std::uint8_t>(message.code == Errc::ok ? 0 : 1));
  writer.blob(message.entries);
}

std::optional<SnapshotStateRequest> decode_state_request(ByteView bytes) {
  ByteReader reader(bytes);
  const SnapshotStateRequest message{reader.number<std::uint64_t>()};
  if (!reader.at_end()) return std::nullopt;
  return message;
}

std::optional<SnapshotState> decode_state(ByteView bytes) {
  ByteReader reader(bytes);
  SnapshotState message;
  message.total_bytes = reader.number<std::uint64_t>();
  message.offset = reader.number<std::uint64_t>();
  message.part = reader.blob();
  const bool fits =
      message.offset <= message.total_bytes && message.part.size() <= message.total_bytes - message.offset;
  if (!reader.at_end() || !fits) return std::nullopt;
  return message;
}

std::optional<SnapshotRecordsRequest> decode_records_request(ByteView bytes) {
  ByteReader reader(bytes);
  SnapshotRecordsRequest message;
  message.partition = PartitionId(reader.number<std::uint32_t>());
  message.offset = Offset(reader.number<std::int64_t>());
  if (!reader.at_end() || message.offset < Offset(0)) return std::nullopt;
  return message;
}

std::optional<SnapshotRecords> decode_records(ByteView bytes) {
  ByteReader reader(bytes);
  SnapshotRecords message;
  message.partition = PartitionId(reader.number<std::uint32_t>());
  message.offset = Offset(reader.number<std::int64_t>());
  const auto code = reader.number<std::uint8_t>();
  message.code = code == 0 ? Errc::ok : Errc::not_found;
  message.records = reader.blob();
  if (!reader.at_end() || code > 1) return std::nullopt;
  return message;
}

std::optional<SnapshotIdsRequest> decode_ids_request(ByteView bytes) {
  ByteReader reader(bytes);
  const SnapshotIdsRequest message = read_ids_request(reader);
  if (!reader.at_end() || message.position >= dedup::kGenerationEntriesMax) return std::nullopt;
  return message;
}

std::optional<SnapshotIds> decode_ids(ByteView bytes) {
  ByteReader reader(bytes);
  SnapshotIds message;
  message.asked = read_ids_request(reader);
  const auto code = reader.number<std::uint8_t>();
  message.code = code == 0 ? Errc::ok : Errc::not_found;
  message.entries = reader.blob();
  if (!reader.at_end() || code > 1 || message.entries.size() % dedup::kEntryBytes != 0) return std::nullopt;
  return message;
}

}  // namespace esc::replica
