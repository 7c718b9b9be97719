// Event ids: what a leader drops before it appends, what every member remembers of what is committed, and
// the files that hold it.
#include <algorithm>
#include <cstring>

#include "deduper.h"
#include "esc/base/byte_codec.h"
#include "esc/dedup/id_block.h"
#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"
#include "producer_table.h"

namespace esc::replica {
namespace {

PartitionIds& ids_of(std::unique_ptr<PartitionIds>& slot) {
  if (slot == nullptr) slot = std::make_unique<PartitionIds>();
  return *slot;
}

// Body of a `sequence` entry.
void encode_sequence(const ProducerBatch& batch, ByteWriter& writer) {
  writer.number(batch.key.producer);
  writer.number(batch.epoch);
  writer.number(batch.batch.first_sequence);
  writer.number(batch.batch.last_sequence);
  writer.number(batch.batch.base_offset.value());
  writer.number(batch.batch.last_offset.value());
}

std::optional<ProducerBatch> decode_sequence(PartitionId partition, ByteView body) {
  ByteReader reader(body);
  ProducerBatch batch;
  batch.key = {partition, reader.number<std::int64_t>()};
  batch.epoch = reader.number<std::int16_t>();
  batch.batch.first_sequence = reader.number<std::int32_t>();
  batch.batch.last_sequence = reader.number<std::int32_t>();
  batch.batch.base_offset = Offset(reader.number<std::int64_t>());
  batch.batch.last_offset = Offset(reader.number<std::int64_t>());
  if (!reader.at_end()) return std::nullopt;
  return batch;
}

}  // namespace

std::expected<Sifted, Errc> Group::sift(Partition& partition, ByteView batch, const BatchIds& ids) {
  Sifted all;
  all.batch = batch;
  if (ids.ids.empty()) return all;
  ESC_ASSERT(ids.ids.size() == static_cast<std::size_t>(wire::BatchView::parse(batch)->record_count()));
  const auto sifted = deduper_->sift(partition, ids_of(partition.ids_), partition.next_offset_, batch, ids,
                                     env_.clock.wall_ms());
  if (sifted) {
    stats_.event_ids_looked_up += ids.ids.size();
    stats_.event_ids_seen_before += sifted->duplicates;
  }
  return sifted;
}

void Group::take_back_ids(Partition& partition, const BatchIds& ids) {
  if (!ids.ids.empty()) deduper_->take_back(*partition.ids_);
}

// Every record is a duplicate. An idempotent producer's sequence advances all the same, or its next batch
// would be out of order.
std::expected<Appended, Errc> Group::answer_dropped(Partition& partition, const Sifted& sifted,
                                                    const ProducerBatch* sequenced) {
  Appended answer{commit_, sifted.first_original, true, sifted.duplicates};
  const bool early = options_.replica_plant == Plant::event_id_without_commit;
  if (sifted.newest_original >= partition.high_watermark_ && !early)
    answer.index = ring_.entry(tail_entry(partition, sifted.newest_original)).index;
  if (sequenced == nullptr) return answer;
  ProducerBatch advanced = *sequenced;
  advanced.batch.base_offset = sifted.first_original;
  advanced.batch.last_offset = sifted.newest_original;
  std::vector<std::byte> body;
  ByteWriter writer(body);
  encode_sequence(advanced, writer);
  const auto index = append_command(logfmt::EntryKind::sequence, partition.id(), body);
  if (!index) return std::unexpected(index.error());
  advanced.batch.index = *index;
  advanced.batch.time = env_.clock.wall_ms();
  pending_producers_->add(*producers_, advanced);
  answer.index = *index;
  return answer;
}

// Puts the ids of what is left behind the batch in its entry.
void Group::write_ids(std::uint64_t sequence, std::size_t batch_bytes, std::uint32_t dropped,
                      const dedup::Limits& limits) {
  EntryRecord& record = ring_.entry(sequence);
  std::byte* const entry = const_cast<std::byte*>(record.body) - logfmt::kEntryHeaderBytes;
  logfmt::EntryHeader header;
  std::memcpy(&header, entry, sizeof header);
  dedup::IdBlock::write(ByteSpan(entry + logfmt::kEntryHeaderBytes, header.size), batch_bytes,
                        deduper_->kept(), limits);
  header.flags |= logfmt::kEntryHasIds;
  header.dropped = dropped;
  logfmt::store_entry_header(entry, header);
  record.body_bytes = static_cast<std::uint32_t>(batch_bytes);
  record.ids_bytes = header.size - record.body_bytes;
}

// The ids of a committed batch, on every member and on replay.
void Group::remember_ids(Partition& partition, const EntryRecord& record, const wire::BatchView& batch) {
  logfmt::EntryHeader header;
  std::memcpy(&header, record.body - logfmt::kEntryHeaderBytes, sizeof header);
  if ((header.flags & logfmt::kEntryHasIds) == 0) return;
  const auto block = dedup::IdBlock::read(ByteView(record.body, header.size), batch.size(),
                                          static_cast<std::size_t>(batch.record_count()));
  if (!block) {
    enter_failed("entry " + std::to_string(record.index.value()) + " of group " +
                 std::to_string(options_.id.value()) +
                 " says that it holds event ids, but does not: it was written by an incompatible build");
    return;
  }
  PartitionIds& ids = ids_of(partition.ids_);
  const bool plant = options_.replica_plant == Plant::event_ids_by_local_clock;
  ids.window.begin(plant ? env_.clock.wall_ms() : header.timestamp_ms, block->limits());
  for (std::size_t i = 0; i < block->size(); ++i) ids.window.prefetch_for_insert(block->id(i));
  for (std::size_t i = 0; i < block->size(); ++i) {
    const dedup::Id id = block->id(i);
    if (id.none()) continue;
    ids.window.insert(id, Offset(batch.base_offset() + static_cast<std::int64_t>(i)));
    ids.pending.erase(id);
  }
}

void Group::remember_sequence(const EntryRecord& record) {
  const Partition* const partition = find(record.partition_id);
  if (partition == nullptr || record.index <= partition->memory_through_) return;
  auto batch = decode_sequence(partition->id(), ByteView(record.body, record.body_bytes));
  ESC_ASSERT_MSG(batch.has_value(), "a committed sequence entry decodes");
  logfmt::EntryHeader header;
  std::memcpy(&header, record.body - logfmt::kEntryHeaderBytes, sizeof header);
  batch->batch.time = header.timestamp_ms;
  batch->batch.index = record.index;
  producers_->apply(*batch);
  pending_producers_->committed(batch->key, record.index);
}

void Group::drop_pending_ids() {
  for (Partition* partition : partition_list_) {
    if (partition->ids_ != nullptr) partition->ids_->pending.clear();
  }
}

// What the files lack of the state that a checkpoint is about to save, and the files that it will not name.
std::vector<ForgottenIds> Group::collect_ids() {
  std::vector<ForgottenIds> forgotten;
  for (Partition* partition : partition_list_) {
    if (partition->ids_ == nullptr) continue;
    dedup::Window& window = partition->ids_->window;
    for (auto& part : window.take_unflushed()) deduper_->files().add(partition->id(), std::move(part));
    for (const std::uint64_t generation : window.take_forgotten())
      forgotten.push_back({partition->id(), generation});
  }
  return forgotten;
}

void Group::drop_flushed_ids() {
  for (Partition* partition : partition_list_) {
    if (partition->ids_ != nullptr) partition->ids_->window.drop_flushed();
  }
}

void Group::bury_ids(Partition& partition) {
  if (partition.ids_ == nullptr) return;
  partition.ids_->window.clear();
  for (const std::uint64_t generation : partition.ids_->window.take_forgotten())
    deduper_->files().remove(partition.id(), generation);
}

// Fills the windows that a checkpoint has described, and removes what it does not name.
Status Group::load_id_files() {
  const IdFiles& files = deduper_->files();
  if (Status status = env_.files.make_directories(files.directory()); !status) return status;
  std::vector<std::string> names;
  for (Partition* partition : partition_list_) {
    if (partition->ids_ == nullptr) continue;
    for (const dedup::Window::File& file : partition->ids_->window.files())
      names.push_back(IdFiles::name(partition->id(), file.generation));
    if (Status status = files.load(env_.files, partition->id(), partition->ids_->window); !status)
      return status;
  }
  std::sort(names.begin(), names.end());
  return files.remove_strangers(env_.files, [&](const std::string& name) {
    return std::binary_search(names.begin(), names.end(), name);
  });
}

EventIdStats Group::event_id_stats() const {
  EventIdStats stats;
  for (const Partition* partition : partition_list_) {
    if (partition->ids_ == nullptr) continue;
    const dedup::Window& window = partition->ids_->window;
    stats.ids += window.ids();
    stats.memory_bytes += window.memory_bytes();
    stats.expired += window.expired();
    stats.evicted += window.evicted();
  }
  stats.file_reads = deduper_->files().blocks_read();
  return stats;
}

}  // namespace esc::replica
