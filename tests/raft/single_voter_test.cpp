// A group of one: the path every single-node deployment takes.
#include <gtest/gtest.h>

#include <cstdint>
#include <memory>

#include "esc/raft/core.h"

namespace esc::raft {
namespace {

Restored fresh() {
  Restored restored;
  restored.configuration.voters.push_back(NodeId(1));
  return restored;
}

struct Single {
  explicit Single(const Restored& restored = fresh(), const Config& config = {.node = NodeId(1)})
      : core(std::make_unique<Core>(config, restored)) {}

  // Everything handed out so far becomes durable.
  void make_durable() {
    effects.clear();
    core->persisted(core->mark(), effects);
  }
  void elect() {
    core->tick(1, effects);
    make_durable();  // the vote
    make_durable();  // the no-op
    effects.clear();
  }

  std::unique_ptr<Core> core;
  Effects effects;
};

TEST(SingleVoter, leads_only_after_its_own_vote_is_durable) {
  Single node;
  node.core->tick(5 * kSecond, node.effects);
  EXPECT_EQ(node.core->role(), Role::candidate);
  ASSERT_TRUE(node.effects.hard_state.has_value());
  EXPECT_EQ(*node.effects.hard_state, (HardState{Term(1), NodeId(1)}));
  ASSERT_TRUE(node.effects.mark.has_value());
  EXPECT_FALSE(node.effects.leadership && node.effects.leadership->is_leader);
  const WriteMark vote = *node.effects.mark;

  node.effects.clear();
  node.core->persisted(vote, node.effects);
  EXPECT_TRUE(node.core->is_leader());
  ASSERT_TRUE(node.effects.leadership.has_value());
  EXPECT_TRUE(node.effects.leadership->is_leader);
  EXPECT_EQ(node.effects.leadership->term, Term(1));
  EXPECT_EQ(node.effects.leadership->noop_index, Index(1));
  ASSERT_EQ(node.effects.log_writes.size(), 1u);
  EXPECT_EQ(node.effects.log_writes[0].kind, EntryKind::noop);
  EXPECT_FALSE(node.effects.commit.has_value());
}

TEST(SingleVoter, commits_the_noop_once_it_is_durable) {
  Single node;
  node.core->tick(1, node.effects);
  node.make_durable();
  EXPECT_EQ(node.core->commit_index(), Index(0));
  node.make_durable();
  ASSERT_TRUE(node.effects.commit.has_value());
  EXPECT_EQ(*node.effects.commit, Index(1));
}

TEST(SingleVoter, proposals_of_a_turn_are_one_write_and_commit_when_durable) {
  Single node;
  node.elect();
  EXPECT_EQ(node.core->propose({.count = 3, .bytes = 300}, node.effects), Index(2));
  EXPECT_EQ(node.core->propose({.count = 2, .bytes = 200}, node.effects), Index(5));
  ASSERT_EQ(node.effects.log_writes.size(), 1u);
  EXPECT_EQ(node.effects.log_writes[0].kind, EntryKind::proposal);
  EXPECT_EQ(node.effects.log_writes[0].first, Index(2));
  EXPECT_EQ(node.effects.log_writes[0].last, Index(6));
  EXPECT_FALSE(node.effects.commit.has_value());
  EXPECT_TRUE(node.effects.messages.empty());
  const WriteMark mark = *node.effects.mark;
  node.effects.clear();
  node.core->persisted(mark, node.effects);
  EXPECT_EQ(node.effects.commit, Index(6));
}

TEST(SingleVoter, marks_may_be_skipped_and_repeated) {
  Single node;
  node.elect();
  ASSERT_TRUE(node.core->propose({.count = 1, .bytes = 10}, node.effects).has_value());
  const WriteMark first = *node.effects.mark;
  node.effects.clear();
  ASSERT_TRUE(node.core->propose({.count = 1, .bytes = 10}, node.effects).has_value());
  const WriteMark second = *node.effects.mark;
  node.effects.clear();
  node.core->persisted(second, node.effects);
  EXPECT_EQ(node.effects.commit, Index(3));
  node.effects.clear();
  node.core->persisted(first, node.effects);
  node.core->persisted(second, node.effects);
  EXPECT_FALSE(node.effects.commit.has_value());
  EXPECT_EQ(node.core->commit_index(), Index(3));
}

TEST(SingleVoter, refuses_proposals_while_it_does_not_lead) {
  Single node;
  EXPECT_EQ(node.core->propose({.count = 1, .bytes = 1}, node.effects), std::unexpected(Errc::not_leader));
  EXPECT_EQ(node.core->read_index(7, node.effects),
            (std::expected<void, Errc>(std::unexpected(Errc::not_leader))));
}

TEST(SingleVoter, pushes_back_when_too_much_is_uncommitted) {
  Config config{.node = NodeId(1)};
  config.limits.uncommitted_bytes_max = 1000;
  Single node(fresh(), config);
  node.elect();
  ASSERT_TRUE(node.core->propose({.count = 1, .bytes = 5000}, node.effects).has_value());  // alone: any size
  EXPECT_EQ(node.core->propose({.count = 1, .bytes = 1}, node.effects), std::unexpected(Errc::busy));
  node.make_durable();
  EXPECT_TRUE(node.core->propose({.count = 1, .bytes = 900}, node.effects).has_value());
  EXPECT_EQ(node.core->propose({.count = 1, .bytes = 101}, node.effects), std::unexpected(Errc::busy));
}

TEST(SingleVoter, answers_reads_at_once_after_the_noop) {
  Single node;
  node.core->tick(1, node.effects);
  node.make_durable();
  EXPECT_EQ(node.core->read_index(1, node.effects).error(), Errc::busy);
  node.make_durable();
  ASSERT_TRUE(node.core->read_index(2, node.effects).has_value());
  ASSERT_EQ(node.effects.reads.size(), 1u);
  EXPECT_EQ(node.effects.reads[0].request, 2u);
  EXPECT_EQ(node.effects.reads[0].index, Index(1));
}

TEST(SingleVoter, restarts_in_a_later_term_and_recommits_its_whole_log_with_the_noop) {
  const TermRun runs[] = {{Index(11), Term(2)}, {Index(20), Term(3)}};
  Restored restored = fresh();
  restored.hard_state = {Term(3), NodeId(1)};
  restored.snapshot_index = Index(10);
  restored.snapshot_term = Term(2);
  restored.runs = runs;
  restored.last_index = Index(25);
  restored.commit = Index(12);
  restored.applied = Index(12);
  Single node(restored);
  node.core->tick(kSecond, node.effects);
  node.make_durable();
  ASSERT_TRUE(node.effects.leadership.has_value());
  EXPECT_EQ(node.effects.leadership->term, Term(4));
  EXPECT_EQ(node.effects.leadership->noop_index, Index(26));
  EXPECT_EQ(node.core->commit_index(), Index(12));  // old entries are durable, but not committed by counting
  node.make_durable();
  EXPECT_EQ(node.effects.commit, Index(26));
}

TEST(SingleVoter, compaction_follows_what_is_applied) {
  Single node;
  node.elect();
  ASSERT_TRUE(node.core->propose({.count = 9, .bytes = 90}, node.effects).has_value());
  node.make_durable();
  node.core->applied(Index(10));
  node.core->compacted(Index(6));
  EXPECT_EQ(node.core->log().snapshot_index(), Index(6));
  EXPECT_EQ(node.core->log().term_at(Index(6)), Term(1));
  EXPECT_EQ(node.core->log().term_at(Index(5)), Term(0));
  node.effects.clear();
  EXPECT_EQ(node.core->propose({.count = 1, .bytes = 90}, node.effects), Index(11));
}

TEST(SingleVoter, has_no_timers_while_it_leads) {
  Single node;
  node.elect();
  EXPECT_GT(node.core->next_deadline(), 1000LL * 3600 * kSecond);
  node.core->tick(3600 * kSecond, node.effects);
  EXPECT_TRUE(node.core->is_leader());
  EXPECT_FALSE(node.effects.mark.has_value());
}

}  // namespace
}  // namespace esc::raft
