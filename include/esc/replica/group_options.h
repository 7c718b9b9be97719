// What a group is given when it is opened: who it is, where its files are, its limits and its peers.
//
// Units: bytes; nanoseconds. The ring's memory stays the caller's.
#pragma once

#include <string>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/units.h"
#include "esc/peer/links.h"
#include "esc/raft/config.h"
#include "esc/raft/configuration.h"
#include "esc/replica/plant.h"
#include "esc/store/partition_log.h"
#include "esc/wal/log.h"

namespace esc::replica {

struct GroupOptions {
  GroupId id{0};
  NodeId node{1};
  // Voters of a new group (static bootstrap), afterwards the log says who they are. Empty: only this node.
  // With `peers`, a new group waits until all of them are there and new, too (docs/decisions/0017).
  raft::Configuration members{};
  // The data directory was created by a node without others: what it holds without an incarnation is whole,
  // and the node may go on as the first member of a cluster.
  bool began_alone = false;
  raft::Timeouts timeouts{};
  std::uint64_t cluster_id = 0;
  std::string data_directory;  // of this group: checkpoint and partitions
  wal::Options wal;            // with its directory
  store::Options store;        // how segments are rolled comes from each partition
  ByteSpan ring_memory;        // kBlockBytes-aligned
  std::uint32_t frame_bytes_max = 1088 * 1024;
  // When the disk is busy with one write, the next frame is written beside it once it holds this much.
  std::uint32_t batch_events_max = 64;
  Nanos batch_delay = kMillisecond;
  Nanos checkpoint_interval = 10 * kSecond;
  std::uint64_t checkpoint_bytes = 64 * kMiB;
  Nanos retention_interval = 30 * kSecond;
  // What compaction reads, writes and unpacks, and the keys it holds at once (32 bytes each).
  std::uint64_t compaction_bytes_per_second = 16 * kMiB;
  std::uint64_t compaction_memory_bytes = 16 * kMiB;
  std::uint64_t seed = 1;
  raft::Plant plant = raft::Plant::none;  // faults on purpose, for the simulator
  Plant replica_plant = Plant::none;      // the same, of this floor
  // Where the other nodes are; may name more than the group's members.
  std::vector<peer::PeerAddress> peers;
  std::string cluster_name;
  std::string cluster_secret;
  // A follower that lags is fed from the WAL as long as that holds at most this much for it.
  std::uint64_t retain_bytes = 256 * kMiB;
  // A group whose leader is not the preferred one (by group number, so that leaders spread) hands over once
  // the preferred node has kept up for this long. 0: never.
  Nanos rebalance_after = 5 * kSecond;
  std::uint64_t recovery_bytes_per_second = 128 * kMiB;  // of a snapshot, beside the traffic of clients
  // Fault injection for tests: the n-th entry frame from now fails with EIO (0: never).
  std::uint64_t fail_frame_after = 0;
};

}  // namespace esc::replica
