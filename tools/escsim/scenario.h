// Everything a seed decides before the first event: sizes, timings, and which faults take part.
#pragma once

#include <cstdint>
#include <string>

#include "esc/base/units.h"
#include "esc/sim/loop.h"
#include "esc/sim/network.h"

namespace esc::escsim {

struct Scenario {
  std::uint32_t nodes = 3;
  std::uint32_t cores = 1;  // of each node
  std::uint32_t groups = 1;
  std::int32_t partitions = 2;
  std::uint32_t producers = 2;
  std::uint32_t idempotent_producers = 0;  // of these
  std::uint32_t event_producers = 0;       // of these; the topic then drops duplicates by event id
  std::uint32_t consumers = 1;
  std::uint32_t group_members = 0;  // of one consumer group
  bool lag_watcher = false;         // somebody asks every node where that group stands
  Nanos chaos_time = 4 * kSecond;
  Nanos heal_time = 20 * kSecond;  // for the liveness phase

  // Memory and files of a node.
  std::uint32_t frame_bytes_max = 32 * 1024;
  std::uint64_t frame_arena_bytes = 512 * kKiB;
  std::uint64_t wal_segment_bytes = 64 * kKiB;
  std::uint64_t wal_bytes_max = 4 * kMiB;
  std::uint32_t wal_depth = 2;
  std::uint64_t segment_bytes = 32 * kKiB;
  Nanos checkpoint_interval = kSecond;
  std::uint64_t checkpoint_bytes = 128 * kKiB;
  std::uint64_t retain_bytes = 256 * kKiB;
  Nanos rebalance_after = 2 * kSecond;
  std::uint64_t recovery_bytes_per_second = 8 * kMiB;
  std::uint32_t batch_events_max = 16;
  Nanos batch_delay = kMillisecond;

  // Clients.
  std::uint32_t in_flight = 3;
  std::uint32_t batch_records_max = 4;
  std::uint32_t record_bytes_max = 600;
  Nanos think_max = 25 * kMillisecond;
  bool wide_requests = false;  // for several partitions and topics, with epochs and limits of all sizes

  sim::NetworkOptions network{};
  sim::SimLoopOptions loop{};
  Nanos clock_offset_max = 0;
  std::int64_t drift_ppm_max = 0;

  // Mean time between two faults of a kind, over the whole cluster; 0: none of that kind.
  Nanos crash_every = 0;      // SIGKILL
  Nanos power_every = 0;      // power cut
  Nanos stop_every = 0;       // SIGTERM
  Nanos pause_every = 0;      // SIGSTOP
  Nanos partition_every = 0;  // of one node or between two, one-way or both
  Nanos reset_every = 0;
  Nanos stall_every = 0;  // of a disk
  Nanos eio_every = 0;
  Nanos full_every = 0;        // ENOSPC
  Nanos rot_every = 0;         // a flipped bit in a file of a minority
  Nanos wall_every = 0;        // jump of the wall clock
  Nanos fuse_every = 0;        // a crash in the middle of recovery
  Nanos replace_every = 0;     // a node comes back with a blank disk
  bool nodes_change = false;   // an operator removes and adds nodes
  Nanos renew_every = 0;       // a node that is out of the cluster gets a blank disk
  bool topic_changes = false;  // a second topic is deleted and created again
  bool rule_changes = false;   // of where the topic's segments end
  Nanos unreadable_every = 0;  // sectors of a minority that cannot be read
  std::uint32_t down_max = 1;  // nodes down or cut off by faults at a time

  // Faults that wait for the worst moment: one in so many elections, truncations and stalls is followed by
  // one; 0: none. They do not ask for down_max.
  std::uint32_t ambush_one_in = 0;
  Nanos ambush_delay_max = 0;  // after that moment

  [[nodiscard]] std::string describe() const;
};

// What a seed means has grown. Seeds that were kept for regression mean what they meant then.
enum class Age : std::uint8_t {
  plain,   // without ambushes, lost disks, groups, idempotence, events, and all below
  sound,   // without bit flips, an operator, bounded work, and all below
  steady,  // without topics that come and go, and all below
  fixed,   // without rules of segments that change, sectors that cannot be read, and all below
  narrow,  // without requests for several partitions
  newest,
};

// The same seed always gives the same scenario. `nodes` 0: the seed decides.
[[nodiscard]] Scenario make_scenario(std::uint64_t seed, std::uint32_t nodes, Age age);

}  // namespace esc::escsim
