// What partitions remember beside their records: idempotent producers and the beginnings of leader epochs;
// and the ids that this group hands out to producers.
#include <algorithm>

#include "checkpoint_format.h"
#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"
#include "partition_memory.h"
#include "producer_table.h"

namespace esc::replica {
namespace {

// Sections of a partition's memory in a checkpoint. Values are on disk: never renumber.
enum class Section : std::uint8_t { producers = 1, duplicates = 2, epochs = 3 };

constexpr std::uint32_t kProducerIdsPerBlock = 1000;
// An id is the group's number and a count: unique in the cluster without asking other groups.
constexpr std::uint32_t kProducerIdCountBits = 40;
constexpr std::uint64_t kProducerIdsMax = (std::uint64_t{1} << kProducerIdCountBits) - kProducerIdsPerBlock;
// More terms than that within what a topic retains are a sick cluster; the oldest are forgotten.
constexpr std::size_t kEpochsMax = 256;

template <class F>
void write_section(ByteWriter& writer, std::vector<std::byte>& out, Section kind, F&& body) {
  writer.number(static_cast<std::uint8_t>(kind));
  const std::size_t at = out.size();
  writer.number(std::uint32_t{0});
  body();
  store_le(out.data() + at, static_cast<std::uint32_t>(out.size() - at - sizeof(std::uint32_t)));
}

bool decode_epochs(ByteView bytes, std::vector<EpochStart>& epochs) {
  ByteReader reader(bytes);
  epochs.clear();
  const std::uint32_t count = reader.count(sizeof(std::int32_t) + sizeof(std::int64_t));
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto epoch = reader.number<std::int32_t>();
    const Offset start(reader.number<std::int64_t>());
    if (!epochs.empty() && (epoch <= epochs.back().epoch || start < epochs.back().start)) return false;
    epochs.push_back({epoch, start});
  }
  return reader.at_end();
}

void note_epoch(std::vector<EpochStart>& epochs, std::int32_t epoch, Offset base, Offset log_start) {
  if (!epochs.empty() && epoch <= epochs.back().epoch) return;
  // An epoch whose records are all deleted says nothing any more.
  while (epochs.size() > 1 && (epochs[1].start <= log_start || epochs.size() >= kEpochsMax))
    epochs.erase(epochs.begin());
  epochs.push_back({epoch, base});
}

}  // namespace

std::optional<ByteView> event_ids_section(ByteView memory) {
  ByteReader reader(memory);
  while (!reader.at_end()) {
    const auto kind = static_cast<Section>(reader.number<std::uint8_t>());
    const ByteView body = reader.blob();
    if (reader.failed()) return std::nullopt;
    if (kind == Section::duplicates) return body;
  }
  return std::nullopt;
}

// Errors: stale_epoch, out_of_order, busy (too many producers at once wait for their commit).
std::expected<Appended, Errc> Group::answer_duplicate(const ProducerBatch& batch) {
  const ProducerVerdict verdict = judge(pending_producers_->find(*producers_, batch.key), batch);
  if (verdict.code == Errc::already_exists) {
    ++stats_.duplicate_batches;
    const bool early = options_.replica_plant == Plant::duplicate_without_commit;
    return Appended{early ? commit_ : verdict.original->index, verdict.original->base_offset, true};
  }
  if (verdict.code != Errc::ok) {
    ++stats_.sequence_errors;
    return std::unexpected(verdict.code);
  }
  if (!pending_producers_->has_room(batch.key)) return std::unexpected(Errc::busy);
  return Appended{};
}

// A committed batch changes what its partition remembers, once, whether its records are in the files already
// or not.
void Group::remember(const EntryRecord& record) {
  Partition* const partition = find(record.partition_id);
  const auto batch = wire::BatchView::parse(ByteView(record.body, record.body_bytes));
  if (partition == nullptr || !batch || record.index <= partition->memory_through_) return;
  note_epoch(partition->epochs_, batch->leader_epoch(), Offset(batch->base_offset()),
             partition->log_start_offset());
  remember_ids(*partition, record, *batch);
  auto sequenced = producer_batch(partition->id(), batch->bytes());
  if (!sequenced) return;
  place(*sequenced, record);
  producers_->apply(*sequenced);
  pending_producers_->committed(sequenced->key, record.index);
}

void Group::forget_partition(PartitionId id) {
  producers_->forget(id);
  pending_producers_->forget(id);
}

// What was appended and is not committed: the next leader knows whether it happened.
void Group::drop_pending_producers() {
  pending_producers_->clear();
  producer_ids_next_ = producer_ids_end_ = 0;
  producer_ids_pending_ = Index(0);
}

std::uint32_t Group::producers() const {
  return producers_->size();
}

std::uint64_t Group::producers_evicted() const {
  return producers_->evicted();
}

std::expected<std::int64_t, Errc> Group::take_producer_id() {
  if (failed_) return std::unexpected(Errc::io_error);
  if (!leading_ || shutting_down_) return std::unexpected(Errc::not_leader);
  if (producer_ids_next_ < producer_ids_end_) {
    const std::uint64_t group = std::uint64_t{options_.id.value()} << kProducerIdCountBits;
    return static_cast<std::int64_t>(group | producer_ids_next_++);
  }
  if (producer_ids_pending_ == Index(0)) {
    if (producer_ids_ > kProducerIdsMax) return std::unexpected(Errc::out_of_range);
    std::array<std::byte, sizeof(std::uint64_t) + sizeof(std::uint32_t)> body;
    store_le(body.data(), producer_ids_);
    store_le(body.data() + sizeof(std::uint64_t), kProducerIdsPerBlock);
    const auto index = append_command(logfmt::EntryKind::producer_ids, PartitionId(0), body);
    if (!index) return std::unexpected(index.error());
    producer_ids_pending_ = *index;
  }
  return std::unexpected(Errc::busy);
}

// The block belongs to the leader that asked for it; with another leader the rest of it stays unused.
void Group::apply_producer_ids(Index index, ByteView body) {
  ByteReader reader(body);
  const auto first = reader.number<std::uint64_t>();
  const std::uint64_t end = first + reader.number<std::uint32_t>();
  ESC_ASSERT_MSG(reader.at_end(), "a committed producer_ids entry decodes");
  producer_ids_ = std::max(producer_ids_, end);
  if (index != producer_ids_pending_) return;
  producer_ids_pending_ = Index(0);
  producer_ids_next_ = first;
  producer_ids_end_ = end;
}

// A term without records so far begins where the records end.
Group::EpochEnd Group::end_of_epoch(const Partition& partition, std::int32_t epoch) const {
  const auto current = static_cast<std::int32_t>(core_->term().value());
  if (epoch < 0 || epoch > current) return {};
  if (epoch == current) return {epoch, partition.high_watermark_};
  const auto& epochs = partition.epochs_;
  const auto newer =
      std::upper_bound(epochs.begin(), epochs.end(), epoch,
                       [](std::int32_t asked, const EpochStart& at) { return asked < at.epoch; });
  const Offset end = newer == epochs.end() ? partition.high_watermark_ : newer->start;
  return {newer == epochs.begin() ? epoch : std::prev(newer)->epoch, end};
}

void Group::save_memory(const Partition& partition, CheckpointPartition& out) const {
  out.memory.clear();
  out.memory_through = std::max(commit_, partition.memory_through_);
  if (options_.replica_plant == Plant::producers_not_in_checkpoint) return;
  ByteWriter writer(out.memory);
  if (producers_->remembers(partition.id())) {
    write_section(writer, out.memory, Section::producers,
                  [&] { producers_->save(partition.id(), out.memory); });
  }
  const bool plant = options_.replica_plant == Plant::event_ids_not_in_checkpoint;
  if (partition.ids_ != nullptr && !partition.ids_->window.empty() && !plant) {
    write_section(writer, out.memory, Section::duplicates, [&] { partition.ids_->window.save(out.memory); });
  }
  if (!partition.epochs_.empty()) {
    write_section(writer, out.memory, Section::epochs, [&] {
      writer.number(static_cast<std::uint32_t>(partition.epochs_.size()));
      for (const EpochStart& at : partition.epochs_) {
        writer.number(at.epoch);
        writer.number(at.start.value());
      }
    });
  }
}

Status Group::load_memory(Partition& partition, const CheckpointPartition& record, const std::string& path) {
  const auto damaged = [&](const char* what) {
    return fail(Errc::unsupported, "checkpoint " + path + ": the " + what + " of partition " +
                                       std::to_string(partition.id().value()) +
                                       " cannot be read: it was written by another build; use that one");
  };
  partition.epochs_.clear();
  partition.ids_.reset();
  ByteReader reader(record.memory);
  while (!reader.at_end()) {
    const auto kind = static_cast<Section>(reader.number<std::uint8_t>());
    const ByteView body = reader.blob();
    if (reader.failed()) return damaged("memory");
    switch (kind) {
      case Section::producers:
        if (!producers_->load(partition.id(), body)) return damaged("list of producers");
        break;
      case Section::epochs:
        if (!decode_epochs(body, partition.epochs_)) return damaged("list of leader epochs");
        break;
      case Section::duplicates:
        partition.ids_ = std::make_unique<PartitionIds>();
        if (!partition.ids_->window.load(body)) return damaged("list of event ids");
        break;
      default: return damaged("memory of an unknown kind");
    }
  }
  partition.memory_through_ = record.memory_through;
  return {};
}

// Replaces what all partitions remember.
Status Group::load_memories(const Checkpoint& checkpoint, const std::string& path) {
  producers_->clear();
  for (const CheckpointPartition& record : checkpoint.partitions) {
    if (Status status = load_memory(*find(record.identity.id), record, path); !status) return status;
  }
  producers_->finish_load();
  return {};
}

}  // namespace esc::replica
