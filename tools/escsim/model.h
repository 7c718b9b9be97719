// What must be true: the one history that every node and every client may see. Fed by observers after each
// step of a core and by the clients; the first contradiction is kept as the reason of the failure.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/raft/configuration.h"
#include "esc/raft/term_runs.h"
#include "esc/replica/partition.h"
#include "esc/wire/record_batch.h"

namespace esc::escsim {

// The model numbers partitions: those of the topic that stays by their index, those of every life of the
// topic that comes and goes from the next multiple of this on.
inline constexpr std::int32_t kPartitionsPerTopic = 16;

class Model {
 public:
  // --- what nodes show ---
  // The partition's number.
  [[nodiscard]] std::int32_t number_of(const replica::PartitionIdentity& partition);
  // `boot`: of the node; a node that restarts does not lead in the same term again.
  void leader(GroupId group, Term term, NodeId node, std::uint64_t boot);
  // A new leader's log has what was committed in earlier terms.
  void complete(GroupId group, Term term, NodeId node, const raft::TermRuns& log);
  // Entry `index` is committed with this term, says `node` in its term `now`.
  void committed_entry(GroupId group, Index index, Term term, NodeId node, Term now);
  // Of entries of this term: everything up to there is durable at the node, says its core.
  void durable(GroupId group, NodeId node, Index index, Term term);
  // Raft 5.3: what a leader commits by counting, in its own term, a majority of the voters has made durable;
  // of those now, or of those before the change that was made in the same turn.
  void counted(GroupId group, Index index, Term term, NodeId leader, const raft::Configuration& now,
               const raft::Configuration& before);
  // Entries of the group that anybody has shown committed.
  [[nodiscard]] std::uint64_t committed_end(GroupId group) const;
  // A committed batch, as it is stored and served.
  void committed_batch(std::int32_t partition, const wire::BatchView& batch, const std::string& who);

  // --- what clients learn ---
  void producer_id(std::int64_t id, const std::string& who);
  void sent(std::uint64_t number) { sent_.emplace(number, Fate::open); }
  void acknowledged(std::int32_t partition, std::int64_t offset, std::uint64_t number);
  // Of an event that may have been sent more than once: it stands somewhere in the partition.
  void acknowledged_event(std::int32_t partition, std::uint64_t number);
  // A batch that a consumer fetched while it expected `offset`.
  void fetched(std::int32_t partition, const wire::BatchView& batch);

  // --- what the client of the topic that comes and goes learns; partitions by their index ---
  void created(const replica::TopicId& topic);
  void acknowledged_passing(std::int32_t index, std::int64_t base_offset,
                            const std::vector<std::uint64_t>& numbers);
  // A batch of any life of the topic, or of that of `live`.
  void fetched_passing(const std::optional<replica::TopicId>& live, std::int32_t index,
                       const wire::BatchView& batch);
  // The topic that there is in the end, if any, was read up to these offsets: it begins at 0, and what was
  // acknowledged in it is there.
  void check_passing(const std::optional<replica::TopicId>& live, const std::vector<std::int64_t>& ends);

  // --- what members of the consumer group learn ---
  // An assignment was handed out.
  void assigned(std::int32_t generation, std::int32_t partition, const std::string& member);
  // The highest offset that anybody was told is committed.
  [[nodiscard]] std::int64_t committed_floor(std::int32_t partition) const;
  // A commit was acknowledged, an offset was read; `floor` is what was known when it was asked for.
  void offset_committed(std::int32_t partition, std::int64_t offset, std::int64_t floor);
  void offset_read(std::int32_t partition, std::int64_t offset, std::int64_t floor);

  // Every acknowledged record stands where it was acknowledged, offsets are dense: [0, ends[partition]).
  void check_final(const std::vector<std::int64_t>& ends);

  void fail(std::string reason) {
    if (failure_.empty()) failure_ = std::move(reason);
  }
  [[nodiscard]] bool failed() const { return !failure_.empty(); }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] std::uint64_t acknowledgements() const { return acknowledgements_; }
  [[nodiscard]] std::uint64_t committed_records() const { return places_.size(); }
  // Of the first committed record that is not older; -1: there is none. All records of a batch have one time.
  [[nodiscard]] std::int64_t first_at(std::int32_t partition, WallMs time) const;
  // One past the newest known committed offset.
  [[nodiscard]] std::int64_t end(std::int32_t partition) const;
  [[nodiscard]] const auto& leaders() const { return leaders_; }

 private:
  enum class Fate : std::uint8_t { open, acknowledged };
  struct Batch {
    std::int64_t last = 0;
    std::uint32_t checksum = 0;  // of the whole batch as stored
    WallMs time = 0;
    std::vector<std::uint64_t> numbers;
  };
  using Batches = std::map<std::int64_t, Batch>;
  struct Place {
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    friend bool operator==(const Place&, const Place&) = default;
  };
  [[nodiscard]] bool read_numbers(const wire::BatchView& batch, std::vector<std::uint64_t>& numbers);
  void add(std::int32_t partition, const wire::BatchView& batch, const std::string& who);
  void check_partition(std::int32_t partition, std::int64_t end);

  std::string failure_;
  struct Entry {
    Term term;
    NodeId node;  // who showed it first
    Term shown;   // its term then: the entry was committed in this one or before
  };
  std::map<std::pair<GroupId, Term>, std::pair<NodeId, std::uint64_t>> leaders_;
  std::map<GroupId, std::vector<Entry>> entries_;  // by index
  std::map<std::pair<GroupId, NodeId>, std::map<Term, Index>> durable_;
  std::map<std::int32_t, Batches> partitions_;
  std::map<replica::TopicId, std::int32_t> passing_;  // the number of the topic's first partition
  std::map<PartitionId, replica::TopicId> owners_of_ids_;
  std::map<replica::TopicId, bool> created_;
  std::unordered_map<std::uint64_t, Fate> sent_;     // never iterated
  std::unordered_map<std::uint64_t, Place> places_;  // of committed records; never iterated
  std::map<std::int64_t, std::string> producer_ids_;
  std::map<std::uint64_t, Place> acknowledged_;
  std::uint64_t acknowledgements_ = 0;
  std::map<std::pair<std::int32_t, std::int32_t>, std::string> owners_;  // by generation and partition
  std::map<std::int32_t, std::int64_t> floors_;
};

}  // namespace esc::escsim
