// Recovery: the checkpoint, then every later frame of the WAL through the same ring and state machine that
// the live path uses.
#include <algorithm>
#include <charconv>

#include "admission.h"
#include "apply_op.h"
#include "checkpoint_format.h"
#include "checkpointer.h"
#include "esc/replica/forced_seat.h"
#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"
#include "incarnation_file.h"
#include "membership.h"
#include "quarantine.h"
#include "repair.h"

namespace esc::replica {

struct Group::Replay {
  const std::function<void()>& pump;
  Index checkpointed;
  std::vector<raft::TermRun> runs;
  std::vector<raft::ConfigurationEntry> configurations;
  Index last_index;
  std::uint64_t entries = 0;
};

Result<std::unique_ptr<Group>> Group::open(io::Env env, obs::LogSource log, const GroupOptions& options,
                                           GroupListener& listener, const std::function<void()>& pump) {
  if (Status status = put_aside_damaged(env.files, log, options); !status)
    return std::unexpected(std::move(status.error()));
  std::unique_ptr<Group> group(new Group(env, log, options, listener));
  Status status = group->recover(pump);
  // Who is to go on without the others has nobody to learn from.
  if (!status && status.error().code == Errc::corruption && options.members.voters.size() > 2 &&
      !seat_is_wanted(env.files, options.data_directory)) {
    // Peers have what is damaged here. What has been replayed so far has gone up to the floors above: they
    // begin anew, too, and then nothing of it is left.
    if (Status marked = mark_damaged(env.files, options.data_directory, status.error().message); !marked) {
      status.error().message += "; and marking it failed: " + marked.error().message;
    } else {
      listener.on_damaged(options.id, status.error().message);
    }
  }
  if (!status) return std::unexpected(std::move(status.error()));
  return group;
}

// What was found damaged before the process began anew.
Status Group::put_aside_damaged(io::Files& files, obs::LogSource log, const GroupOptions& options) {
  auto moved = put_aside_if_marked(files, options.data_directory, options.wal.directory);
  if (!moved) return std::unexpected(std::move(moved.error()));
  if (!*moved) return {};
  if (options.replica_plant == Plant::damage_keeps_incarnation) {
    if (auto kept = io::read_whole_file(files, (*moved)->data + "/incarnation", kIncarnationFileBytesMax)) {
      static_cast<void>(files.make_directories(options.data_directory));
      static_cast<void>(io::write_file_atomically(files, options.data_directory + "/incarnation", *kept));
    }
  }
  log.warn("group_put_aside",
           {{"group", options.id},
            {"cause", std::string_view((*moved)->cause)},
            {"moved_to", std::string_view((*moved)->data)},
            {"log_moved_to", std::string_view((*moved)->wal)},
            {"next",
             "the group begins blank here; its leader takes this node in as a learner, sends it "
             "everything, and makes it a voter again"},
            {"fix",
             "check the disk (SMART, dmesg); remove what was put aside when esctl cluster status is "
             "healthy again"}});
  return {};
}

Status Group::load_checkpoint(Checkpoint& checkpoint) {
  const std::string path = Checkpointer::path(options_);
  auto exists = env_.files.exists(path);
  if (!exists) return std::unexpected(std::move(exists.error()));
  if (!*exists) return load_id_files();
  auto bytes = io::read_whole_file(env_.files, path, kCheckpointBytesMax);
  if (!bytes) return std::unexpected(std::move(bytes.error()));
  auto decoded = decode_checkpoint(*bytes, path);
  if (!decoded) return std::unexpected(std::move(decoded.error()));
  checkpoint = std::move(*decoded);
  if (checkpoint.group != options_.id) {
    return fail(Errc::invalid_argument, "checkpoint " + path + " belongs to group " +
                                            std::to_string(checkpoint.group.value()) +
                                            ": directories were mixed up");
  }
  partition_max_ = checkpointed_partition_max_ = checkpoint.partition_max;
  if (Status status = listener_.load_metadata(options_.id, checkpoint.metadata); !status)
    return fail(Errc::unsupported, std::move(status.error().message));  // the checksum is right
  for (const CheckpointPartition& record : checkpoint.partitions) {
    auto partition_log =
        store::PartitionLog::open(env_.files, env_.disk, partition_directory(record.identity),
                                  store_options(record.identity), record.state);
    if (!partition_log) return std::unexpected(std::move(partition_log.error()));
    adopt_partition(std::make_unique<Partition>(record.identity, std::move(*partition_log)));
  }
  producer_ids_ = checkpoint.producer_ids;
  if (Status status = load_memories(checkpoint, path); !status) return status;
  return load_id_files();
}

// Whether the WAL reaches as far as the checkpoint.
Status Group::check_belongs_together(const wal::RecoveryReport& report, const Checkpoint& checkpoint) const {
  if (report.created && checkpoint.applied > Index(0)) {
    return fail(Errc::invalid_argument,
                "the write-ahead log in " + options_.wal.directory +
                    " is gone, but the checkpoint beside the segments covers index " +
                    std::to_string(checkpoint.applied.value()) +
                    ": events acknowledged after it would be lost; put the log directory back (key wal_dir)");
  }
  if (report.last_index != Index(0) && report.last_index < checkpoint.applied) {
    return fail(Errc::corruption, "the write-ahead log in " + options_.wal.directory + " ends at index " +
                                      std::to_string(report.last_index.value()) +
                                      " but the checkpoint covers " +
                                      std::to_string(checkpoint.applied.value()) +
                                      ": the log directory is older than the data directory");
  }
  return {};
}

void Group::restore_core(const wal::RecoveryReport& report, const Checkpoint& checkpoint,
                         const Replay& replay) {
  raft::Restored restored;
  restored.hard_state = {report.hard_state.term, report.hard_state.voted_for};
  if (checkpoint.applied_term > restored.hard_state.term)
    restored.hard_state = {checkpoint.applied_term, NodeId(0)};
  restored.snapshot_index = checkpoint.applied;
  restored.snapshot_term = checkpoint.applied_term;
  restored.runs = replay.runs;
  restored.last_index = replay.last_index;
  restored.commit = commit_;
  restored.applied = commit_;
  restored.configuration =
      checkpoint.configuration.voters.empty() ? initial_members() : checkpoint.configuration;
  std::span<const raft::ConfigurationEntry> configurations = replay.configurations;
  if (const Seat seat = membership_ != nullptr ? membership_->seat() : Seat();
      seat.state == Seat::State::taken) {
    // Members that the log named before count no more.
    while (!configurations.empty() && configurations.front().index <= seat.through)
      configurations = configurations.subspan(1);
    if (checkpoint.applied <= seat.through) restored.configuration = membership_->base();
    if (restored.hard_state.term < seat.term) restored.hard_state = {seat.term, NodeId(0)};
  }
  restored.configurations = configurations;
  make_core(restored);
}

void Group::make_core(const raft::Restored& restored) {
  core_ = std::make_unique<raft::Core>(raft::Config{.node = options_.node,
                                                    .seed = options_.seed,
                                                    .timeouts = options_.timeouts,
                                                    .plant = options_.plant},
                                       restored);
}

Status Group::recover(const std::function<void()>& pump) {
  now_ = env_.clock.now();
  const Nanos started = now_;
  if (Status status = env_.files.make_directories(options_.data_directory + "/partitions"); !status)
    return status;
  // A kill between the checkpoint's rename and its directory sync leaves a checkpoint that we see and a power
  // cut takes back: make it durable before the WAL is recycled on its word.
  if (Status status = env_.files.sync_directory(options_.data_directory); !status) return status;
  Checkpoint checkpoint;
  if (Status status = load_checkpoint(checkpoint); !status) return status;

  replaying_ = true;
  commit_ = checkpoint.applied;
  Replay replay{pump, checkpoint.applied, {}, {}, checkpoint.applied, 0};
  wal::RecoveryReport report;
  auto opened = wal::Log::open(
      env_.files, env_.disk, env_.clock, options_.wal, checkpoint.applied,
      [&](const wal::RecoveredFrame& frame) { return replay_frame(frame, replay); }, report);
  if (!opened) return std::unexpected(std::move(opened.error()));
  wal_ = std::move(*opened);
  if (report.torn_tail) {
    log_.warn("wal_torn_tail", {{"group", options_.id},
                                {"detail", report.torn_detail},
                                {"effect", "an unfinished write that was never acknowledged is ignored"}});
  }
  if (!report.warning.empty()) log_.warn("wal_warning", {{"group", options_.id}, {"detail", report.warning}});
  // A crash came between a snapshot's checkpoint and the reset of the log that it replaces, unless the log
  // has the snapshot's last entry or goes on right behind it.
  const bool continues = report.reset_index >= checkpoint.applied ||
                         report.after_term == checkpoint.applied_term ||
                         report.first_index == checkpoint.applied.next();
  if (checkpoint.installed && !continues) {
    discard_replayed(replay);
    wal_->discard_from(checkpoint.applied.next());
    resetting_ = true;
    wal_->reset(checkpoint.applied, checkpoint.applied_term, &Group::on_reset_saved, this);
  } else if (Status status = check_belongs_together(report, checkpoint); !status) {
    return status;
  }
  // Known to be committed when it was written; the rest waits for the leader's word (a sole voter's own
  // no-op).
  const bool all = options_.replica_plant == Plant::replay_applies_uncommitted;
  const Index committed = all ? replay.last_index : std::min(report.commit, replay.last_index);
  if (Status status = commit_replayed(committed); !status) return status;
  if (Status status = open_membership(report, checkpoint, replay); !status) return status;
  restore_core(report, checkpoint, replay);
  reclaim(ring_.frame_bytes_max());
  while (votes_alone() && !has_room_to_lead()) {
    if (Status status = make_room(pump); !status) return status;
  }
  remove_unclaimed_files();
  replaying_ = false;
  wal_->release_through(checkpoint.applied);
  checkpointer_->recovered(checkpoint.applied, env_.clock.now());
  open_links();
  // Before the first tick, which may begin a term.
  if (links_ != nullptr) judge_fitness(env_.clock.now());
  log_.info("group_recovered", {{"group", options_.id},
                                {"checkpoint", checkpoint.applied},
                                {"last_index", replay.last_index},
                                {"commit", commit_},
                                {"entries_replayed", replay.entries},
                                {"partitions", partition_list_.size()},
                                {"milliseconds", (env_.clock.now() - started) / kMillisecond}});
  return {};
}

Status Group::replay_frame(const wal::RecoveredFrame& frame, Replay& replay) {
  if (frame.kind == wal::RecoveredFrame::Kind::reset) {
    discard_replayed(replay);
    replay.last_index = std::max(replay.checkpointed, frame.last_index);
    return {};
  }
  if (frame.first_index > replay.last_index.next()) {
    return fail(Errc::corruption, "the write-ahead log in " + options_.wal.directory + " has a gap: index " +
                                      std::to_string(replay.last_index.value()) + " is followed by " +
                                      std::to_string(frame.first_index.value()) +
                                      "; a segment file is missing: restore it, nothing was changed");
  }
  if (frame.first_index <= replay.last_index) truncate_replayed(frame.first_index, replay);
  logfmt::EntryReader reader(frame.payload);
  while (const auto entry = reader.next()) {
    const Index index(entry->header.index);
    if (index <= replay.checkpointed) continue;
    if (replay.runs.empty() || replay.runs.back().term != frame.term)
      replay.runs.push_back({index, frame.term});
    if (Status status = replay_entry(*entry, frame.term, replay); !status) return status;
    replay.last_index = index;
    ++replay.entries;
  }
  if (reader.malformed()) {
    return fail(Errc::unsupported, "frame " + std::to_string(frame.lsn.value()) + " in " +
                                       options_.wal.directory +
                                       " has a valid checksum but malformed entries: it was written by an "
                                       "incompatible build");
  }
  finish_replayed_frame();
  return commit_replayed(std::min(frame.commit, replay.last_index));
}

// A later leader has replaced what follows; none of it was committed.
void Group::truncate_replayed(Index from, Replay& replay) {
  from = std::max(from, replay.checkpointed.next());
  ring_.truncate(from);
  while (!replay.runs.empty() && replay.runs.back().start >= from) replay.runs.pop_back();
  while (!replay.configurations.empty() && replay.configurations.back().index >= from)
    replay.configurations.pop_back();
  replay.last_index = from.prev();
}

// A snapshot has replaced the log.
void Group::discard_replayed(Replay& replay) {
  ring_.truncate(commit_.next());
  replay.runs.clear();
  replay.configurations.clear();
  replay.last_index = replay.checkpointed;
}

// The copied frame is durable already.
void Group::finish_replayed_frame() {
  if (!ring_.has_open()) return;
  ring_.seal();
  Frame* frame = ring_.next_queued();
  ring_.mark_writing(*frame);
  frame->state = FrameState::durable;
}

Status Group::commit_replayed(Index index) {
  if (index > commit_) advance_commit(index);
  if (failed_) return fail(Errc::io_error, "replaying the write-ahead log failed, see the line before");
  return {};
}

bool Group::is_here(PartitionId id) const {
  const auto same = [id](const auto& partition) { return partition->id() == id; };
  return find(id) != nullptr || std::ranges::any_of(graveyard_, same);
}

// Who ended between the checkpoint that no longer names a deleted partition and the removal of its files, or
// lost their removal with the power, still has them. And whose log has lost its end may have files of
// partitions that it learns to create again, with segments that end elsewhere, or parts of a snapshot. What
// cannot be removed costs space only, until the next start.
void Group::remove_unclaimed_files() {
  const std::string parent = options_.data_directory + "/partitions";
  const auto directories = env_.files.list(parent);
  if (!directories) return;
  for (const io::DirectoryEntry& directory : *directories) {
    std::uint32_t id = 0;  // names begin with it
    const std::string& name = directory.name;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), id);
    if (error != std::errc() || !directory.is_directory || is_here(PartitionId(id))) continue;
    const auto left = env_.files.list(parent + "/" + name);
    if (!left) continue;
    for (const io::DirectoryEntry& file : *left)
      if (!file.is_directory) static_cast<void>(env_.files.remove(parent + "/" + name + "/" + file.name));
  }
}

// Whose data these are.
Status Group::open_membership(const wal::RecoveryReport& report, const Checkpoint& checkpoint,
                              const Replay& replay) {
  if (options_.peers.empty()) return check_never_member();
  membership_ = std::make_unique<Membership>(*this);
  admission_ = std::make_unique<Admission>(*this);
  repair_ = std::make_unique<Repair>(*this);
  const bool blank = checkpoint.applied == Index(0) && report.last_index == Index(0) &&
                     report.reset_index == Index(0) && report.hard_state == wal::HardState{};
  const auto put_aside = count_put_aside(env_.files, options_.data_directory);
  if (!put_aside) return std::unexpected(put_aside.error());
  stats_.put_aside = *put_aside;
  return membership_->open(
      {.blank = blank,
       .log_created = report.created,
       .put_aside = *put_aside > 0,
       .anonymous = replay.configurations.empty() && checkpoint.configuration.incarnations.empty(),
       .last_index = replay.last_index,
       .term = std::max(report.hard_state.term, checkpoint.applied_term)});
}

// A member that forgets the others would be a majority of its own.
Status Group::check_never_member() const {
  const auto exists = env_.files.exists(options_.data_directory + "/incarnation");
  if (!exists) return std::unexpected(exists.error());
  if (!*exists) return {};
  return fail(
      Errc::invalid_argument,
      options_.data_directory +
          " belongs to a member of a cluster, but cluster.nodes lists this node only: list the others, "
          "too; when they are lost for good see --force-sole-voter in escd(8)");
}

// Nobody else can make room here by a word on what is committed: room for the first entry of a term is made
// now. Others wait for it as they run, since they may have given their last room to another's first entry.
bool Group::votes_alone() const {
  const raft::Configuration& members = core_->configurations().in_force_at(commit_);
  return members.voters.size() == 1 && members.voters[0] == options_.node;
}

// Before the first entry. A member that came later learns from the log or a snapshot who the others are.
raft::Configuration Group::initial_members() const {
  if (membership_ != nullptr && options_.replica_plant != Plant::blank_disk_is_member)
    return membership_->base();
  if (!options_.members.voters.empty()) return options_.members;
  raft::Configuration alone;
  alone.voters.push_back(options_.node);
  return alone;
}

// Lets segment writes finish and drops what they have applied.
Status Group::make_room(const std::function<void()>& pump) {
  if (failed_) return fail(Errc::io_error, "replaying the write-ahead log failed, see the line before");
  if (no_space_) {
    return fail(Errc::no_space, "the disk of " + options_.data_directory +
                                    " is full and the write-ahead log cannot be replayed into segments: free "
                                    "some space, then start again; nothing is lost");
  }
  if (unapplied_bytes_ == 0 && apply_in_flight_ == 0) {
    return fail(Errc::too_large, "the entries of " + options_.wal.directory +
                                     " that are not known to be committed do not fit into memory: raise "
                                     "tuning.memory.frame_arena_bytes to what it was when they were written");
  }
  pump();
  if (failed_) return fail(Errc::io_error, "replaying the write-ahead log failed, see the line before");
  now_ = env_.clock.now();
  write_segments(now_);
  reclaim(2 * std::uint64_t{ring_.frame_bytes_max()});
  return {};
}

Status Group::replay_entry(const logfmt::EntryView& entry, Term term, Replay& replay) {
  if (!ring_.open_has_room(entry.header.size)) finish_replayed_frame();
  // What was held when the process ended is held again: a reserve that is kept in service is not kept here.
  const std::uint64_t bytes = logfmt::entry_bytes(entry.header.size);
  const auto fits = [&] { return ring_.can_take(bytes); };
  if (ring_.crowded() || !fits()) reclaim(2 * std::uint64_t{ring_.frame_bytes_max()});
  while (!fits()) {
    finish_replayed_frame();
    reclaim(2 * std::uint64_t{ring_.frame_bytes_max()});
    if (fits()) break;
    if (Status status = make_room(replay.pump); !status) return status;
  }
  copy_entry(entry, term, {});
  if (entry.header.kind == logfmt::EntryKind::configuration) {
    ByteReader reader(entry.body);
    const auto configuration = decode_configuration(reader);
    if (!configuration || configuration->voters.empty()) {
      return fail(Errc::unsupported,
                  "entry " + std::to_string(entry.header.index) + " holds no list of members");
    }
    replay.configurations.push_back({Index(entry.header.index), *configuration});
  }
  if (entry.header.kind == logfmt::EntryKind::batch && !wire::BatchView::parse(entry.body))
    return fail(Errc::unsupported, "entry " + std::to_string(entry.header.index) + " holds no record batch");
  return {};
}

}  // namespace esc::replica
