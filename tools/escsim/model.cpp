#include "model.h"

#include <fmt/format.h>

#include <algorithm>

#include "esc/base/crc32c.h"
#include "topics.h"

namespace esc::escsim {

void Model::leader(GroupId group, Term term, NodeId node, std::uint64_t boot) {
  const auto [found, fresh] = leaders_.emplace(std::pair{group, term}, std::pair{node, boot});
  if (!fresh && found->second != std::pair{node, boot}) {
    fail(fmt::format("two leaders in term {} of group {}: node {} (boot {}) and node {} (boot {})",
                     term.value(), group.value(), found->second.first.value(), found->second.second,
                     node.value(), boot));
  }
}

void Model::complete(GroupId group, Term term, NodeId node, const raft::TermRuns& log) {
  const std::vector<Entry>& entries = entries_[group];
  for (Index at = log.snapshot_index().next(); at.value() < entries.size(); ++at) {
    const Entry& entry = entries[at.value()];
    if (entry.term == Term(0) || entry.shown >= term) continue;
    if (at <= log.last_index() && log.term_at(at) == entry.term) continue;
    return fail(fmt::format(
        "node {} leads group {} in term {} without entry {} of term {}, which node {} has shown committed",
        node.value(), group.value(), term.value(), at.value(), entry.term.value(), entry.node.value()));
  }
}

void Model::committed_entry(GroupId group, Index index, Term term, NodeId node, Term now) {
  auto& entries = entries_[group];
  if (entries.size() <= index.value()) entries.resize(index.value() + 1);
  Entry& entry = entries[index.value()];
  if (entry.term == Term(0)) {
    entry = {term, node, now};
  } else if (entry.term != term) {
    fail(fmt::format("entry {} of group {} is committed with term {} at node {} and with term {} at node {}",
                     index.value(), group.value(), entry.term.value(), entry.node.value(), term.value(),
                     node.value()));
  }
}

void Model::durable(GroupId group, NodeId node, Index index, Term term) {
  Index& known = durable_[{group, node}][term];
  known = std::max(known, index);
}

// What was durable once counts: who voted for a later leader had told it of the entry, so nobody drops it.
void Model::counted(GroupId group, Index index, Term term, NodeId leader, const raft::Configuration& now,
                    const raft::Configuration& before) {
  const auto has = [&](NodeId voter) {
    const auto terms = durable_.find({group, voter});
    if (terms == durable_.end()) return false;
    const auto known = terms->second.find(term);
    return known != terms->second.end() && known->second >= index;
  };
  const auto enough = [&](const raft::Configuration& members) {
    return static_cast<std::size_t>(std::ranges::count_if(members.voters, has)) >= members.majority();
  };
  if (enough(now) || enough(before)) return;
  fail(fmt::format("node {} commits entry {} of group {} in term {}, which no majority of the voters has",
                   leader.value(), index.value(), group.value(), term.value()));
}

std::uint64_t Model::committed_end(GroupId group) const {
  const auto found = entries_.find(group);
  return found == entries_.end() ? 0 : found->second.size();
}

bool Model::read_numbers(const wire::BatchView& batch, std::vector<std::uint64_t>& numbers) {
  wire::RecordIterator records(batch.payload(), batch.record_count());
  while (const auto record = records.next()) {
    if (!record->value || record->value->size() < sizeof(std::uint64_t)) return false;
    numbers.push_back(load_le<std::uint64_t>(record->value->data()));
  }
  return !records.failed() && numbers.size() == static_cast<std::size_t>(batch.record_count());
}

void Model::committed_batch(std::int32_t partition, const wire::BatchView& batch, const std::string& who) {
  add(partition, batch, who);
}

void Model::fetched(std::int32_t partition, const wire::BatchView& batch) {
  add(partition, batch, "a consumer");
}

void Model::add(std::int32_t partition, const wire::BatchView& batch, const std::string& who) {
  if (failed()) return;
  const std::int64_t base = batch.base_offset();
  Batches& batches = partitions_[partition];
  const std::uint32_t checksum = crc32c(batch.bytes());
  const auto known = batches.find(base);
  if (known != batches.end()) {
    if (known->second.checksum == checksum && known->second.last == batch.last_offset()) return;
    return fail(fmt::format(
        "partition {} offset {}: {} shows a batch up to {} with checksum {:08x}, but {:08x} up "
        "to {} was committed there",
        partition, base, who, batch.last_offset(), checksum, known->second.checksum, known->second.last));
  }
  Batch fresh{batch.last_offset(), checksum, batch.max_timestamp(), {}};
  if (!batch.crc_valid() || !read_numbers(batch, fresh.numbers)) {
    return fail(fmt::format("partition {} offset {}: {} shows a damaged batch", partition, base, who));
  }
  const auto above = batches.upper_bound(base);
  const bool overlaps = (above != batches.end() && above->first <= fresh.last) ||
                        (above != batches.begin() && std::prev(above)->second.last >= base);
  if (overlaps) {
    return fail(fmt::format("partition {}: {} shows a batch at offsets {}..{} that overlaps another",
                            partition, who, base, fresh.last));
  }
  for (std::size_t i = 0; i < fresh.numbers.size(); ++i) {
    const Place place{partition, base + static_cast<std::int64_t>(i)};
    const auto [found, first] = places_.emplace(fresh.numbers[i], place);
    if (!first) {
      return fail(fmt::format("record {} stands twice: partition {} offset {} and partition {} offset {}",
                              fresh.numbers[i], found->second.partition, found->second.offset, partition,
                              place.offset));
    }
    if (!sent_.contains(fresh.numbers[i]))
      return fail(fmt::format("record {} in partition {} was never sent", fresh.numbers[i], partition));
  }
  batches.emplace(base, std::move(fresh));
}

void Model::producer_id(std::int64_t id, const std::string& who) {
  const auto [known, fresh] = producer_ids_.emplace(id, who);
  if (!fresh) fail(fmt::format("producer id {} was given to {} and to {}", id, known->second, who));
}

void Model::acknowledged(std::int32_t partition, std::int64_t offset, std::uint64_t number) {
  ++acknowledgements_;
  const Place place{partition, offset};
  const auto [known, fresh] = acknowledged_.emplace(number, place);
  if (!fresh) return fail(fmt::format("record {} was acknowledged twice", number));
  const auto found = places_.find(number);
  if (found == places_.end()) {
    return fail(
        fmt::format("record {} was acknowledged at partition {} offset {}, but no node has committed it",
                    number, partition, offset));
  }
  if (found->second != place) {
    fail(fmt::format(
        "record {} was acknowledged at partition {} offset {}, but it stands at partition {} offset {}",
        number, partition, offset, found->second.partition, found->second.offset));
  }
}

void Model::acknowledged_event(std::int32_t partition, std::uint64_t number) {
  ++acknowledgements_;
  const auto found = places_.find(number);
  if (found == places_.end() || found->second.partition != partition) {
    return fail(fmt::format("event {} was acknowledged in partition {}, but no node has committed it there",
                            number, partition));
  }
  acknowledged_.emplace(number, found->second);
}

std::int64_t Model::first_at(std::int32_t partition, WallMs time) const {
  const auto known = partitions_.find(partition);
  if (known == partitions_.end()) return -1;
  const auto found =
      std::ranges::find_if(known->second, [time](const auto& entry) { return entry.second.time >= time; });
  return found == known->second.end() ? -1 : found->first;
}

std::int64_t Model::end(std::int32_t partition) const {
  const auto found = partitions_.find(partition);
  return found == partitions_.end() || found->second.empty() ? 0 : found->second.rbegin()->second.last + 1;
}

void Model::assigned(std::int32_t generation, std::int32_t partition, const std::string& member) {
  const auto [owner, fresh] = owners_.emplace(std::pair{generation, partition}, member);
  if (!fresh && owner->second != member) {
    fail(fmt::format("generation {} of the group gave partition {} to {} and to {}", generation, partition,
                     owner->second, member));
  }
}

std::int64_t Model::committed_floor(std::int32_t partition) const {
  const auto found = floors_.find(partition);
  return found == floors_.end() ? -1 : found->second;
}

void Model::offset_committed(std::int32_t partition, std::int64_t offset, std::int64_t floor) {
  if (offset < floor) {
    fail(fmt::format("partition {}: the group's offset went back: {} was accepted after {} was acknowledged",
                     partition, offset, floor));
  }
  auto& known = floors_.try_emplace(partition, -1).first->second;
  known = std::max(known, offset);
}

void Model::offset_read(std::int32_t partition, std::int64_t offset, std::int64_t floor) {
  if (offset >= floor) return;
  fail(fmt::format("partition {}: the group's offset is lost: {} was acknowledged, {} is read", partition,
                   floor, offset));
}

void Model::check_partition(std::int32_t partition, std::int64_t end) {
  const auto known = partitions_.find(partition);
  if (known == partitions_.end()) return;
  std::int64_t next = 0;
  for (const auto& [base, batch] : known->second) {
    if (base != next)
      return fail(fmt::format("partition {}: offsets {}..{} are missing", partition, next, base - 1));
    next = batch.last + 1;
  }
  if (next > end)
    fail(fmt::format("partition {}: offsets {}..{} were committed and are lost", partition, end, next - 1));
}

void Model::check_final(const std::vector<std::int64_t>& ends) {
  if (failed()) return;
  for (const auto& [number, place] : acknowledged_) {
    const auto index = static_cast<std::size_t>(place.partition);
    if (place.partition < kPartitionsPerTopic && (index >= ends.size() || place.offset >= ends[index])) {
      return fail(
          fmt::format("record {} was acknowledged at partition {} offset {}, and is lost: the log ends at {}",
                      number, place.partition, place.offset, index < ends.size() ? ends[index] : 0));
    }
  }
  for (std::size_t index = 0; index < ends.size(); ++index)
    check_partition(static_cast<std::int32_t>(index), ends[index]);
}

// --- the topic that comes and goes ---

std::int32_t Model::number_of(const replica::PartitionIdentity& partition) {
  const auto [owner, fresh] = owners_of_ids_.emplace(partition.id, partition.topic_id);
  if (!fresh && owner->second != partition.topic_id)
    fail(fmt::format("partition id {} is used for two topics", partition.id.value()));
  if (partition.topic != kPassingTopic) return partition.index;
  const auto next = static_cast<std::int32_t>(passing_.size() + 1) * kPartitionsPerTopic;
  return passing_.emplace(partition.topic_id, next).first->second + partition.index;
}

void Model::created(const replica::TopicId& topic) {
  if (!created_.emplace(topic, true).second) fail("a topic was created under the id of an earlier one");
}

void Model::acknowledged_passing(std::int32_t index, std::int64_t base_offset,
                                 const std::vector<std::uint64_t>& numbers) {
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto found = places_.find(numbers[i]);
    const std::int64_t offset = base_offset + static_cast<std::int64_t>(i);
    // Nobody has shown it: committed in the very turn in which the partition was deleted.
    if (found == places_.end()) continue;
    if (found->second.partition < kPartitionsPerTopic ||
        found->second.partition % kPartitionsPerTopic != index || found->second.offset != offset) {
      return fail(fmt::format(
          "record {} was acknowledged at offset {} of partition {} of the passing topic, and is not there",
          numbers[i], offset, index));
    }
    acknowledged(found->second.partition, offset, numbers[i]);
  }
}

void Model::fetched_passing(const std::optional<replica::TopicId>& live, std::int32_t index,
                            const wire::BatchView& batch) {
  if (live) {
    const auto known = passing_.find(*live);
    if (known == passing_.end()) return fail("a topic is served that no node has shown");
    return add(known->second + index, batch, "a consumer of the passing topic");
  }
  std::vector<std::uint64_t> numbers;
  if (!read_numbers(batch, numbers)) return fail("a damaged batch of the passing topic is served");
  const auto found = places_.find(numbers.front());
  if (found == places_.end()) return;  // committed while its node started: the files show it
  if (found->second.partition < kPartitionsPerTopic || found->second.partition % kPartitionsPerTopic != index)
    return fail(
        fmt::format("record {} is served in partition {} of the passing topic", numbers.front(), index));
  add(found->second.partition, batch, "a consumer of the passing topic");
}

void Model::check_passing(const std::optional<replica::TopicId>& live,
                          const std::vector<std::int64_t>& ends) {
  if (failed() || !live) return;
  const auto known = passing_.find(*live);
  if (known == passing_.end()) return fail("the passing topic is there, and no node has a partition of it");
  for (const auto& [number, place] : acknowledged_) {
    const std::int32_t index = place.partition - known->second;
    if (index < 0 || index >= kPartitionsPerTopic) continue;
    if (place.offset >= ends[static_cast<std::size_t>(index)])
      return fail(fmt::format("record {} was acknowledged at offset {} of the passing topic, and is lost",
                              number, place.offset));
  }
  for (std::size_t index = 0; index < ends.size(); ++index)
    check_partition(known->second + static_cast<std::int32_t>(index), ends[index]);
}

}  // namespace esc::escsim
