// One topic partition as its group sees it: offsets, the tail in memory, the segment files.
//
//   log_start <= ... files ... next_file_offset <= ... tail only ... high_watermark <= ... uncommitted ...
//   next_offset
//
// The tail may also hold batches that are already in the files; a read prefers it.
//
// Threading: one core. Owned by its Group.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/intrusive_list.h"
#include "esc/base/units.h"
#include "esc/dedup/pending.h"
#include "esc/dedup/window.h"
#include "esc/replica/frame_ring.h"
#include "esc/store/partition_log.h"

namespace esc::replica {

using TopicId = std::array<std::byte, 16>;

// Part of the replicated log. Fixed at creation, but for how segments are rolled: that is as the last command
// of the log said, and holds for the batches behind it.
struct PartitionIdentity {
  PartitionId id;
  TopicId topic_id{};
  std::string topic;
  std::int32_t index = 0;  // within the topic
  std::uint64_t segment_bytes = 64 * kMiB;
  std::int64_t segment_ms = -1;

  [[nodiscard]] store::RollRules rolling() const { return {segment_bytes, segment_ms}; }
  void set_rolling(const store::RollRules& rules) {
    segment_bytes = rules.bytes;
    segment_ms = rules.ms;
  }
};

// Limits of the topic's configuration; -1 is none.
struct Retention {
  std::int64_t ms = -1;
  std::int64_t bytes = -1;
  bool operator==(const Retention&) const = default;
};

// The event ids of a batch on a topic that drops duplicates: one per record, none() for a record without.
// Empty: the topic does not, or no record has one.
struct BatchIds {
  std::span<const dedup::Id> ids;
  dedup::Limits limits;
};

// What a partition knows of event ids; made when the first one comes.
struct PartitionIds {
  dedup::Window window;    // committed
  dedup::Pending pending;  // appended by this leader
};

// Somebody waits for committed bytes of a partition (a parked fetch). Owned by the waiter, who unlinks it.
struct FetchWaiter : ListNode<FetchWaiter> {
  // `bytes` have just been committed; or, with code other than ok, the partition is going away. May
  // unlink this waiter, but no other of the partition.
  void (*notify)(FetchWaiter&, std::uint64_t bytes, Errc code) = nullptr;
  void* context = nullptr;
};

// The first record of a leader epoch.
struct EpochStart {
  std::int32_t epoch = -1;
  Offset start;
  bool operator==(const EpochStart&) const = default;
};

class SnapshotFetch;

class Partition : public ListNode<Partition> {
 public:
  Partition(PartitionIdentity identity, std::unique_ptr<store::PartitionLog> log)
      : identity_(std::move(identity)),
        log_(std::move(log)),
        next_offset_(log_->next_offset()),
        high_watermark_(log_->next_offset()) {}

  [[nodiscard]] PartitionId id() const { return identity_.id; }
  [[nodiscard]] const PartitionIdentity& identity() const { return identity_; }
  [[nodiscard]] store::PartitionLog& log() { return *log_; }
  [[nodiscard]] const store::PartitionLog& log() const { return *log_; }

  // The next offset the leader will assign.
  [[nodiscard]] Offset next_offset() const { return next_offset_; }
  // One past the last committed record: what consumers may read.
  [[nodiscard]] Offset high_watermark() const { return high_watermark_; }
  // Committed; the files may still have what lies before it.
  [[nodiscard]] Offset log_start_offset() const {
    return std::max(log_->log_start_offset(), log_start_wanted_);
  }
  [[nodiscard]] bool deleted() const { return deleted_; }

  [[nodiscard]] const Retention& retention() const { return retention_; }
  void set_retention(const Retention& retention) { retention_ = retention; }
  // Nothing: the topic is not compacted.
  [[nodiscard]] const std::optional<store::CompactionRules>& compaction() const { return compaction_; }
  void set_compaction(const std::optional<store::CompactionRules>& rules) { compaction_ = rules; }
  // The server stamps records with its own time as it appends them (message.timestamp.type).
  void set_log_append_time(bool on) { log_append_time_ = on; }
  [[nodiscard]] bool log_append_time() const { return log_append_time_; }
  // Of the committed records, ascending.
  [[nodiscard]] const std::vector<EpochStart>& epochs() const { return epochs_; }
  void add_waiter(FetchWaiter& waiter) { waiters_.push_back(waiter); }

 private:
  friend class Compactor;
  friend class Group;
  friend class SnapshotFetch;

  PartitionIdentity identity_;
  std::unique_ptr<store::PartitionLog> log_;
  Offset next_offset_{0};
  Offset high_watermark_{0};
  Retention retention_;
  std::optional<store::CompactionRules> compaction_;
  Nanos compact_after_ = 0;  // not before, after a failure
  std::unique_ptr<PartitionIds> ids_;
  bool log_append_time_ = false;
  std::vector<EpochStart> epochs_;
  Index memory_through_{0};  // entries up to here have changed what is remembered; see group_producers.cpp
  bool deleted_ = false;
  Index deleted_at_;
  enum class Burial : std::uint8_t { none, digging, done };
  Burial burial_ = Burial::none;  // of the files, after deletion
  store::SyncOp destroy_;
  bool log_start_proposed_ = false;
  Offset log_start_wanted_{0};  // committed; applied when the files have got there
  IntrusiveList<FetchWaiter> waiters_;

  // The chain of this partition's entries in the ring, kNoEntry when empty.
  std::uint64_t tail_oldest_ = kNoEntry;
  std::uint64_t tail_newest_ = kNoEntry;
  std::uint64_t next_to_write_ = kNoEntry;  // first entry not yet handed to the segment files
  std::uint64_t bytes_to_write_ = 0;        // committed, not yet in the files
};

}  // namespace esc::replica
