// The rules of the Raft paper ("In Search of an Understandable Consensus Algorithm", extended version)
// and of Ongaro's dissertation, in the order in which they are stated there.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "raft/cluster.h"

namespace esc::raft::testing {
namespace {

const NodeId k1(1);
const NodeId k2(2);
const NodeId k3(3);

// Three nodes, node 1 leads a term above 0, everything is durable and known.
class Paper : public ::testing::Test {
 protected:
  void elect(NodeId id) {
    for (int i = 0; i < 500 && cluster_->leader() != id; ++i) {
      cluster_->run(10 * kMillisecond);
      const NodeId leader = cluster_->leader();
      if (leader != NodeId(0) && leader != id) static_cast<void>(cluster_->transfer(leader, id));
    }
    cluster_->run(60 * kMillisecond);
    ASSERT_EQ(cluster_->leader(), id);
  }
  void build(const Cluster::Options& options = {}) { cluster_ = std::make_unique<Cluster>(options); }
  void TearDown() override { EXPECT_EQ(cluster_->failure(), ""); }

  Core& core(NodeId id) { return cluster_->core(id); }
  Term term() { return core(cluster_->leader()).term(); }
  // Messages in flight of one kind from one node to another.
  template <class Kind>
  std::vector<Kind> in_flight(NodeId from, NodeId to) {
    std::vector<Kind> found;
    for (const Packet& packet : cluster_->network()) {
      const auto* payload = std::get_if<Kind>(&packet.message.payload);
      if (payload != nullptr && packet.message.from == from && packet.message.to == to)
        found.push_back(*payload);
    }
    return found;
  }
  void inject(NodeId from, NodeId to, Term term, const Payload& payload, std::vector<Entry> entries = {}) {
    cluster_->inject({from, to, term, payload}, std::move(entries));
  }
  static AppendEntries append(std::uint64_t prev, std::uint64_t prev_term, std::uint32_t count,
                              std::uint64_t term, std::uint64_t commit = 0) {
    AppendEntries message;
    message.prev_index = Index(prev);
    message.prev_term = Term(prev_term);
    message.count = count;
    message.entries_term = Term(term);
    message.bytes = 100 * count;
    message.commit = Index(commit);
    return message;
  }
  static std::vector<Entry> entries(std::uint32_t count, std::uint64_t term,
                                    std::uint64_t first_payload = 1'000'000) {
    std::vector<Entry> list;
    for (std::uint32_t i = 0; i < count; ++i) list.push_back({Term(term), first_payload + i});
    return list;
  }

  std::unique_ptr<Cluster> cluster_;
};

// --- 5.1 Terms ----------------------------------------------------------------------------------

TEST_F(Paper, s51_a_server_that_sees_a_higher_term_moves_to_it) {
  build();
  inject(k2, k1, Term(7), Heartbeat{});
  EXPECT_EQ(core(k1).term(), Term(7));
  EXPECT_EQ(core(k1).leader(), k2);
}

TEST_F(Paper, s51_a_leader_that_sees_a_higher_term_steps_down) {
  build();
  elect(k1);
  inject(k2, k1, Term(99), AppendReply{});
  EXPECT_EQ(core(k1).role(), Role::follower);
  EXPECT_EQ(core(k1).term(), Term(99));
}

TEST_F(Paper, s51_a_stale_leader_is_told_the_term) {
  build();
  elect(k1);
  inject(k2, k1, Term(0), append(0, 0, 0, 0));
  ASSERT_EQ(in_flight<AppendReply>(k1, k2).size(), 1u);
  EXPECT_FALSE(in_flight<AppendReply>(k1, k2)[0].accepted);
  EXPECT_TRUE(core(k1).is_leader());
}

// --- 5.2 Leader election ------------------------------------------------------------------------

TEST_F(Paper, s52_servers_start_as_followers) {
  build();
  for (const NodeId id : {k1, k2, k3}) EXPECT_EQ(core(id).role(), Role::follower);
}

TEST_F(Paper, s52_a_follower_that_hears_nothing_for_an_election_timeout_asks_for_pre_votes) {
  build();
  cluster_->advance(400 * kMillisecond);  // a pause of the process: forgiven once
  cluster_->advance(50 * kMillisecond);
  EXPECT_EQ(core(k1).role(), Role::pre_candidate);
  EXPECT_EQ(core(k1).term(), Term(0));
  EXPECT_EQ(in_flight<VoteRequest>(k1, k2).size(), 1u);
}

TEST_F(Paper, s52_a_follower_that_hears_a_leader_stays_one) {
  build();
  for (int i = 0; i < 100; ++i) {
    inject(k2, k1, Term(1), Heartbeat{});
    cluster_->node(k2).core->applied(Index(0));
    cluster_->advance(10 * kMillisecond);
    EXPECT_EQ(core(k1).role(), Role::follower);
  }
}

TEST_F(Paper, s52_a_server_votes_once_per_term_first_come_first_served) {
  build();
  inject(k2, k1, Term(5), VoteRequest{});
  inject(k3, k1, Term(5), VoteRequest{});
  cluster_->finish_writes(k1);
  ASSERT_EQ(in_flight<VoteReply>(k1, k2).size(), 1u);
  EXPECT_TRUE(in_flight<VoteReply>(k1, k2)[0].granted);
  ASSERT_EQ(in_flight<VoteReply>(k1, k3).size(), 1u);
  EXPECT_FALSE(in_flight<VoteReply>(k1, k3)[0].granted);
}

TEST_F(Paper, s52_a_vote_is_answered_only_when_it_is_durable_and_survives_a_crash) {
  build();
  inject(k2, k1, Term(5), VoteRequest{});
  EXPECT_TRUE(in_flight<VoteReply>(k1, k2).empty());
  cluster_->finish_writes(k1);
  EXPECT_EQ(in_flight<VoteReply>(k1, k2).size(), 1u);
  cluster_->crash(k1);
  cluster_->restart(k1);
  inject(k3, k1, Term(5), VoteRequest{});
  cluster_->finish_writes(k1);
  ASSERT_EQ(in_flight<VoteReply>(k1, k3).size(), 1u);
  EXPECT_FALSE(in_flight<VoteReply>(k1, k3)[0].granted);
}

TEST_F(Paper, s52_a_vote_for_an_abandoned_term_is_never_answered) {
  build();
  inject(k2, k1, Term(5), VoteRequest{});
  inject(k3, k1, Term(6), VoteRequest{});
  cluster_->finish_writes(k1);
  EXPECT_TRUE(in_flight<VoteReply>(k1, k2).empty());
  EXPECT_EQ(in_flight<VoteReply>(k1, k3).size(), 1u);
}

TEST_F(Paper, s52_a_candidate_that_hears_the_leader_of_its_term_follows_it) {
  build();
  inject(k2, k1, Term(4), Heartbeat{});
  inject(k2, k1, Term(4), TimeoutNow{});
  ASSERT_EQ(core(k1).role(), Role::candidate);
  inject(k3, k1, core(k1).term(), Heartbeat{});
  EXPECT_EQ(core(k1).role(), Role::follower);
  EXPECT_EQ(core(k1).leader(), k3);
}

TEST_F(Paper, s52_election_timeouts_differ_between_rounds_and_nodes) {
  build();
  std::vector<Nanos> seen;
  cluster_->isolate(k1);
  cluster_->isolate(k2);
  for (int i = 0; i < 200; ++i) {
    cluster_->advance(10 * kMillisecond);
    for (const NodeId id : {k1, k2, k3}) seen.push_back(core(id).next_deadline() - cluster_->now());
  }
  std::sort(seen.begin(), seen.end());
  EXPECT_GT(std::unique(seen.begin(), seen.end()) - seen.begin(), 20);
}

// --- 5.3 Log replication ------------------------------------------------------------------------

TEST_F(Paper, s53_an_entry_is_committed_when_a_majority_has_it_durably) {
  build();
  elect(k1);
  const Index index = *cluster_->propose(k1);
  cluster_->deliver_all();
  EXPECT_LT(core(k1).commit_index(), index);  // received everywhere, durable nowhere
  cluster_->finish_writes(k2);
  cluster_->deliver_all();
  EXPECT_LT(core(k1).commit_index(), index);  // durable on one of three
  cluster_->finish_writes(k3);
  cluster_->deliver_all();
  EXPECT_EQ(core(k1).commit_index(), index);  // on two; the leader's own disk is not needed
  EXPECT_LT(core(k1).durable_index(), index);
}

TEST_F(Paper, s53_a_follower_rejects_entries_whose_predecessor_it_does_not_have) {
  build();
  inject(k2, k1, Term(3), append(5, 2, 1, 3), entries(1, 3));
  const auto replies = in_flight<AppendReply>(k1, k2);
  ASSERT_EQ(replies.size(), 1u);
  EXPECT_FALSE(replies[0].accepted);
  EXPECT_EQ(replies[0].hint_index, Index(0));
  EXPECT_EQ(core(k1).last_index(), Index(0));
}

TEST_F(Paper, s53_conflicting_entries_are_replaced_and_equal_ones_kept) {
  build();
  inject(k2, k1, Term(1), append(0, 0, 3, 1), entries(3, 1, 100));
  inject(k2, k1, Term(2), append(3, 1, 3, 2), entries(3, 2, 200));
  // From a later leader: entry 4 of term 2 is equal, what follows is of term 3.
  inject(k3, k1, Term(3), append(3, 1, 1, 2), entries(1, 2, 200));
  EXPECT_EQ(core(k1).last_index(), Index(6));  // an equal prefix truncates nothing
  inject(k3, k1, Term(3), append(4, 2, 1, 3), entries(1, 3, 300));
  EXPECT_EQ(core(k1).last_index(), Index(5));
  EXPECT_EQ(core(k1).log().term_at(Index(4)), Term(2));
  EXPECT_EQ(core(k1).log().term_at(Index(5)), Term(3));
}

TEST_F(Paper, s53_a_late_copy_of_an_old_message_truncates_nothing) {
  build();
  inject(k2, k1, Term(1), append(0, 0, 3, 1), entries(3, 1, 100));
  inject(k2, k1, Term(1), append(3, 1, 3, 1), entries(3, 1, 103));
  inject(k2, k1, Term(1), append(0, 0, 2, 1), entries(2, 1, 100));
  EXPECT_EQ(core(k1).last_index(), Index(6));
}

// The logs of figure 7: whatever the follower has, it ends up with the leader's log.
class Figure7 : public Paper, public ::testing::WithParamInterface<std::vector<std::uint64_t>> {};

TEST_P(Figure7, followers_of_every_kind_converge) {
  build();
  const auto fill = [&](NodeId id, const std::vector<std::uint64_t>& terms) {
    for (std::size_t i = 0; i < terms.size(); ++i) {
      const std::uint64_t before = i == 0 ? 0 : terms[i - 1];
      const NodeId from = id == k2 ? k3 : k2;
      // Payloads are a function of (index, term), as one leader per term would have made them.
      inject(from, id, Term(terms[i]), append(i, before, 1, terms[i]),
             entries(1, terms[i], 1000 * terms[i] + i));
    }
    cluster_->finish_writes(id);
  };
  const std::vector<std::uint64_t> leader = {1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
  fill(k1, leader);
  fill(k3, leader);
  fill(k2, GetParam());
  cluster_->network().clear();
  cluster_->run(2 * kSecond);
  const NodeId now = cluster_->leader();
  ASSERT_TRUE(now == k1 || now == k3);
  ASSERT_TRUE(cluster_->propose(now).has_value());
  cluster_->run(200 * kMillisecond);
  EXPECT_EQ(core(k2).last_index(), core(now).last_index());
  for (std::size_t i = 0; i < leader.size(); ++i)
    EXPECT_EQ(core(k2).log().term_at(Index(i + 1)), Term(leader[i]));
  cluster_->check_logs();
}

INSTANTIATE_TEST_SUITE_P(Raft, Figure7,
                         ::testing::Values(std::vector<std::uint64_t>{1, 1, 1, 4, 4, 5, 5, 6, 6},
                                           std::vector<std::uint64_t>{1, 1, 1, 4},
                                           std::vector<std::uint64_t>{1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},
                                           std::vector<std::uint64_t>{1, 1, 1, 4, 4, 4, 4},
                                           std::vector<std::uint64_t>{1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},
                                           std::vector<std::uint64_t>{}));

// --- 5.4 Safety ---------------------------------------------------------------------------------

TEST_F(Paper, s541_no_vote_for_a_candidate_with_a_less_complete_log) {
  build();
  inject(k2, k1, Term(3), append(0, 0, 4, 3), entries(4, 3));
  cluster_->finish_writes(k1);
  cluster_->network().clear();
  cluster_->unreachable(k1, k2);
  const auto asks = [&](std::uint64_t index, std::uint64_t log_term, std::uint64_t in_term) {
    inject(k3, k1, Term(in_term), VoteRequest{false, false, Index(index), Term(log_term)});
    cluster_->finish_writes(k1);
    const bool granted = in_flight<VoteReply>(k1, k3).back().granted;
    return granted;
  };
  EXPECT_FALSE(asks(9, 2, 10));  // longer, but an older last term
  EXPECT_FALSE(asks(3, 3, 11));  // same last term, shorter
  EXPECT_TRUE(asks(4, 3, 12));   // as complete
  EXPECT_TRUE(asks(1, 4, 13));   // shorter, but a newer last term
}

// Figure 8: an entry of an earlier term on a majority may still be replaced, so counting it is not enough.
TEST_F(Paper, s542_entries_of_earlier_terms_are_committed_only_through_one_of_the_current_term) {
  build();
  for (const NodeId id : {k1, k2}) {
    inject(k3, id, Term(1), append(0, 0, 1, 1), entries(1, 1, 10));
    inject(k3, id, Term(2), append(1, 1, 1, 2), entries(1, 2, 20));
    cluster_->finish_writes(id);
  }
  cluster_->network().clear();
  cluster_->isolate(k3);
  cluster_->unreachable(k1, k3);
  cluster_->unreachable(k2, k3);
  for (int i = 0; i < 20 && cluster_->leader() == NodeId(0); ++i) {
    cluster_->deliver_all();
    cluster_->finish_write(k1);
    cluster_->finish_write(k2);
  }
  const NodeId now = cluster_->leader();
  ASSERT_NE(now, NodeId(0));
  const NodeId other = now == k1 ? k2 : k1;
  // The other acknowledges everything below the no-op: on two of three, durable, and yet not committed.
  AppendReply reply;
  reply.accepted = true;
  reply.received = reply.durable = Index(2);
  inject(other, now, core(now).term(), reply);
  EXPECT_EQ(core(now).commit_index(), Index(0));
  cluster_->settle();
  EXPECT_EQ(core(now).commit_index(), Index(3));  // the no-op brings them all
}

// --- 5.5, 6.4 and durability --------------------------------------------------------------------

// Entries 2..3 of term 2 are written, truncated by term 3 and appended again, equal, by term 4, which had
// them from the leader of term 2. The first write's completion must not acknowledge the second.
TEST_F(Paper, s55_a_completion_that_a_truncation_overtook_acknowledges_nothing) {
  build();
  inject(k2, k1, Term(2), append(0, 0, 3, 2), entries(3, 2, 10));
  const WriteMark first = cluster_->node(k1).writes.back().mark;
  inject(k3, k1, Term(3), append(1, 2, 1, 3), entries(1, 3, 30));
  inject(k2, k1, Term(4), append(1, 2, 2, 2), entries(2, 2, 11));
  EXPECT_EQ(core(k1).last_index(), Index(3));
  EXPECT_EQ(core(k1).log().term_at(Index(3)), Term(2));
  Effects effects;
  core(k1).persisted(first, effects);
  EXPECT_EQ(core(k1).durable_index(), Index(0));
  EXPECT_TRUE(effects.messages.empty());
  cluster_->finish_writes(k1);
  EXPECT_EQ(core(k1).durable_index(), Index(3));
}

TEST_F(Paper, s55_an_acknowledgement_waits_for_the_term_to_be_durable_too) {
  build();
  inject(k2, k1, Term(1), append(0, 0, 2, 1), entries(2, 1));
  cluster_->finish_writes(k1);
  cluster_->network().clear();
  inject(k2, k1, Term(2), Heartbeat{});  // term 2 is not on disk yet
  inject(k2, k1, Term(2), append(0, 0, 2, 1), entries(2, 1));
  ASSERT_EQ(in_flight<AppendReply>(k1, k2).size(), 1u);
  EXPECT_EQ(in_flight<AppendReply>(k1, k2)[0].received, Index(2));
  EXPECT_EQ(in_flight<AppendReply>(k1, k2)[0].durable, Index(0));
  cluster_->finish_writes(k1);
  EXPECT_EQ(in_flight<AppendReply>(k1, k2).back().durable, Index(2));
}

TEST_F(Paper, s55_vote_requests_wait_for_the_own_vote_and_log_to_be_durable) {
  build();
  elect(k1);
  ASSERT_TRUE(cluster_->propose(k1).has_value());
  cluster_->deliver_all();
  inject(k1, k2, term(), TimeoutNow{});
  EXPECT_EQ(core(k2).role(), Role::candidate);
  EXPECT_TRUE(in_flight<VoteRequest>(k2, k3).empty());
  cluster_->finish_write(k2);  // the entries
  EXPECT_TRUE(in_flight<VoteRequest>(k2, k3).empty());
  cluster_->finish_write(k2);  // the vote
  EXPECT_EQ(in_flight<VoteRequest>(k2, k3).size(), 1u);
}

TEST_F(Paper, s55_a_peer_that_lost_acknowledged_entries_is_left_alone) {
  build();
  elect(k1);
  cluster_->settle();
  cluster_->observer = [](const Node&, const Effects&) {};
  Effects effects;
  effects.clear();
  core(k1).peer_connected(k2, effects);
  cluster_->advance(60 * kMillisecond);  // the next probe is sent in a later round than the acknowledgement
  effects.clear();
  core(k1).peer_connected(k2, effects);
  const auto& probe = std::get<AppendEntries>(effects.messages[0].payload);
  AppendReply rejection;
  rejection.rejected_prev = probe.prev_index;
  rejection.round = probe.round;
  effects.clear();
  core(k1).message({k2, k1, core(k1).term(), rejection}, effects);
  EXPECT_EQ(effects.regressed_peer, k2);
  EXPECT_TRUE(core(k1).is_leader());
  effects.clear();
  ASSERT_TRUE(core(k1).propose({1, 100}, effects).has_value());
  for (const Message& message : effects.messages) EXPECT_NE(message.to, k2);
}

// --- 6 Membership, dissertation 4 ---------------------------------------------------------------

TEST_F(Paper, s6_a_change_waits_for_the_noop_of_the_term) {
  build();
  elect(k1);
  ASSERT_TRUE(cluster_->transfer(k1, k2).has_value());
  for (int i = 0; i < 50 && cluster_->leader() != k2; ++i) {
    cluster_->deliver_all();
    cluster_->finish_write(k2);
    cluster_->finish_write(k3);
  }
  ASSERT_EQ(cluster_->leader(), k2);
  ASSERT_LT(core(k2).commit_index(), core(k2).last_index());
  EXPECT_EQ(cluster_->change(k2, {ChangeKind::add_learner, NodeId(9)}).error(), Errc::busy);
}

TEST_F(Paper, s6_a_learner_neither_votes_nor_counts) {
  build();
  elect(k1);
  cluster_->add_node(NodeId(4));
  ASSERT_TRUE(cluster_->change(k1, {ChangeKind::add_learner, NodeId(4)}).has_value());
  cluster_->settle();
  cluster_->cut(k1, k2);
  cluster_->cut(k1, k3);
  const Index before = core(k1).commit_index();
  ASSERT_TRUE(cluster_->propose(k1).has_value());
  cluster_->settle();
  EXPECT_EQ(core(NodeId(4)).last_index(), core(k1).last_index());
  EXPECT_EQ(core(k1).commit_index(), before);
  for (int i = 0; i < 100; ++i) {
    cluster_->advance(10 * kMillisecond);
    EXPECT_EQ(core(NodeId(4)).role(), Role::follower);
  }
}

// A leader that the learner cannot hear may follow; whoever needs the leader must be told that it is unknown.
TEST_F(Paper, s6_a_learner_forgets_a_leader_that_is_silent) {
  build();
  elect(k1);
  cluster_->add_node(NodeId(4));
  ASSERT_TRUE(cluster_->change(k1, {ChangeKind::add_learner, NodeId(4)}).has_value());
  cluster_->run(200 * kMillisecond);
  ASSERT_EQ(core(NodeId(4)).leader(), k1);
  cluster_->isolate(NodeId(4));
  cluster_->run(kSecond);
  EXPECT_EQ(core(NodeId(4)).leader(), NodeId(0));
  EXPECT_EQ(core(NodeId(4)).role(), Role::follower);
}

TEST_F(Paper, s6_a_learner_is_promoted_only_when_it_has_caught_up) {
  Cluster::Options options;
  options.limits.promote_lag_entries_max = 5;
  build(options);
  elect(k1);
  ASSERT_TRUE(cluster_->propose(k1, 20).has_value());
  cluster_->settle();
  ASSERT_TRUE(cluster_->change(k1, {ChangeKind::add_learner, NodeId(4)}).has_value());
  cluster_->settle();  // node 4 does not run yet
  EXPECT_EQ(cluster_->change(k1, {ChangeKind::promote, NodeId(4)}).error(), Errc::busy);
  cluster_->add_node(NodeId(4));
  cluster_->run(200 * kMillisecond);
  EXPECT_TRUE(cluster_->change(k1, {ChangeKind::promote, NodeId(4)}).has_value());
}

// Blueprint, Raft: a replaced disk never counts as what the old one had acknowledged.
TEST_F(Paper, s6_what_another_incarnation_had_acknowledged_is_forgotten) {
  build();
  elect(k1);
  ASSERT_TRUE(cluster_->propose(k1, 5).has_value());
  cluster_->settle();
  const auto progress = [&] { return *std::ranges::find(core(k1).peers(), k3, &Progress::node); };
  ASSERT_GE(progress().match, Index(5));
  cluster_->isolate(k3);
  ASSERT_TRUE(cluster_->change(k1, {ChangeKind::replace, k3, Incarnation(9)}).has_value());
  cluster_->settle();
  EXPECT_EQ(progress().match, Index(0));
  EXPECT_EQ(core(k1).commit_index(), core(k1).last_index()) << "two voters are left, both have it";
}

TEST_F(Paper, s6_a_truncated_change_is_undone) {
  build();
  elect(k1);
  cluster_->isolate(k1);
  ASSERT_TRUE(cluster_->change(k1, {ChangeKind::remove, k3}).has_value());
  EXPECT_EQ(core(k1).configuration().voters.size(), 2u);
  cluster_->run(kSecond);
  cluster_->heal();
  cluster_->run(kSecond);
  EXPECT_EQ(core(k1).configuration().voters.size(), 3u);
}

TEST_F(Paper, s6_a_server_that_hears_its_leader_ignores_vote_requests) {
  build();
  elect(k1);
  cluster_->run(60 * kMillisecond);
  const Term before = core(k2).term();
  const VoteRequest request{false, false, Index(1000), Term(1000)};
  inject(k3, k2, Term(1000), request);
  EXPECT_EQ(core(k2).term(), before);
  EXPECT_TRUE(in_flight<VoteReply>(k2, k3).empty());
}

// --- 7 Log compaction ---------------------------------------------------------------------------

TEST_F(Paper, s7_a_snapshot_that_a_follower_already_has_keeps_its_log) {
  build();
  elect(k1);
  ASSERT_TRUE(cluster_->propose(k1, 10).has_value());
  cluster_->deliver_all();
  cluster_->finish_writes(k2);
  const Index last = core(k2).last_index();
  ASSERT_LT(core(k2).commit_index(), Index(5));
  Effects effects;
  effects.clear();
  core(k2).snapshot_done({true, Index(5), core(k2).log().term_at(Index(5)), core(k2).configuration()},
                         effects);
  EXPECT_EQ(core(k2).last_index(), last);
  EXPECT_EQ(core(k2).commit_index(), Index(5));
  EXPECT_TRUE(effects.log_writes.empty());
}

TEST_F(Paper, s7_the_next_entries_follow_an_installed_snapshot) {
  build();
  elect(k1);
  cluster_->isolate(k3);
  ASSERT_TRUE(cluster_->propose(k1, 10).has_value());
  cluster_->settle();
  cluster_->compact(k1, Index(100));
  cluster_->heal();
  cluster_->run(100 * kMillisecond);
  ASSERT_TRUE(cluster_->node(k3).fetch.has_value());
  cluster_->finish_fetch(k3, true);
  ASSERT_TRUE(cluster_->propose(k1, 3).has_value());
  cluster_->run(100 * kMillisecond);
  EXPECT_EQ(core(k3).commit_index(), core(k1).last_index());
  EXPECT_GT(core(k3).log().snapshot_index(), Index(0));
}

// --- 8 Client interaction, dissertation 6.4 -----------------------------------------------------

TEST_F(Paper, s8_a_new_leader_appends_a_noop_at_once) {
  build();
  elect(k1);
  EXPECT_EQ(core(k1).log().last_term(), core(k1).term());
  EXPECT_EQ(core(k1).commit_index(), core(k1).last_index());
}

TEST_F(Paper, s8_a_read_needs_a_majority_that_answers_a_later_heartbeat) {
  build();
  elect(k1);
  std::size_t answers = 0;
  cluster_->observer = [&](const Node&, const Effects& effects) { answers += effects.reads.size(); };
  cluster_->advance(55 * kMillisecond);  // a round of heartbeats from before the request
  const std::deque<Packet> earlier = cluster_->network();
  ASSERT_FALSE(earlier.empty());
  ASSERT_TRUE(cluster_->read(k1, 1).has_value());
  cluster_->network() = earlier;  // the request's own round is lost
  cluster_->deliver_all();
  EXPECT_EQ(answers, 0u);
  cluster_->run(60 * kMillisecond);
  EXPECT_EQ(answers, 1u);
}

// --- dissertation 3.10, 9.6, 6.2 ----------------------------------------------------------------

TEST_F(Paper, d310_leadership_moves_to_a_target_with_the_whole_log) {
  build();
  elect(k1);
  ASSERT_TRUE(cluster_->propose(k1, 5).has_value());
  ASSERT_TRUE(cluster_->transfer(k1, k3).has_value());
  EXPECT_TRUE(in_flight<TimeoutNow>(k1, k3).empty());  // not before it has everything
  EXPECT_EQ(cluster_->propose(k1).error(), Errc::busy);
  cluster_->settle();
  EXPECT_EQ(cluster_->leader(), k3);
}

TEST_F(Paper, d310_a_leader_whose_disk_stalls_hands_leadership_over) {
  build();
  elect(k1);
  ASSERT_TRUE(cluster_->propose(k1).has_value());
  const auto settle_without_disk_1 = [&] {
    for (int i = 0; i < 4; ++i) {
      cluster_->deliver_all();
      cluster_->finish_writes(k2);
      cluster_->finish_writes(k3);
    }
  };
  settle_without_disk_1();
  EXPECT_EQ(core(k1).commit_index(), core(k1).last_index());  // the others suffice
  for (int i = 0; i < 45; ++i) {
    cluster_->advance(10 * kMillisecond);
    settle_without_disk_1();
  }
  EXPECT_NE(cluster_->leader(), k1);
  EXPECT_NE(cluster_->leader(), NodeId(0));
}

TEST_F(Paper, d96_a_partitioned_server_does_not_raise_its_term) {
  build();
  elect(k1);
  const Term before = core(k2).term();
  cluster_->isolate(k2);
  cluster_->run(3 * kSecond);
  EXPECT_EQ(core(k2).term(), before);
  cluster_->heal();
  cluster_->run(200 * kMillisecond);
  EXPECT_EQ(cluster_->leader(), k1);
}

TEST_F(Paper, d62_a_leader_without_a_majority_steps_down) {
  build();
  elect(k1);
  cluster_->isolate(k1);
  cluster_->run(500 * kMillisecond);
  EXPECT_FALSE(core(k1).is_leader());
}

TEST_F(Paper, a_paused_leader_gives_the_others_time_to_answer) {
  build();
  elect(k1);
  cluster_->advance(2 * kSecond);  // everybody was paused, as with SIGSTOP of the whole machine
  EXPECT_TRUE(core(k1).is_leader());
  cluster_->run(500 * kMillisecond);
  EXPECT_EQ(cluster_->leader(), k1);
}

TEST_F(Paper, a_broken_connection_to_the_leader_starts_a_pre_vote_at_once) {
  build();
  elect(k1);
  cluster_->unreachable(k2, k1);
  EXPECT_EQ(core(k2).role(), Role::pre_candidate);
  cluster_->settle();  // node 3 still hears the leader: nothing comes of it
  cluster_->run(100 * kMillisecond);
  EXPECT_EQ(cluster_->leader(), k1);
  EXPECT_EQ(core(k2).leader(), k1);
}

// The connections of the two survivors break at different moments: node 2 still hears the leader when node 3
// asks. Once node 2's breaks too, node 3, which it has refused, must not insist on its higher rank.
TEST_F(Paper, survivors_that_notice_at_different_times_elect_without_waiting_for_a_timeout) {
  build();
  elect(k1);
  cluster_->crash(k1);
  cluster_->unreachable(k3, k1);
  cluster_->settle();
  EXPECT_EQ(cluster_->leader(), NodeId(0));
  cluster_->unreachable(k2, k1);
  cluster_->settle();
  EXPECT_EQ(cluster_->leader(), k2);
}

TEST_F(Paper, a_node_that_is_not_electable_follows_and_votes_but_does_not_campaign) {
  build();
  elect(k1);
  core(k2).set_electable(false);
  cluster_->crash(k1);
  cluster_->unreachable(k2, k1);
  EXPECT_EQ(core(k2).role(), Role::follower);
  cluster_->run(kSecond);
  EXPECT_EQ(cluster_->leader(), k3);
}

// Silent death (no RST): the worst failover of many, with timers only.
TEST_F(Paper, a_silent_leader_is_replaced_within_one_election_timeout) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    Cluster::Options options;
    options.seed = seed;
    build(options);
    elect(k1);
    cluster_->run(static_cast<Nanos>(seed % 50) * kMillisecond, kMillisecond);
    cluster_->isolate(k1);
    const Nanos start = cluster_->now();
    while (cluster_->leader() == k1 && cluster_->now() - start < kSecond) {
      cluster_->advance(kMillisecond);
      cluster_->settle();
    }
    ASSERT_LE(cluster_->now() - start,
              options.timeouts.election_timeout_max + options.timeouts.heartbeat_interval)
        << "seed " << seed;
  }
}

}  // namespace
}  // namespace esc::raft::testing
