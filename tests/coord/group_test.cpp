// Kafka's classic group protocol, one line of its table after the other.
#include "world.h"

namespace esc::coord::test {
namespace {

TEST(Join, a_new_dynamic_member_is_given_an_id_first) {
  World world;
  const Token first = world.join("g");
  EXPECT_EQ(world.code(first), ErrorCode::member_id_required);
  EXPECT_EQ(world.answer(first).member_id, "c-1");
  const Token second = world.join("g", {.member = "c-1"});
  EXPECT_EQ(world.code(second), ErrorCode::none);
  EXPECT_EQ(world.answer(second).generation, 1);
  EXPECT_EQ(world.answer(second).leader, "c-1");
  EXPECT_EQ(world.answer(second).protocol_name, "range");
  ASSERT_EQ(world.answer(second).members.size(), 1U);
}

TEST(Join, before_version_4_a_member_joins_at_once) {
  World world;
  EXPECT_EQ(world.code(world.join("g", {.version = 3})), ErrorCode::none);
}

TEST(Join, an_id_that_nobody_was_given_is_unknown) {
  World world;
  EXPECT_EQ(world.code(world.join("g", {.member = "stranger"})), ErrorCode::unknown_member_id);
  world.stable_group("g", 1);
  EXPECT_EQ(world.code(world.join("g", {.member = "stranger"})), ErrorCode::unknown_member_id);
}

TEST(Join, an_id_that_is_not_used_is_forgotten_after_the_session_timeout) {
  World world;
  const std::string id = world.new_id("g");
  world.pass(Nanos{kSessionMs} * kMillisecond);
  EXPECT_EQ(world.code(world.join("g", {.member = id})), ErrorCode::unknown_member_id);
  EXPECT_EQ(world.phase("g"), Phase::dead);
}

TEST(Join, a_member_that_was_given_an_id_is_waited_for) {
  World world;
  const std::string a = world.new_id("g");
  const std::string b = world.new_id("g");
  const Token first = world.join("g", {.member = a});
  EXPECT_FALSE(world.answered(first));
  const Token second = world.join("g", {.member = b});
  EXPECT_EQ(world.answer(first).generation, 1);
  EXPECT_EQ(world.answer(second).generation, 1);
  EXPECT_EQ(world.answer(first).members.size(), 2U);  // it leads
  EXPECT_TRUE(world.answer(second).members.empty());
}

TEST(Join, session_timeouts_outside_the_limits_are_refused) {
  World world;
  EXPECT_EQ(world.code(world.join("g", {.session_ms = 5'999})), ErrorCode::invalid_session_timeout);
  EXPECT_EQ(world.code(world.join("g", {.session_ms = 1'800'001})), ErrorCode::invalid_session_timeout);
  EXPECT_EQ(world.code(world.join("g", {.session_ms = 6'000})), ErrorCode::member_id_required);
  EXPECT_EQ(world.code(world.join("g", {.session_ms = 1'800'000})), ErrorCode::member_id_required);
}

TEST(Join, without_a_common_protocol_a_member_is_refused) {
  World world;
  world.stable_group("g", 1);
  EXPECT_EQ(world.code(world.join("g", {.protocols = {{"sticky", ""}}})),
            ErrorCode::inconsistent_group_protocol);
  EXPECT_EQ(world.code(world.join("g", {.type = "connect"})), ErrorCode::inconsistent_group_protocol);
  EXPECT_EQ(world.code(world.join("new", {.protocols = {}})), ErrorCode::inconsistent_group_protocol);
  EXPECT_EQ(world.code(world.join("new", {.type = ""})), ErrorCode::inconsistent_group_protocol);
}

TEST(Join, the_protocol_is_what_most_members_like_best_of_what_all_know) {
  World world;
  const std::string a = world.new_id("g");
  const std::string b = world.new_id("g");
  const std::string c = world.new_id("g");
  const Token first =
      world.join("g", {.member = a, .protocols = {{"alone", ""}, {"range", ""}, {"sticky", ""}}});
  (void)world.join("g", {.member = b, .protocols = {{"sticky", ""}, {"range", ""}}});
  (void)world.join("g", {.member = c, .protocols = {{"sticky", ""}, {"range", ""}}});
  EXPECT_EQ(world.answer(first).protocol_name, "sticky");
}

TEST(Join, a_full_group_takes_nobody_else) {
  World world({.initial_rebalance_delay = 0, .group_members_max = 2});
  world.stable_group("g", 2);
  EXPECT_EQ(world.code(world.join("g", {.version = 3})), ErrorCode::group_max_size_reached);
}

TEST(Join, metadata_that_would_not_fit_one_command_is_refused) {
  World world({.initial_rebalance_delay = 0, .command_bytes_max = 4096});
  EXPECT_EQ(world.code(world.join("g", {.version = 3, .protocols = {{"range", std::string(3000, 'x')}}})),
            ErrorCode::group_max_size_reached);
}

TEST(Join, the_first_join_waits_for_others_and_longer_while_they_come) {
  World world(Options{});
  const std::string a = world.new_id("g");
  const Token first = world.join("g", {.member = a});
  world.pass(2 * kSecond);
  const Token second = world.join("g", {.version = 3});
  world.pass(2 * kSecond);
  EXPECT_FALSE(world.answered(first));  // somebody came within the first three seconds
  world.pass(2 * kSecond);
  EXPECT_EQ(world.answer(first).generation, 1);
  EXPECT_EQ(world.answer(second).generation, 1);
}

TEST(Join, a_known_member_with_the_same_metadata_gets_the_current_generation) {
  World world;
  const auto ids = world.stable_group("g", 2);
  const std::string leader = world.coordinator.describe("g").leader;
  const std::string follower = leader == ids[0] ? ids[1] : ids[0];
  const Token again = world.join("g", {.member = follower});
  EXPECT_EQ(world.code(again), ErrorCode::none);
  EXPECT_EQ(world.answer(again).generation, world.generation("g"));
  EXPECT_EQ(world.phase("g"), Phase::stable);
}

TEST(Join, a_leader_that_joins_again_begins_a_rebalance_and_so_does_changed_metadata) {
  World world;
  const auto ids = world.stable_group("g", 2);
  const std::string leader = world.coordinator.describe("g").leader;
  (void)world.join("g", {.member = leader});
  EXPECT_EQ(world.phase("g"), Phase::preparing);
  World other;
  const auto more = other.stable_group("g", 2);
  const std::string follower = other.coordinator.describe("g").leader == more[0] ? more[1] : more[0];
  (void)other.join("g", {.member = follower, .protocols = {{"range", "other topics"}}});
  EXPECT_EQ(other.phase("g"), Phase::preparing);
}

TEST(Join, while_the_assignment_is_awaited_the_same_join_is_answered_again) {
  World world;
  const std::string a = world.new_id("g");
  const Token first = world.join("g", {.member = a});
  const Token again = world.join("g", {.member = a});
  EXPECT_EQ(world.answer(again).generation, world.answer(first).generation);
  EXPECT_EQ(world.answer(again).members.size(), 1U);
  (void)world.join("g", {.member = a, .protocols = {{"range", "changed"}}});
  EXPECT_EQ(world.generation("g"), 2);
}

TEST(Rebalance, who_does_not_come_back_in_time_is_out) {
  World world;
  const auto ids = world.stable_group("g", 2);
  const Token third = world.join_new("g");
  EXPECT_EQ(world.phase("g"), Phase::preparing);
  EXPECT_EQ(world.heartbeat("g", ids[0], 1), ErrorCode::rebalance_in_progress);
  const Token first = world.join("g", {.member = ids[0]});
  for (int i = 0; i < 6; ++i) {
    world.pass(5 * kSecond);
    (void)world.heartbeat("g", ids[1], 1);
  }
  EXPECT_EQ(world.answer(first).generation, 2);
  EXPECT_EQ(world.answer(third).generation, 2);
  EXPECT_EQ(world.heartbeat("g", ids[1], 1), ErrorCode::unknown_member_id);
  EXPECT_EQ(world.coordinator.describe("g").members.size(), 2U);
}

TEST(Rebalance, who_does_not_sync_in_time_is_out) {
  World world;
  const std::string a = world.new_id("g");
  const std::string b = world.new_id("g");
  const Token first = world.join("g", {.member = a});
  (void)world.join("g", {.member = b});
  const std::string leader = world.answer(first).leader;
  const std::string other = leader == a ? b : a;
  const Token waiting = world.sync("g", other, 1);
  for (int i = 0; i < 6; ++i) {
    world.pass(5 * kSecond);
    EXPECT_EQ(world.heartbeat("g", leader, 1), i < 5 ? ErrorCode::none : ErrorCode::unknown_member_id);
  }
  EXPECT_EQ(world.code(waiting), ErrorCode::rebalance_in_progress);
  EXPECT_EQ(world.phase("g"), Phase::preparing);
}

TEST(Sync, an_assignment_is_handed_out_only_when_it_is_committed) {
  World world;
  const std::string a = world.new_id("g");
  (void)world.join("g", {.member = a});
  world.held = true;
  const Token waiting = world.sync("g", a, 1, {{a, "everything"}});
  EXPECT_FALSE(world.answered(waiting));
  EXPECT_EQ(world.phase("g"), Phase::completing);
  world.commit_all();
  EXPECT_EQ(world.assignment(waiting), "everything");
  EXPECT_EQ(world.phase("g"), Phase::stable);
  EXPECT_EQ(world.replay().find("g")->members.at(a).assignment.size(), 10U);
}

TEST(Sync, follows_the_table) {
  World world;
  EXPECT_EQ(world.code(world.sync("nothing", "m", 1)), ErrorCode::unknown_member_id);
  const auto ids = world.stable_group("g", 2);
  EXPECT_EQ(world.assignment(world.sync("g", ids[1], 1)), "for " + ids[1]);
  EXPECT_EQ(world.code(world.sync("g", ids[1], 2)), ErrorCode::illegal_generation);
  EXPECT_EQ(world.code(world.sync("g", "stranger", 1)), ErrorCode::unknown_member_id);
  (void)world.join_new("g");
  EXPECT_EQ(world.code(world.sync("g", ids[1], 1)), ErrorCode::rebalance_in_progress);
}

TEST(Sync, another_protocol_than_the_group_s_is_refused) {
  World world;
  const auto ids = world.stable_group("g", 1);
  wire::SyncGroupRequest request;
  request.group_id = "g";
  request.generation_id = 1;
  request.member_id = ids[0];
  request.protocol_name = "sticky";
  world.coordinator.sync(900, request, world.now);
  request.protocol_name.reset();
  request.protocol_type = "connect";
  world.coordinator.sync(901, request, world.now);
  world.pump();
  EXPECT_EQ(world.code(900), ErrorCode::inconsistent_group_protocol);
  EXPECT_EQ(world.code(901), ErrorCode::inconsistent_group_protocol);
}

TEST(Sync, a_rebalance_before_the_commit_takes_the_assignment_back) {
  World world;
  const std::string a = world.new_id("g");
  (void)world.join("g", {.member = a});
  world.held = true;
  const Token waiting = world.sync("g", a, 1, {{a, "everything"}});
  (void)world.join("g", {.version = 3});
  EXPECT_EQ(world.code(waiting), ErrorCode::rebalance_in_progress);
  world.commit_all();
  EXPECT_EQ(world.phase("g"), Phase::preparing);
}

TEST(Sync, offsets_on_their_way_do_not_hold_up_the_assignment) {
  World world;
  const auto ids = world.stable_group("g", 1);
  world.held = true;
  const Token offsets = world.commit("g", 1, ids[0], {{0, 5}});
  (void)world.join("g", {.member = ids[0]});
  const Token waiting = world.sync("g", ids[0], 2, {{ids[0], "again"}});
  world.commit_all();
  EXPECT_EQ(world.code(offsets), ErrorCode::none);
  EXPECT_EQ(world.assignment(waiting), "again");
}

TEST(Heartbeat, follows_the_table) {
  World world;
  EXPECT_EQ(world.heartbeat("nothing", "m", 1), ErrorCode::unknown_member_id);
  const std::string a = world.new_id("g");
  (void)world.join("g", {.member = a});
  EXPECT_EQ(world.heartbeat("g", a, 1), ErrorCode::none);  // completing
  (void)world.sync("g", a, 1, {});
  EXPECT_EQ(world.heartbeat("g", a, 1), ErrorCode::none);  // stable
  EXPECT_EQ(world.heartbeat("g", a, 0), ErrorCode::illegal_generation);
  EXPECT_EQ(world.heartbeat("g", "stranger", 1), ErrorCode::unknown_member_id);
  EXPECT_EQ(world.heartbeat("", a, 1), ErrorCode::invalid_group_id);
}

TEST(Heartbeat, without_it_a_member_is_out_after_its_session_timeout) {
  World world;
  const auto ids = world.stable_group("g", 2);
  world.pass(6 * kSecond);
  EXPECT_EQ(world.heartbeat("g", ids[0], 1), ErrorCode::none);
  world.pass(6 * kSecond);
  EXPECT_EQ(world.heartbeat("g", ids[0], 1), ErrorCode::rebalance_in_progress);
  EXPECT_EQ(world.heartbeat("g", ids[1], 1), ErrorCode::unknown_member_id);
  EXPECT_EQ(world.coordinator.stats().members_expired, 1U);
}

TEST(Leave, the_others_rebalance_and_the_last_one_leaves_an_empty_group) {
  World world;
  const auto ids = world.stable_group("g", 2);
  EXPECT_EQ(world.leave("g", ids[0]), ErrorCode::none);
  EXPECT_EQ(world.phase("g"), Phase::preparing);
  EXPECT_EQ(world.leave("g", ids[0]), ErrorCode::unknown_member_id);
  EXPECT_EQ(world.leave("g", ids[1]), ErrorCode::none);
  EXPECT_EQ(world.phase("g"), Phase::empty);
  EXPECT_TRUE(world.replay().find("g")->members.empty());
  EXPECT_EQ(world.leave("nothing", "m"), ErrorCode::unknown_member_id);
}

TEST(Leave, who_only_has_an_id_may_leave_too) {
  World world;
  const std::string a = world.new_id("g");
  const std::string b = world.new_id("g");
  const Token first = world.join("g", {.member = a});
  EXPECT_EQ(world.leave("g", b), ErrorCode::none);
  EXPECT_EQ(world.code(first), ErrorCode::none);
}

// --- static members
// ---------------------------------------------------------------------------------------------

struct StaticGroup : World {
  StaticGroup() {
    const Token a = join("g", {.instance = "one"});
    ids.push_back(answer(a).member_id);
    (void)sync("g", ids[0], 1, {{ids[0], "all"}}, "one");
    const Token b = join("g", {.instance = "two"});
    const Token again = join("g", {.member = ids[0], .instance = "one"});
    ids.push_back(answer(b).member_id);
    leader = answer(again).leader;
    (void)sync("g", ids[1], 2, {}, "two");
    (void)sync("g", ids[0], 2, {{ids[0], "left"}, {ids[1], "right"}}, "one");
  }
  std::vector<std::string> ids;
  std::string leader;
};

TEST(StaticMember, joins_without_being_asked_to_come_again) {
  StaticGroup world;
  EXPECT_EQ(world.phase("g"), Phase::stable);
  EXPECT_EQ(world.leader, world.ids[0]);
  EXPECT_EQ(world.generation("g"), 2);
}

TEST(StaticMember, comes_back_with_a_new_id_and_without_a_rebalance) {
  StaticGroup world;
  const Token back = world.join("g", {.instance = "two"});
  EXPECT_EQ(world.code(back), ErrorCode::none);
  EXPECT_EQ(world.answer(back).generation, 2);
  EXPECT_EQ(world.answer(back).leader, world.ids[0]);
  const std::string id = world.answer(back).member_id;
  EXPECT_NE(id, world.ids[1]);
  EXPECT_EQ(world.phase("g"), Phase::stable);
  EXPECT_EQ(world.assignment(world.sync("g", id, 2, {}, "two")), "right");
  EXPECT_TRUE(world.replay().find("g")->members.contains(id));
  EXPECT_EQ(world.heartbeat("g", world.ids[1], 2, "two"), ErrorCode::fenced_instance_id);
  EXPECT_EQ(world.code(world.sync("g", world.ids[1], 2, {}, "two")), ErrorCode::fenced_instance_id);
  EXPECT_EQ(world.code(world.join("g", {.member = world.ids[1], .instance = "two"})),
            ErrorCode::fenced_instance_id);
  EXPECT_EQ(world.leave("g", world.ids[1], "two"), ErrorCode::fenced_instance_id);
}

TEST(StaticMember, a_leader_that_comes_back_skips_the_assignment_from_version_9_on) {
  StaticGroup world;
  const Token back = world.join("g", {.instance = "one"});
  EXPECT_TRUE(world.answer(back).skip_assignment);
  EXPECT_EQ(world.answer(back).leader, world.answer(back).member_id);
  EXPECT_EQ(world.answer(back).members.size(), 2U);
}

TEST(StaticMember, before_version_9_a_leader_that_comes_back_is_not_told_that_it_leads) {
  StaticGroup world;
  const Token back = world.join("g", {.instance = "one", .version = 8});
  EXPECT_FALSE(world.answer(back).skip_assignment);
  EXPECT_EQ(world.answer(back).leader, world.ids[0]);
  EXPECT_TRUE(world.answer(back).members.empty());
}

TEST(StaticMember, the_rebalance_comes_when_the_protocol_changes_with_it) {
  StaticGroup world;
  (void)world.join("g", {.instance = "two", .protocols = {{"sticky", ""}, {"range", ""}}});
  EXPECT_EQ(world.phase("g"), Phase::stable);  // range is still what both know
  World other;
  const Token a = other.join("g", {.instance = "one", .protocols = {{"range", ""}, {"sticky", ""}}});
  (void)other.sync("g", other.answer(a).member_id, 1, {}, "one");
  (void)other.join("g", {.instance = "one", .protocols = {{"sticky", ""}, {"range", ""}}});
  EXPECT_EQ(other.generation("g"), 2);
}

TEST(StaticMember, stays_in_the_group_while_it_is_away_for_less_than_its_session) {
  StaticGroup world;
  world.pass(9 * kSecond);
  EXPECT_EQ(world.phase("g"), Phase::stable);
  world.pass(2 * kSecond);
  EXPECT_EQ(world.phase("g"), Phase::empty);
}

TEST(StaticMember, is_removed_by_its_instance_alone) {
  StaticGroup world;
  EXPECT_EQ(world.leave("g", "", "two"), ErrorCode::none);
  EXPECT_EQ(world.coordinator.describe("g").members.size(), 1U);
  EXPECT_EQ(world.leave("g", "", "three"), ErrorCode::unknown_member_id);
}

TEST(StaticMember, a_second_process_with_the_instance_takes_over_a_parked_join) {
  StaticGroup world;
  (void)world.join("g", {.instance = "three"});
  const Token parked = world.join("g", {.member = world.ids[1], .instance = "two"});
  EXPECT_FALSE(world.answered(parked));
  (void)world.join("g", {.instance = "two"});
  EXPECT_EQ(world.code(parked), ErrorCode::fenced_instance_id);
}

// --- the coordinator moves
// -----------------------------------------------------------------------------------------

TEST(Failover, a_stable_group_goes_on_with_its_members_and_generation) {
  World world;
  const auto ids = world.stable_group("g", 3);
  world.pass(8 * kSecond);
  world.fail_over();
  EXPECT_EQ(world.phase("g"), Phase::stable);
  world.pass(8 * kSecond);  // sessions have begun anew
  for (const std::string& id : ids) EXPECT_EQ(world.heartbeat("g", id, 1), ErrorCode::none);
  EXPECT_EQ(world.assignment(world.sync("g", ids[2], 1)), "for " + ids[2]);
  EXPECT_EQ(world.coordinator.stats().rebalances, 0U);
}

TEST(Failover, parked_requests_are_sent_to_look_for_the_new_coordinator) {
  World world;
  const auto ids = world.stable_group("g", 2);
  const Token joining = world.join("g", {.version = 3});
  world.held = true;
  const Token offsets = world.commit("g", 1, ids[0], {{0, 5}});
  EXPECT_FALSE(world.answered(joining));
  world.fail_over();
  EXPECT_EQ(world.code(joining), ErrorCode::not_coordinator);
  EXPECT_EQ(world.code(offsets), ErrorCode::not_coordinator);
  EXPECT_EQ(world.offset("g", 0), -1);
}

TEST(Counts, are_of_the_groups_by_state_and_of_their_members) {
  World world;
  const auto groups = [&](Phase phase) {
    return world.coordinator.count().groups[static_cast<std::size_t>(phase)];
  };
  (void)world.commit("only-offsets", -1, "", {{0, 1}});
  world.stable_group("stable", 3);
  (void)world.commit("stable", -1, "", {{0, 1}});
  world.stable_group("moving", 2);
  (void)world.join("moving", {.version = 3});
  EXPECT_EQ(groups(Phase::empty), 1U);
  EXPECT_EQ(groups(Phase::stable), 1U);
  EXPECT_EQ(groups(Phase::preparing), 1U);
  EXPECT_EQ(groups(Phase::completing), 0U);
  EXPECT_EQ(world.coordinator.count().members, 6U);
  EXPECT_EQ(world.coordinator.stats().commits, 1U) << "the other one was refused";
  world.coordinator.lost_leadership();
  EXPECT_EQ(groups(Phase::empty) + groups(Phase::stable), 0U) << "another node counts them";
}

TEST(Failover, an_assignment_that_was_not_committed_was_never_given) {
  World world;
  const std::string a = world.new_id("g");
  (void)world.join("g", {.member = a});
  world.held = true;
  const Token waiting = world.sync("g", a, 1, {{a, "everything"}});
  world.fail_over();
  EXPECT_EQ(world.code(waiting), ErrorCode::not_coordinator);
  EXPECT_EQ(world.phase("g"), Phase::dead);
}

TEST(Failover, a_follower_refuses_everything) {
  World world;
  world.coordinator.lost_leadership();
  EXPECT_EQ(world.code(world.join("g")), ErrorCode::not_coordinator);
  EXPECT_EQ(world.code(world.sync("g", "m", 1)), ErrorCode::not_coordinator);
  EXPECT_EQ(world.heartbeat("g", "m", 1), ErrorCode::not_coordinator);
  EXPECT_EQ(world.leave("g", "m"), ErrorCode::not_coordinator);
  EXPECT_EQ(world.code(world.commit("g", -1, "", {{0, 1}})), ErrorCode::not_coordinator);
}

}  // namespace
}  // namespace esc::coord::test
