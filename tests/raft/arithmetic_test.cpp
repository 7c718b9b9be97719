// The small exact parts against naive twins: quorum, term runs, sizes, configurations.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "esc/base/prng.h"
#include "esc/raft/configuration.h"
#include "esc/raft/log_sizes.h"
#include "esc/raft/progress.h"
#include "esc/raft/quorum.h"
#include "esc/raft/term_runs.h"

namespace esc::raft {
namespace {

// The largest value v such that more than half of the voters are at v or above, by trying all.
std::uint64_t naive_majority(const VoterValues& values) {
  std::uint64_t best = 0;
  for (const std::uint64_t candidate : values) {
    std::size_t at_least = 0;
    for (const std::uint64_t value : values) at_least += value >= candidate ? 1 : 0;
    if (2 * at_least > values.size() && candidate > best) best = candidate;
  }
  return best;
}

TEST(Quorum, agrees_with_its_naive_twin) {
  Prng prng(7);
  for (int round = 0; round < 20000; ++round) {
    VoterValues values;
    const std::uint64_t count = prng.below(kVotersMax + 1);
    for (std::uint64_t i = 0; i < count; ++i) values.push_back(prng.below(6));
    ASSERT_EQ(majority_value(values), naive_majority(values));
  }
}

TEST(Quorum, nobody_agrees_on_nothing) {
  EXPECT_EQ(majority_value({}), 0u);
}

TEST(Quorum, two_majorities_of_neighbouring_configurations_share_a_member) {
  // Dissertation 4.1, the reason for changing one member at a time.
  for (std::size_t voters = 1; voters < kVotersMax; ++voters) {
    const std::size_t before = voters / 2 + 1;
    const std::size_t after = (voters + 1) / 2 + 1;
    EXPECT_GT(before + after, voters + 1);
  }
}

TEST(TermRuns, agree_with_a_plain_array_of_terms) {
  Prng prng(11);
  for (int run = 0; run < 200; ++run) {
    TermRuns log(Index(0), Term(0), {}, Index(0));
    std::vector<std::uint64_t> naive = {0};  // by index, absolute
    std::uint64_t snapshot = 0;
    for (int step = 0; step < 60; ++step) {
      const std::uint64_t last = naive.size() - 1;
      switch (prng.below(4)) {
        case 0:
        case 1: {
          const std::uint64_t term = naive.back() + (naive.size() == 1 ? 1 : prng.below(3));
          const std::uint64_t count = 1 + prng.below(5);
          log.append(Index(last + count), Term(term));
          naive.insert(naive.end(), count, term);
          break;
        }
        case 2:
          if (last > snapshot && prng.chance(1, 2)) {
            const std::uint64_t from = snapshot + 1 + prng.below(last - snapshot);
            log.truncate(Index(from));
            naive.resize(from);
          }
          break;
        default:
          if (last > snapshot && prng.chance(1, 4)) {
            snapshot += 1 + prng.below(last - snapshot);
            log.compact(Index(snapshot));
          }
      }
      ASSERT_EQ(log.last_index().value(), naive.size() - 1);
      ASSERT_EQ(log.last_term().value(), naive.back());
      for (std::uint64_t i = snapshot; i < naive.size(); ++i)
        ASSERT_EQ(log.term_at(Index(i)).value(), naive[i]);
      for (std::uint64_t i = snapshot + 1; i < naive.size(); ++i) {
        std::uint64_t end = i;
        while (end + 1 < naive.size() && naive[end + 1] == naive[i]) ++end;
        ASSERT_EQ(log.run_end(Index(i)).value(), end);
        const std::uint64_t term = prng.below(naive.back() + 2);
        std::uint64_t found = i;
        while (found > snapshot && naive[found] > term) --found;
        if (found == snapshot && found > 0 && naive[found] > term) --found;
        ASSERT_EQ(log.last_at_or_below(Index(i), Term(term)).value(), found);
      }
    }
  }
}

TEST(TermRuns, a_reset_log_starts_after_the_snapshot) {
  TermRuns log(Index(0), Term(0), {}, Index(0));
  log.append(Index(9), Term(1));
  log.reset(Index(20), Term(3));
  EXPECT_EQ(log.last_index(), Index(20));
  EXPECT_EQ(log.last_term(), Term(3));
  EXPECT_TRUE(log.matches(Index(20), Term(3)));
  EXPECT_FALSE(log.matches(Index(9), Term(1)));
}

TEST(LogSizes, ranges_end_where_proposals_end) {
  const auto sizes = std::make_unique<LogSizes>(Index(0), 100);
  sizes->append(Index(4), 400);
  sizes->append(Index(6), 100);
  sizes->append(Index(10), 1000);
  const auto range = sizes->take(Index(0), Index(10), 500, 100);
  EXPECT_EQ(range.last, Index(6));
  EXPECT_EQ(range.bytes, 500u);
  EXPECT_EQ(sizes->take(Index(0), Index(10), 499, 100).last, Index(4));
  EXPECT_EQ(sizes->take(Index(0), Index(10), 1, 1).last, Index(4));      // a whole one at the least
  EXPECT_EQ(sizes->take(Index(6), Index(10), 10, 100).bytes, 1000u);     //
  EXPECT_EQ(sizes->take(Index(5), Index(10), 10, 100).last, Index(6));   // from inside a proposal to its end
  EXPECT_EQ(sizes->take(Index(0), Index(3), 9999, 100).last, Index(3));  // the caller's bound holds
}

TEST(LogSizes, what_is_forgotten_is_estimated) {
  const auto sizes = std::make_unique<LogSizes>(Index(50), 100);
  sizes->append(Index(60), 10);
  const auto old = sizes->take(Index(10), Index(60), 1000, 4096);
  EXPECT_EQ(old.last, Index(20));
  EXPECT_EQ(old.bytes, 1000u);
  EXPECT_EQ(sizes->take(Index(45), Index(60), 1000, 4096).last, Index(50));
  for (std::uint64_t i = 1; i <= 2 * LogSizes::kCapacity; ++i) sizes->append(Index(60 + i), 10);
  EXPECT_EQ(sizes->take(Index(60), Index(100), 1000, 4).last, Index(64));
}

TEST(LogSizes, uncommitted_bytes_agree_with_a_naive_sum) {
  Prng prng(3);
  const auto sizes = std::make_unique<LogSizes>(Index(0), 10);
  std::map<std::uint64_t, std::uint64_t> proposals;  // last index -> bytes
  std::uint64_t last = 0;
  std::uint64_t commit = 0;
  for (int step = 0; step < 20000; ++step) {
    const auto dice = prng.below(10);
    if (dice < 5 && !sizes->full_of_uncommitted()) {
      last += 1 + prng.below(3);
      proposals[last] = prng.below(100);
      sizes->append(Index(last), proposals[last]);
    } else if (dice < 9) {
      const auto next = proposals.upper_bound(commit);
      if (next == proposals.end()) continue;
      commit = next->first;
      sizes->commit(Index(commit));
    } else if (last > commit) {
      const auto victim = std::prev(proposals.end())->first;  // truncation at a proposal's start
      if (victim <= commit) continue;
      proposals.erase(victim);
      const std::uint64_t keep = proposals.empty() ? 0 : std::prev(proposals.end())->first;
      sizes->truncate(Index(keep + 1));
      last = keep;
    }
    std::uint64_t sum = 0;
    for (auto at = proposals.upper_bound(commit); at != proposals.end(); ++at) sum += at->second;
    ASSERT_EQ(sizes->uncommitted_bytes(), sum);
  }
}

TEST(Inflight, frees_what_has_arrived_and_counts_the_rest) {
  Inflight inflight;
  for (std::uint64_t round = 0; round < 100; ++round) {
    inflight.push(Index(3 * round + 1), 10);
    inflight.push(Index(3 * round + 2), 20);
    inflight.push(Index(3 * round + 3), 30);
    inflight.free_up_to(Index(3 * round + 2));
    EXPECT_EQ(inflight.count(), 1u);
    EXPECT_EQ(inflight.bytes(), 30u);
    inflight.free_up_to(Index(3 * round + 3));
    EXPECT_EQ(inflight.bytes(), 0u);
  }
}

Configuration three() {
  Configuration configuration;
  for (std::uint32_t id = 1; id <= 3; ++id) configuration.voters.push_back(NodeId(id));
  return configuration;
}

TEST(ConfigurationChange, a_voter_starts_as_a_learner) {
  EXPECT_EQ(change(three(), {ChangeKind::promote, NodeId(4)}).error(), Errc::invalid_argument);
  const auto with_learner = change(three(), {ChangeKind::add_learner, NodeId(4)});
  ASSERT_TRUE(with_learner.has_value());
  EXPECT_TRUE(with_learner->is_learner(NodeId(4)));
  EXPECT_EQ(with_learner->majority(), 2u);
  const auto promoted = change(*with_learner, {ChangeKind::promote, NodeId(4)});
  ASSERT_TRUE(promoted.has_value());
  EXPECT_TRUE(promoted->is_voter(NodeId(4)));
  EXPECT_EQ(promoted->majority(), 3u);
}

TEST(ConfigurationChange, nonsense_is_refused) {
  EXPECT_EQ(change(three(), {ChangeKind::add_learner, NodeId(1)}).error(), Errc::invalid_argument);
  EXPECT_EQ(change(three(), {ChangeKind::remove, NodeId(9)}).error(), Errc::invalid_argument);
  EXPECT_EQ(change(three(), {ChangeKind::add_learner, NodeId(0)}).error(), Errc::invalid_argument);
  Configuration one;
  one.voters.push_back(NodeId(1));
  EXPECT_EQ(change(one, {ChangeKind::remove, NodeId(1)}).error(), Errc::invalid_argument);
  Configuration crowded = three();
  for (std::uint32_t id = 10; id < 10 + kLearnersMax; ++id) crowded.learners.push_back(NodeId(id));
  EXPECT_EQ(change(crowded, {ChangeKind::add_learner, NodeId(50)}).error(), Errc::too_large);
}

TEST(Configuration, whoever_comes_back_with_other_data_starts_as_a_learner) {
  Configuration from = three();
  for (const NodeId node : from.voters) from.set_incarnation(node, Incarnation(100 + node.value()));
  const auto to = change(from, {ChangeKind::replace, NodeId(2), Incarnation(9)});
  ASSERT_TRUE(to.has_value());
  EXPECT_TRUE(to->is_learner(NodeId(2)));
  EXPECT_FALSE(to->is_voter(NodeId(2)));
  EXPECT_EQ(to->incarnation_of(NodeId(2)), Incarnation(9));
  EXPECT_EQ(to->incarnation_of(NodeId(1)), Incarnation(101));
  const auto again = change(*to, {ChangeKind::replace, NodeId(2), Incarnation(10)});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->learners.size(), 1u);
  EXPECT_EQ(again->incarnation_of(NodeId(2)), Incarnation(10));
  const auto voter = change(*again, {ChangeKind::promote, NodeId(2)});
  ASSERT_TRUE(voter.has_value());
  EXPECT_EQ(voter->incarnation_of(NodeId(2)), Incarnation(10)) << "a promotion keeps it";
  EXPECT_EQ(change(*voter, {ChangeKind::remove, NodeId(2)})->incarnation_of(NodeId(2)), Incarnation(0));
  EXPECT_EQ(change(from, {ChangeKind::replace, NodeId(2), Incarnation(102)}).error(), Errc::invalid_argument);
  EXPECT_EQ(change(from, {ChangeKind::replace, NodeId(8), Incarnation(1)}).error(), Errc::invalid_argument);
  Configuration one;
  one.voters.push_back(NodeId(1));
  EXPECT_EQ(change(one, {ChangeKind::replace, NodeId(1), Incarnation(1)}).error(), Errc::invalid_argument);
}

TEST(ConfigurationLog, truncation_brings_the_previous_one_back) {
  ConfigurationLog log(three(), Index(0));
  const Configuration four = *change(three(), {ChangeKind::add_learner, NodeId(4)});
  log.append(Index(7), four);
  EXPECT_EQ(log.current(), four);
  EXPECT_EQ(log.next_after(Index(6)), Index(7));
  EXPECT_EQ(log.next_after(Index(7)), Index(0));
  EXPECT_EQ(log.in_force_at(Index(6)), three());
  EXPECT_TRUE(log.truncate(Index(7)));
  EXPECT_EQ(log.current(), three());
  EXPECT_FALSE(log.truncate(Index(3)));
}

TEST(ConfigurationLog, compaction_keeps_the_one_in_force) {
  ConfigurationLog log(three(), Index(0));
  const Configuration four = *change(three(), {ChangeKind::add_learner, NodeId(4)});
  log.append(Index(7), four);
  log.append(Index(9), three());
  log.compact(Index(8));
  EXPECT_EQ(log.in_force_at(Index(8)), four);
  EXPECT_EQ(log.next_after(Index(0)), Index(9));
  EXPECT_EQ(log.at(Index(7)), nullptr);  // now the snapshot's business
}

}  // namespace
}  // namespace esc::raft
