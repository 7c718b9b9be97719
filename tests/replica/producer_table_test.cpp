#include "../../src/replica/producer_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <map>

#include "esc/base/prng.h"

namespace esc::replica {
namespace {

constexpr std::int32_t kSequenceMax = 2'147'483'647;

ProducerBatch batch(std::int32_t first, std::int32_t count, std::int16_t epoch = 0, std::uint64_t index = 1) {
  ProducerBatch made;
  made.key = {PartitionId(3), 77};
  made.epoch = epoch;
  made.batch.first_sequence = first;
  made.batch.last_sequence = last_sequence(first, count);
  made.batch.index = Index(index);
  made.batch.base_offset = Offset(static_cast<std::int64_t>(index) * 100);
  made.batch.last_offset = made.batch.base_offset + (count - 1);
  return made;
}

ProducerState after(std::initializer_list<ProducerBatch> batches) {
  ProducerState state;
  for (const ProducerBatch& one : batches) advance(state, one);
  return state;
}

TEST(ProducerState, an_unknown_producer_may_begin_anywhere) {
  EXPECT_EQ(judge(nullptr, batch(0, 1)).code, Errc::ok);
  EXPECT_EQ(judge(nullptr, batch(4711, 1, 9)).code, Errc::ok);
}

TEST(ProducerState, the_next_sequence_follows_the_last_and_nothing_else_does) {
  const ProducerState state = after({batch(0, 10)});
  EXPECT_EQ(judge(&state, batch(10, 5)).code, Errc::ok);
  EXPECT_EQ(judge(&state, batch(9, 5)).code, Errc::out_of_order);
  EXPECT_EQ(judge(&state, batch(11, 5)).code, Errc::out_of_order);
}

TEST(ProducerState, sequences_wrap_to_zero) {
  const ProducerState full = after({batch(kSequenceMax - 4, 5)});
  EXPECT_EQ(full.batches.back().last_sequence, kSequenceMax);
  EXPECT_EQ(judge(&full, batch(0, 1)).code, Errc::ok);
  EXPECT_EQ(judge(&full, batch(1, 1)).code, Errc::out_of_order);
  const ProducerState across = after({batch(kSequenceMax - 4, 8)});
  EXPECT_EQ(across.batches.back().last_sequence, 2);
  EXPECT_EQ(judge(&across, batch(3, 1)).code, Errc::ok);
}

TEST(ProducerState, the_newest_five_batches_are_recognised_exactly) {
  const ProducerState state = after({batch(0, 2, 0, 1), batch(2, 2, 0, 2), batch(4, 2, 0, 3),
                                     batch(6, 2, 0, 4), batch(8, 2, 0, 5), batch(10, 2, 0, 6)});
  for (std::int32_t first = 2; first <= 10; first += 2) {
    const ProducerVerdict verdict = judge(&state, batch(first, 2));
    ASSERT_EQ(verdict.code, Errc::already_exists) << first;
    EXPECT_EQ(verdict.original->index, Index(static_cast<std::uint64_t>(first) / 2 + 1));
  }
  EXPECT_EQ(judge(&state, batch(0, 2)).code, Errc::out_of_order) << "the sixth is forgotten";
  EXPECT_EQ(judge(&state, batch(8, 1)).code, Errc::out_of_order) << "part of a batch is not the batch";
  EXPECT_EQ(judge(&state, batch(8, 4)).code, Errc::out_of_order) << "two batches are not one";
}

TEST(ProducerState, a_newer_epoch_begins_at_zero_and_an_older_one_is_refused) {
  ProducerState state = after({batch(0, 10, 4)});
  EXPECT_EQ(judge(&state, batch(10, 1, 3)).code, Errc::stale_epoch);
  EXPECT_EQ(judge(&state, batch(0, 10, 3)).code, Errc::stale_epoch) << "even when the sequences are known";
  EXPECT_EQ(judge(&state, batch(10, 1, 5)).code, Errc::out_of_order);
  EXPECT_EQ(judge(&state, batch(0, 10, 5)).code, Errc::ok);
  advance(state, batch(0, 3, 5));
  EXPECT_EQ(state.batches.size(), 1u) << "batches of the epoch before mean nothing any more";
  EXPECT_EQ(judge(&state, batch(3, 1, 5)).code, Errc::ok);
}

// --- the table against a dumb version -------------------------------------------------------------------

struct NaiveTable {
  struct Known {
    std::int16_t epoch = 0;
    std::deque<SequencedBatch> batches;
  };
  std::map<std::pair<std::uint32_t, std::int64_t>, Known> known;
  std::size_t capacity = 0;
  WallMs time = 0;

  void apply(const ProducerBatch& next) {
    time = std::max(time, next.batch.time);
    const auto by_age = [](const auto& a, const auto& b) {
      return a.second.batches.back().index < b.second.batches.back().index;
    };
    for (int i = 0; i < 4 && !known.empty(); ++i) {
      const auto oldest = std::min_element(known.begin(), known.end(), by_age);
      if (time - oldest->second.batches.back().time <= kProducerExpiryMs) break;
      known.erase(oldest);
    }
    const std::pair key(next.key.partition.value(), next.key.producer);
    if (!known.contains(key) && known.size() == capacity)
      known.erase(std::min_element(known.begin(), known.end(), by_age));
    Known& entry = known[key];
    if (entry.epoch != next.epoch) entry.batches.clear();
    entry.epoch = next.epoch;
    entry.batches.push_back(next.batch);
    entry.batches.back().time = time;
    if (entry.batches.size() > 5) entry.batches.pop_front();
  }
  void forget(std::uint32_t partition) {
    std::erase_if(known, [&](const auto& entry) { return entry.first.first == partition; });
    time = 0;
    for (const auto& [key, entry] : known) time = std::max(time, entry.batches.back().time);
  }
};

void expect_equal(const ProducerTable& table, const NaiveTable& naive) {
  ASSERT_EQ(table.size(), naive.known.size());
  for (const auto& [key, entry] : naive.known) {
    const ProducerState* state = table.find({PartitionId(key.first), key.second});
    ASSERT_NE(state, nullptr) << key.first << " " << key.second;
    EXPECT_EQ(state->epoch, entry.epoch);
    ASSERT_TRUE(
        std::equal(state->batches.begin(), state->batches.end(), entry.batches.begin(), entry.batches.end()));
  }
}

constexpr std::uint32_t kPartitions = 5;

std::vector<std::vector<std::byte>> saved(const ProducerTable& table) {
  std::vector<std::vector<std::byte>> out(kPartitions);
  for (std::uint32_t id = 0; id < kPartitions; ++id) table.save(PartitionId(id), out[id]);
  return out;
}

TEST(ProducerTable, agrees_with_a_dumb_version_and_goes_on_the_same_after_a_load) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Prng prng(seed);
    auto table = std::make_unique<ProducerTable>(64);
    NaiveTable naive;
    naive.capacity = 64;
    WallMs now = 1'000'000'000;
    for (std::uint64_t index = 1; index <= 2000; ++index) {
      now += static_cast<WallMs>(prng.below(prng.below(50) == 0 ? 40'000'000 : 200'000));
      ProducerBatch next = batch(static_cast<std::int32_t>(prng.below(1000)), 1, 0, index);
      next.key = {PartitionId(static_cast<std::uint32_t>(prng.below(kPartitions))),
                  static_cast<std::int64_t>(prng.below(30))};
      next.epoch = static_cast<std::int16_t>(prng.below(40) == 0 ? 1 : 0);
      next.batch.time = now - static_cast<WallMs>(prng.below(5000));  // leaders' clocks differ
      table->apply(next);
      naive.apply(next);
      if (prng.below(300) == 0) {
        const auto partition = static_cast<std::uint32_t>(prng.below(kPartitions));
        table->forget(PartitionId(partition));
        naive.forget(partition);
      }
      if (prng.below(100) == 0) {
        const auto bytes = saved(*table);
        table = std::make_unique<ProducerTable>(64);
        for (std::uint32_t id = 0; id < kPartitions; ++id)
          ASSERT_TRUE(table->load(PartitionId(id), bytes[id]));
        table->finish_load();
        ASSERT_EQ(saved(*table), bytes);
      }
      if (index % 50 != 0) continue;
      ASSERT_NO_FATAL_FAILURE(expect_equal(*table, naive)) << seed << " " << index;
    }
  }
}

TEST(ProducerTable, a_producer_is_forgotten_after_a_day_of_log_time) {
  ProducerTable table;
  ProducerBatch first = batch(0, 1, 0, 1);
  first.batch.time = 1000;
  table.apply(first);
  ProducerBatch other = batch(0, 1, 0, 2);
  other.key.producer = 78;
  other.batch.time = 1000 + kProducerExpiryMs;
  table.apply(other);
  EXPECT_NE(table.find(first.key), nullptr);
  other.batch.time += 1;
  other.batch.index = Index(3);
  table.apply(other);
  EXPECT_EQ(table.find(first.key), nullptr);
  EXPECT_EQ(table.evicted(), 0u) << "that was its time";
}

TEST(ProducerTable, a_full_table_forgets_whoever_was_silent_longest) {
  ProducerTable table(3);
  for (std::uint64_t i = 1; i <= 3; ++i) {
    ProducerBatch one = batch(0, 1, 0, i);
    one.key.producer = static_cast<std::int64_t>(i);
    table.apply(one);
  }
  ProducerBatch again = batch(1, 1, 0, 4);
  again.key.producer = 1;
  table.apply(again);
  ProducerBatch fourth = batch(0, 1, 0, 5);
  fourth.key.producer = 4;
  table.apply(fourth);
  EXPECT_EQ(table.find({PartitionId(3), 2}), nullptr);
  EXPECT_NE(table.find({PartitionId(3), 1}), nullptr);
  EXPECT_EQ(table.evicted(), 1u);
}

TEST(ProducerTable, damaged_bytes_are_refused) {
  ProducerTable table;
  table.apply(batch(0, 3, 0, 7));
  std::vector<std::byte> bytes;
  table.save(PartitionId(3), bytes);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    ProducerTable other;
    EXPECT_FALSE(other.load(PartitionId(3), ByteView(bytes).first(size))) << size;
  }
  bytes.push_back(std::byte{0});
  ProducerTable other;
  EXPECT_FALSE(other.load(PartitionId(3), bytes));
}

// --- the leader's overlay -------------------------------------------------------------------------------

TEST(ProducerOverlay, appended_batches_count_and_are_gone_when_dropped) {
  ProducerTable table;
  ProducerOverlay overlay;
  table.apply(batch(0, 10, 0, 1));
  overlay.add(table, batch(10, 10, 0, 5));
  EXPECT_EQ(judge(overlay.find(table, batch(0, 1).key), batch(20, 1)).code, Errc::ok);
  const ProducerVerdict repeated = judge(overlay.find(table, batch(0, 1).key), batch(10, 10));
  ASSERT_EQ(repeated.code, Errc::already_exists);
  EXPECT_EQ(repeated.original->index, Index(5)) << "whoever repeats it waits for the original's commit";
  overlay.clear();
  EXPECT_EQ(judge(overlay.find(table, batch(0, 1).key), batch(10, 10)).code, Errc::ok);
}

TEST(ProducerOverlay, holds_a_producer_until_its_last_batch_is_committed) {
  ProducerTable table;
  ProducerOverlay overlay(1);
  overlay.add(table, batch(0, 10, 0, 5));
  overlay.add(table, batch(10, 10, 0, 6));
  ProducerBatch other = batch(0, 1, 0, 7);
  other.key.producer = 78;
  EXPECT_FALSE(overlay.has_room(other.key));
  EXPECT_TRUE(overlay.has_room(batch(20, 1).key));
  table.apply(batch(0, 10, 0, 5));
  overlay.committed(batch(0, 1).key, Index(5));
  EXPECT_EQ(overlay.size(), 1u);
  table.apply(batch(10, 10, 0, 6));
  overlay.committed(batch(0, 1).key, Index(6));
  EXPECT_EQ(overlay.size(), 0u);
  EXPECT_EQ(judge(overlay.find(table, batch(0, 1).key), batch(10, 10)).code, Errc::already_exists);
}

}  // namespace
}  // namespace esc::replica
