#include "snapshot_fetch.h"

#include <algorithm>
#include <cstring>

#include "checkpointer.h"
#include "compactor.h"
#include "deduper.h"
#include "esc/wire/record_batch.h"
#include "partition_memory.h"
#include "peer_sender.h"
#include "repair.h"

namespace esc::replica {
namespace {

constexpr Nanos kAskAgainAfter = 500 * kMillisecond;
constexpr Nanos kTryAgainAfter = 5 * kMillisecond;
constexpr Nanos kNoCheckpointYet = 200 * kMillisecond;

}  // namespace

SnapshotFetch::SnapshotFetch(Group& group, const raft::SnapshotRequest& request)
    : group_(group), wanted_(request), started_(group.now_) {
  group_.log_.info("snapshot_fetch",
                   {{"group", group_.options_.id}, {"from", request.from}, {"index", request.index}});
}

Nanos SnapshotFetch::duration() const {
  return group_.now_ - started_;
}

// One request at a time; what is not answered is asked again, of whoever leads by then.
void SnapshotFetch::request(std::uint16_t kind) {
  not_before_ = group_.now_ + kTryAgainAfter;  // when nobody leads, or the line is busy
  PeerSender* const sender = group_.sender(group_.core_->leader());
  if (sender == nullptr) return;
  std::vector<std::byte> payload;
  ByteWriter writer(payload);
  if (kind == kSnapshotStateRequest) {
    encode(SnapshotStateRequest{state_.size()}, writer);
  } else if (kind == kSnapshotIdsRequest) {
    const IdFile& next = id_files_.back();
    encode(SnapshotIdsRequest{next.partition, next.file.generation, id_position_}, writer);
  } else {
    const CheckpointPartition& record = checkpoint_.partitions[cursor_];
    encode(SnapshotRecordsRequest{record.identity.id, group_.find(record.identity.id)->log().next_offset()},
           writer);
  }
  if (!sender->queue_service({kind, tag_ + 1}, payload)) return;
  ++tag_;
  waiting_ = true;
  asked_at_ = group_.now_;
}

std::uint32_t SnapshotFetch::do_work(Nanos now) {
  if (waiting_ && now - asked_at_ > kAskAgainAfter) waiting_ = false;
  switch (phase_) {
    case Phase::state:
      if (waiting_ || now < not_before_) return 0;
      request(kSnapshotStateRequest);
      return 1;
    case Phase::draining:
      if (!group_.all_applied() || !group_.checkpointer_->idle() || group_.resetting_ ||
          group_.repair_->reading() || !files_are_idle())
        return 0;
      // Meanwhile the log may have come after all, from who leads now.
      if (checkpoint_.applied <= group_.commit_) {
        give_up("the log here has caught up with its checkpoint");
      } else {
        begin_records();
      }
      return 1;
    case Phase::records:
      if (waiting_ || appending_ || now < not_before_) return 0;
      if (records_used_ < records_.size()) {
        append_some();
      } else if (next_partition()) {
        request(kSnapshotRecordsRequest);
      } else {
        begin_ids();
      }
      return 1;
    case Phase::ids:
      if (waiting_ || writing_ids_ || now < not_before_) return 0;
      if (id_files_.empty()) {
        finish_records();
      } else {
        request(kSnapshotIdsRequest);
      }
      return 1;
    case Phase::checkpoint:
    case Phase::ended: return 0;
  }
  ESC_UNREACHABLE("phase");
}

Nanos SnapshotFetch::next_deadline() const {
  if (waiting_) return asked_at_ + kAskAgainAfter + 1;
  const bool paced = phase_ == Phase::state || phase_ == Phase::records || phase_ == Phase::ids;
  const bool writing = appending_ || writing_ids_;
  return paced && !writing ? not_before_ : kNever;
}

void SnapshotFetch::on_state(ByteView payload, std::uint64_t tag) {
  const auto message = decode_state(payload);
  if (phase_ != Phase::state || !waiting_ || tag != tag_ || !message || message->offset != state_.size())
    return;
  waiting_ = false;
  if (message->total_bytes == 0) {
    not_before_ = group_.now_ + kNoCheckpointYet;
    return;
  }
  if (message->total_bytes > kCheckpointBytesMax) return give_up("its checkpoint is too large");
  state_.insert(state_.end(), message->part.begin(), message->part.end());
  if (state_.size() < message->total_bytes) return;
  auto decoded = decode_checkpoint(state_, "of the leader");
  if (!decoded) {  // parts of two files
    state_.clear();
    return give_up("its checkpoint does not decode");
  }
  checkpoint_ = std::move(*decoded);
  state_ = {};
  if (checkpoint_.group != group_.options_.id) return give_up("its checkpoint is of another group");
  if (checkpoint_.applied < wanted_.index || checkpoint_.applied <= group_.commit_)
    return give_up("its checkpoint is older than the log here");
  phase_ = Phase::draining;
}

// Brings the set of partitions in line. Those that the leader's log no longer reaches back to begin anew.
void SnapshotFetch::begin_records() {
  phase_ = Phase::records;
  group_.forget_tail();
  std::vector<PartitionId> gone;
  for (const Partition* partition : group_.partition_list_) {
    const auto named = [&](const CheckpointPartition& record) {
      return record.identity.id == partition->id();
    };
    if (std::none_of(checkpoint_.partitions.begin(), checkpoint_.partitions.end(), named))
      gone.push_back(partition->id());
  }
  for (const PartitionId id : gone) group_.apply_partition_delete(id, checkpoint_.applied);
  for (const CheckpointPartition& record : checkpoint_.partitions) {
    if (group_.find(record.identity.id) == nullptr) group_.create_from(record.identity);
    store::PartitionLog& log = group_.find(record.identity.id)->log();
    const Offset first =
        record.state.segments.empty() ? record.state.next_offset : record.state.segments.front().base_offset;
    if (log.next_offset() < first) {
      log.skip_to(first);
    } else if (log.next_offset() > first && log.next_offset() < record.state.compacted_until) {
      // What the leader's compaction has removed, tombstones too, may be what deletes something here: a log
      // that ends within the compacted part is fetched from the beginning.
      log.start_over(first);
    }
  }
}

bool SnapshotFetch::files_are_idle() const {
  return group_.compactor_->idle() && std::ranges::all_of(group_.partition_list_, [](Partition* partition) {
           return partition->log().idle();
         });
}

// Moves the cursor to a partition that lacks records.
bool SnapshotFetch::next_partition() {
  for (; cursor_ < checkpoint_.partitions.size(); ++cursor_) {
    const CheckpointPartition& record = checkpoint_.partitions[cursor_];
    if (group_.find(record.identity.id)->log().next_offset() < record.state.next_offset) return true;
  }
  return false;
}

void SnapshotFetch::on_records(ByteView payload, std::uint64_t tag) {
  if (phase_ != Phase::records || !waiting_ || tag != tag_) return;
  const auto message = decode_records(payload);
  const CheckpointPartition& record = checkpoint_.partitions[cursor_];
  if (!message || message->partition != record.identity.id ||
      message->offset != group_.find(record.identity.id)->log().next_offset())
    return;
  waiting_ = false;
  if (message->code != Errc::ok) return give_up("it no longer has what its checkpoint named");
  records_.assign(message->records.begin(), message->records.end());
  records_used_ = 0;
  bytes_fetched_ += records_.size();
  // Never more than this beside the traffic of clients.
  not_before_ = group_.now_ + static_cast<Nanos>(records_.size() * static_cast<std::uint64_t>(kSecond) /
                                                 group_.options_.recovery_bytes_per_second);
}

// The next run of batches; they were checked when they were produced, here only their frame and order.
void SnapshotFetch::append_some() {
  const CheckpointPartition& record = checkpoint_.partitions[cursor_];
  store::PartitionLog& log = group_.find(record.identity.id)->log();
  batches_.clear();
  Offset next = log.next_offset();
  while (records_used_ < records_.size() && batches_.size() < store::kAppendBatchesMax) {
    const ByteView rest = ByteView(records_).subspan(records_used_);
    const auto batch = wire::BatchView::parse(rest);
    if (!batch || Offset(batch->base_offset()) != next || !batch->crc_valid()) {
      records_.clear();
      return give_up("it sent records that do not follow ours, or are damaged");
    }
    if (next >= record.state.next_offset) {
      records_used_ = records_.size();  // newer than the snapshot
      break;
    }
    batches_.push_back({batch->bytes(), next, Offset(batch->last_offset()), batch->max_timestamp()});
    next = Offset(batch->last_offset()).next();
    records_used_ += batch->bytes().size();
  }
  if (batches_.empty()) return;
  append_ = {};
  append_.batches = batches_;
  append_.context = this;
  append_.done = [](store::AppendOp& op, Errc code) {
    static_cast<SnapshotFetch*>(op.context)->on_appended(code);
  };
  appending_ = true;
  log.append(append_);
}

void SnapshotFetch::on_appended(Errc code) {
  appending_ = false;
  if (code == Errc::ok) return;
  records_.clear();
  records_used_ = 0;
  if (code == Errc::no_space) return give_up("the disk here is full");
  group_.enter_failed("writing segments of a snapshot in " + group_.options_.data_directory + " failed (" +
                      std::string(to_string(code)) + "); check the device, then restart");
}

// The leader's windows replace ours: what its checkpoint says about event ids, and the files it names.
void SnapshotFetch::begin_ids() {
  phase_ = Phase::ids;
  for (const CheckpointPartition& record : checkpoint_.partitions) {
    const auto section = event_ids_section(record.memory);
    if (!section) continue;
    auto ids = std::make_unique<PartitionIds>();
    if (!ids->window.load(*section)) return give_up("its list of event ids does not decode");
    for (const dedup::Window::File& file : ids->window.files())
      id_files_.push_back({record.identity.id, file});
    windows_[record.identity.id] = std::move(ids);
  }
}

void SnapshotFetch::on_ids(ByteView payload, std::uint64_t tag) {
  if (phase_ != Phase::ids || !waiting_ || tag != tag_) return;
  const auto message = decode_ids(payload);
  const IdFile& next = id_files_.back();
  if (!message || message->asked.partition != next.partition ||
      message->asked.generation != next.file.generation || message->asked.position != id_position_)
    return;
  waiting_ = false;
  if (message->code != Errc::ok || message->entries.empty())
    return give_up("it no longer has the event ids that its checkpoint named");
  const std::size_t wanted = std::size_t{next.file.entries - id_position_} * dedup::kEntryBytes;
  const ByteView entries = message->entries.first(std::min(wanted, message->entries.size()));
  windows_.at(next.partition)->window.load_entries(next.file.generation, entries);
  IdFiles& files = group_.deduper_->files();
  keep_ids(next, entries);
  id_position_ += static_cast<std::uint32_t>(entries.size() / dedup::kEntryBytes);
  bytes_fetched_ += entries.size();
  not_before_ = group_.now_ + static_cast<Nanos>(entries.size() * static_cast<std::uint64_t>(kSecond) /
                                                 group_.options_.recovery_bytes_per_second);
  if (id_position_ == next.file.entries) {
    const bool whole = windows_.at(next.partition)->window.finish_loading(next.file.generation);
    id_files_.pop_back();
    id_position_ = 0;
    if (!whole) return give_up("its event ids are not those that its checkpoint named");
  }
  writing_ids_ = true;
  files.write([](void* context, Errc code) { static_cast<SnapshotFetch*>(context)->on_ids_written(code); },
              this);
}

// The message is gone when they are written.
void SnapshotFetch::keep_ids(const IdFile& file, ByteView entries) {
  constexpr std::size_t kChunkBytes = dedup::EntryChunk::kEntries * dedup::kEntryBytes;
  std::uint64_t file_offset = std::uint64_t{id_position_} * dedup::kEntryBytes;
  while (!entries.empty()) {
    const ByteView some = entries.first(std::min(kChunkBytes, entries.size()));
    auto chunk = std::make_shared_for_overwrite<dedup::EntryChunk>();
    std::memcpy(&(*chunk)[0], some.data(), some.size());
    const ByteView kept = chunk->bytes(0, static_cast<std::uint32_t>(some.size() / dedup::kEntryBytes));
    group_.deduper_->files().add(file.partition, {.generation = file.file.generation,
                                                  .file_offset = file_offset,
                                                  .chunk = std::move(chunk),
                                                  .bytes = kept});
    file_offset += some.size();
    entries = entries.subspan(some.size());
  }
}

void SnapshotFetch::on_ids_written(Errc code) {
  writing_ids_ = false;
  if (code == Errc::ok) return;
  if (code == Errc::no_space) return give_up("the disk here is full");
  group_.enter_failed("writing event ids of a snapshot in " + group_.options_.data_directory + " failed (" +
                      std::string(to_string(code)) + "); check the device, then restart");
}

std::vector<ForgottenIds> SnapshotFetch::live_ids() const {
  std::vector<ForgottenIds> live;
  for (const Partition* partition : group_.partition_list_) {
    if (partition->ids_ == nullptr) continue;
    for (const std::uint64_t generation : partition->ids_->window.live())
      live.push_back({partition->id(), generation});
  }
  return live;
}

// All records are in the files: their state is what the checkpoint says, and becomes ours.
void SnapshotFetch::finish_records() {
  phase_ = Phase::checkpoint;
  if (Status status = group_.listener_.load_metadata(group_.options_.id, checkpoint_.metadata); !status)
    return give_up("its metadata does not decode");
  for (const CheckpointPartition& record : checkpoint_.partitions) {
    Partition& partition = *group_.find(record.identity.id);
    partition.log().keep_new();
    group_.adopt_offsets(partition, record.state.log_start_offset);
    group_.adopt_rolling(partition, partition.high_watermark(), record.identity.rolling());
  }
  const std::vector<ForgottenIds> before = live_ids();
  if (Status status = group_.load_memories(checkpoint_, "of the leader"); !status)
    return group_.enter_failed(status.error().message);
  for (auto& [partition, ids] : windows_) group_.find(partition)->ids_ = std::move(ids);
  const std::vector<ForgottenIds> after = live_ids();
  for (const ForgottenIds& ids : before) {
    if (std::find(after.begin(), after.end(), ids) == after.end()) group_.checkpointer_->forget(ids);
  }
  group_.producer_ids_ = std::max(group_.producer_ids_, checkpoint_.producer_ids);
  group_.partition_max_ = std::max(group_.partition_max_, checkpoint_.partition_max);
  group_.checkpointer_->install(checkpoint_.applied, checkpoint_.applied_term, checkpoint_.configuration);
}

// The leader asks again after some heartbeats, or feeds us from its log. What has come so far is committed
// and stays: the log must know that the files have it.
void SnapshotFetch::give_up(std::string_view why) {
  for (const CheckpointPartition& record : checkpoint_.partitions) {
    Partition* const partition = holds_state() ? group_.find(record.identity.id) : nullptr;
    if (partition == nullptr) continue;
    partition->log().return_to_old();
    group_.adopt_offsets(*partition, record.state.log_start_offset);
  }
  group_.log_.warn("snapshot_given_up",
                   {{"group", group_.options_.id}, {"from", wanted_.from}, {"why", why}});
  phase_ = Phase::ended;
}

}  // namespace esc::replica
