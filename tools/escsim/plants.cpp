#include "plants.h"

#include <algorithm>
#include <array>

namespace esc::escsim {
namespace {

constexpr std::array kPlants = std::to_array<Plant>({
    {"vote_before_durable", "a vote is sent before it is on disk", 150,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::vote_before_durable; }},
    {"ack_before_durable", "received entries count as durable at once", 200,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::ack_before_durable; }},
    {"stale_mark_counted", "completions from before a truncation are counted", 400,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::stale_mark_counted; }},
    {"old_term_commit", "entries of earlier terms are committed by counting", 300,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::old_term_commit; }},
    {"conflict_off_by_one", "a follower keeps the first conflicting entry", 60,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::conflict_off_by_one; }},
    {"vote_without_log_check", "votes for candidates with a shorter log", 60,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::vote_without_log_check; }},
    {"prefix_unchecked", "entries are appended whatever precedes them", 100,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::prefix_unchecked; }},
    {"progress_outlives_disk", "what a replaced disk had acknowledged still counts", 60,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::progress_outlives_disk; },
     "not every node is a voter as it is now"},
    {"learner_counted", "learners count for commits", 60,
     [](shard::ShardOptions& options) { options.group.plant = raft::Plant::learner_counted; }},
    {"incarnation_ignored", "answers count whoever has the node's disk now", 1200,
     [](shard::ShardOptions& options) { options.group.replica_plant = replica::Plant::incarnation_ignored; }},
    {"blank_disk_is_member", "a blank disk votes under its old id at once", 150,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::blank_disk_is_member;
     }},
    {"frame_durable_when_submitted", "a frame counts as durable when its write begins", 60,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::frame_durable_when_submitted;
     }},
    {"hard_state_not_written", "term and vote are never written", 60,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::hard_state_not_written;
     }},
    {"leads_before_noop", "a new leader assigns offsets before its no-op is applied", 60,
     [](shard::ShardOptions& options) { options.group.replica_plant = replica::Plant::leads_before_noop; }},
    {"waiters_done_at_step_down", "producers are acknowledged when leadership is lost", 60,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::waiters_done_at_step_down;
     }},
    {"replay_applies_uncommitted", "a restart takes everything durable for committed", 100,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::replay_applies_uncommitted;
     }},
    {"checkpoint_past_durable", "the checkpoint covers what the own log does not have", 900,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::checkpoint_past_durable;
     },
     "older than the data directory"},
    {"checkpoint_without_sync", "segment files are not synced before the checkpoint", 100,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::checkpoint_without_sync;
     },
     "the checkpoint says"},
    {"offsets_kept_at_step_down", "offsets of uncommitted records are not taken back", 100,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::offsets_kept_at_step_down;
     },
     "record.partition == nullptr"},
    {"producers_not_in_checkpoint", "restarts and snapshots forget idempotent producers", 300,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::producers_not_in_checkpoint;
     }},
    {"duplicate_without_commit", "a repeated batch is acknowledged before its original is committed", 250,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::duplicate_without_commit;
     }},
    {"producers_kept_at_step_down", "batches lost with leadership still count as seen", 900,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::producers_kept_at_step_down;
     }},
    {"vote_not_repeated", "frames after the vote forget it", 60,
     [](shard::ShardOptions& options) { options.group.wal.plant = wal::Plant::vote_not_repeated; }},
    {"commit_recorded_early", "frames record everything written as committed", 150,
     [](shard::ShardOptions& options) { options.group.wal.plant = wal::Plant::commit_recorded_early; }},
    {"damage_taken_for_tail", "a log ends at its first bad frame, also when that was durable", 100,
     [](shard::ShardOptions& options) { options.group.wal.plant = wal::Plant::damage_taken_for_tail; }},
    {"damage_keeps_incarnation", "who puts damaged data aside stays the member that he was", 100,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::damage_keeps_incarnation;
     }},
    {"watermark_early", "frames in flight are called durable", 200,
     [](shard::ShardOptions& options) { options.group.wal.plant = wal::Plant::watermark_early; },
     "was durable; nothing has been changed"},
    {"event_ids_not_in_checkpoint", "event ids are forgotten with every restart and snapshot", 200,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::event_ids_not_in_checkpoint;
     }},
    {"event_id_without_commit", "a duplicate is acknowledged before its original is committed", 200,
     [](shard::ShardOptions& options) {
       options.group.replica_plant = replica::Plant::event_id_without_commit;
     }},
    {"produce_without_commit", "producers are answered when their records are appended", 60,
     [](shard::ShardOptions& options) { options.broker.plant = broker::Plant::produce_without_commit; }},
    {"groups_not_saved", "consumer groups are left out of checkpoints", 60,
     [](shard::ShardOptions& options) { options.broker.plant = broker::Plant::groups_not_saved; }},
    {"nodes_changed_early", "an operator is answered when a change of the nodes is proposed", 60,
     [](shard::ShardOptions& options) { options.broker.plant = broker::Plant::nodes_changed_early; }},
    {"deleted_partitions_stay", "groups do not follow the deletion of a topic", 60,
     [](shard::ShardOptions& options) { options.broker.plant = broker::Plant::deleted_partitions_stay; },
     "of a deleted topic are still there"},
    {"fetch_parts_overlap", "one partition's records are read over the end of another's", 30,
     [](shard::ShardOptions& options) { options.broker.plant = broker::Plant::fetch_parts_overlap; }},
    {"sync_before_commit", "an assignment is handed out before it is committed", 150,
     [](shard::ShardOptions& options) {
       options.broker.groups_options.plant = coord::Plant::sync_before_commit;
     }},
    {"generation_not_fenced", "offsets of members of old generations are taken", 150,
     [](shard::ShardOptions& options) {
       options.broker.groups_options.plant = coord::Plant::generation_not_fenced;
     }},
});

}  // namespace

std::span<const Plant> plants() {
  return kPlants;
}

bool is_sign_of(const Plant& plant, std::string_view reason) {
  if (!plant.sign.empty()) return reason.find(plant.sign) != std::string_view::npos;
  constexpr std::string_view kOther[] = {"no progress", "the process died", "not deterministic",
                                         "takes more than"};
  return std::ranges::none_of(kOther, [&](std::string_view start) { return reason.starts_with(start); });
}

const Plant* plant_named(std::string_view name) {
  const auto found = std::ranges::find(kPlants, name, &Plant::name);
  return found == kPlants.end() ? nullptr : &*found;
}

}  // namespace esc::escsim
