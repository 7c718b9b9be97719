// Bugs planted on purpose in this floor, so that the simulator can show that its checkers find them. Never
// set in service. The core has its own (raft::Plant), and so has the log (wal::Plant).
#pragma once

#include <cstdint>

namespace esc::replica {

enum class Plant : std::uint8_t {
  none,
  frame_durable_when_submitted,  // tells the core that a frame is durable when its write has begun
  hard_state_not_written,        // tells the core that term and vote are durable, and never writes them
  leads_before_noop,             // assigns offsets as soon as it is elected
  waiters_done_at_step_down,     // acknowledges what was not committed when leadership was lost
  replay_applies_uncommitted,    // takes everything durable for committed at the start
  checkpoint_past_durable,       // lets the checkpoint cover what the own log does not have yet
  checkpoint_without_sync,       // writes the checkpoint without syncing the segment files
  incarnation_ignored,           // answers count and messages go by node id, whoever has its disk now
  blank_disk_is_member,          // a blank group takes part at once under its old id
  offsets_kept_at_step_down,     // does not take back the offsets of what was not committed
  producers_not_in_checkpoint,   // forgets idempotent producers with every restart and snapshot
  duplicate_without_commit,      // acknowledges a repeated batch before the original is committed
  event_ids_not_in_checkpoint,   // forgets event ids with every restart and snapshot
  event_id_without_commit,       // acknowledges a duplicate before its original is committed
  event_ids_by_local_clock,      // ends windows by the member's own clock, not by that of the log
  damage_keeps_incarnation,      // begins blank in the place of damaged data, under the same name
  producers_kept_at_step_down,   // still counts batches as seen that were lost with leadership
};

}  // namespace esc::replica
