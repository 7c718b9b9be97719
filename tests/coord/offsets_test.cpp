// Offsets: who may commit them, how long they live, how they end.
#include "world.h"

namespace esc::coord::test {
namespace {

constexpr std::int64_t kDayMs = 86'400'000;

std::string subscription(const std::vector<std::string>& topics) {
  std::string bytes{0, 1, 0, 0, 0, static_cast<char>(topics.size())};
  for (const std::string& topic : topics) {
    bytes += '\0';
    bytes += static_cast<char>(topic.size());
    bytes += topic;
  }
  return bytes;
}

TEST(Commit, is_answered_when_it_is_committed) {
  World world;
  world.held = true;
  const Token asked = world.commit("g", -1, "", {{0, 42}});
  EXPECT_FALSE(world.answered(asked));
  world.commit_all();
  EXPECT_EQ(world.code(asked), ErrorCode::none);
  EXPECT_EQ(world.offset("g", 0), 42);
  EXPECT_EQ(world.phase("g"), Phase::empty);
}

TEST(Commit, follows_the_table) {
  World world;
  EXPECT_EQ(world.code(world.commit("none", 3, "m", {{0, 1}})), ErrorCode::illegal_generation);
  EXPECT_EQ(world.code(world.commit("", -1, "", {{0, 1}})), ErrorCode::invalid_group_id);
  const auto ids = world.stable_group("g", 1);
  EXPECT_EQ(world.code(world.commit("g", 1, ids[0], {{0, 1}})), ErrorCode::none);
  EXPECT_EQ(world.code(world.commit("g", 0, ids[0], {{0, 0}})), ErrorCode::illegal_generation);
  EXPECT_EQ(world.code(world.commit("g", 2, ids[0], {{0, 0}})), ErrorCode::illegal_generation);
  EXPECT_EQ(world.code(world.commit("g", 1, "stranger", {{0, 0}})), ErrorCode::unknown_member_id);
  EXPECT_EQ(world.code(world.commit("g", -1, "", {{0, 0}})), ErrorCode::unknown_member_id);
  const Token joining = world.join("g", {.version = 3});
  EXPECT_EQ(world.phase("g"), Phase::preparing);
  EXPECT_EQ(world.code(world.commit("g", 1, ids[0], {{0, 2}})), ErrorCode::none);
  (void)world.join("g", {.member = ids[0]});
  EXPECT_EQ(world.code(joining), ErrorCode::none);
  EXPECT_EQ(world.phase("g"), Phase::completing);
  EXPECT_EQ(world.code(world.commit("g", 2, ids[0], {{0, 3}})), ErrorCode::rebalance_in_progress);
  EXPECT_EQ(world.offset("g", 0), 2);
}

TEST(Commit, of_a_fenced_static_member_is_refused) {
  World world;
  const Token a = world.join("g", {.instance = "one"});
  const std::string old = world.answer(a).member_id;
  (void)world.sync("g", old, 1, {}, "one");
  (void)world.join("g", {.instance = "one"});
  CommitRequest request;
  request.group = "g";
  request.generation = 1;
  request.member = old;
  request.instance = "one";
  request.offsets.push_back({.topic = "t", .topic_id = {}, .offset = 1, .metadata = ""});
  world.coordinator.commit(900, request, world.now);
  world.pump();
  EXPECT_EQ(world.code(900), ErrorCode::fenced_instance_id);
}

TEST(Commit, keeps_a_session_alive) {
  World world;
  const auto ids = world.stable_group("g", 1);
  for (int i = 0; i < 4; ++i) {
    world.pass(6 * kSecond);
    EXPECT_EQ(world.code(world.commit("g", 1, ids[0], {{0, i}})), ErrorCode::none);
  }
}

TEST(Commit, over_the_memory_of_the_coordinator_is_refused) {
  World world({.initial_rebalance_delay = 0, .state_bytes_max = 2048});
  ErrorCode code = ErrorCode::none;
  std::int32_t taken = 0;
  for (; taken < 100 && code == ErrorCode::none; ++taken)
    code = world.code(world.commit("g", -1, "", {{taken, 1}}));
  EXPECT_EQ(code, ErrorCode::invalid_commit_offset_size);
  EXPECT_GT(taken, 5);
  EXPECT_LT(taken, 30);
}

TEST(Commit, for_a_topic_created_anew_forgets_the_old_one_s_offsets) {
  World world;
  CommitRequest request;
  request.group = "g";
  request.offsets = {{.topic = "t", .topic_id = {}, .partition = 0, .offset = 7, .metadata = ""},
                     {.topic = "t", .topic_id = {}, .partition = 1, .offset = 8, .metadata = ""}};
  world.coordinator.commit(900, request, world.now);
  request.offsets.pop_back();
  request.offsets[0].topic_id.bytes[3] = std::byte{1};
  request.offsets[0].offset = 1;
  world.coordinator.commit(901, request, world.now);
  world.pump();
  EXPECT_EQ(world.offset("g", 0), 1);
  EXPECT_EQ(world.offset("g", 1), -1);
}

TEST(Retention, offsets_of_a_group_with_members_stay) {
  World world;
  const auto ids = world.stable_group("g", 1);
  (void)world.commit("g", 1, ids[0], {{0, 1}});
  world.wall_ms += 30 * kDayMs;
  for (int i = 0; i < 200; ++i) {
    world.pass(5 * kSecond);
    (void)world.heartbeat("g", ids[0], 1);
  }
  EXPECT_EQ(world.offset("g", 0), 1);
}

TEST(Retention, counts_from_the_day_the_group_became_empty) {
  World world;
  const auto ids = world.stable_group("g", 1);
  (void)world.commit("g", 1, ids[0], {{0, 1}});
  world.wall_ms += 10 * kDayMs;
  (void)world.leave("g", ids[0]);
  world.wall_ms += 6 * kDayMs;
  world.pass(700 * kSecond);
  EXPECT_EQ(world.offset("g", 0), 1);
  world.wall_ms += 2 * kDayMs;
  world.pass(700 * kSecond);
  EXPECT_EQ(world.offset("g", 0), -1);
  EXPECT_EQ(world.coordinator.state().find("g"), nullptr);
  EXPECT_EQ(world.replay().find("g"), nullptr);
}

TEST(Retention, offsets_without_a_group_count_from_their_commit) {
  World world;
  (void)world.commit("g", -1, "", {{0, 1}});
  world.wall_ms += 4 * kDayMs;
  (void)world.commit("g", -1, "", {{1, 2}});
  world.wall_ms += 4 * kDayMs;
  world.pass(700 * kSecond);
  EXPECT_EQ(world.offset("g", 0), -1);
  EXPECT_EQ(world.offset("g", 1), 2);
}

TEST(Delete, only_an_empty_group_can_be_deleted) {
  World world;
  const auto ids = world.stable_group("g", 1);
  (void)world.commit("g", 1, ids[0], {{0, 1}});
  const auto remove = [&](std::string_view group) {
    world.coordinator.remove_group(++world.token, group, world.now);
    world.pump();
    return world.code(world.token);
  };
  EXPECT_EQ(remove("g"), ErrorCode::non_empty_group);
  EXPECT_EQ(remove("nothing"), ErrorCode::group_id_not_found);
  EXPECT_EQ(remove(""), ErrorCode::invalid_group_id);
  (void)world.leave("g", ids[0]);
  EXPECT_EQ(remove("g"), ErrorCode::none);
  EXPECT_EQ(world.phase("g"), Phase::dead);
  EXPECT_EQ(world.offset("g", 0), -1);
}

TEST(Forget, offsets_of_topics_that_members_read_are_kept) {
  World world;
  const std::string id = world.new_id("g");
  (void)world.join("g", {.member = id, .protocols = {{"range", subscription({"read"})}}});
  (void)world.sync("g", id, 1, {});
  (void)world.commit("g", 1, id, {{0, 1}}, "read");
  (void)world.commit("g", 1, id, {{0, 2}}, "left");
  std::vector<ErrorCode> codes;
  world.coordinator.forget_offsets(++world.token, "g", {{"read", 0}, {"left", 0}}, codes);
  world.pump();
  EXPECT_EQ(world.code(world.token), ErrorCode::none);
  EXPECT_EQ(codes, (std::vector{ErrorCode::group_subscribed_to_topic, ErrorCode::none}));
  EXPECT_EQ(world.offset("g", 0, "read"), 1);
  EXPECT_EQ(world.offset("g", 0, "left"), -1);
  world.coordinator.forget_offsets(++world.token, "nothing", {{"read", 0}}, codes);
  world.pump();
  EXPECT_EQ(world.code(world.token), ErrorCode::group_id_not_found);
}

TEST(Forget, members_of_another_kind_of_group_keep_all_their_offsets) {
  World world;
  (void)world.join("g", {.version = 3, .type = "connect"});
  std::vector<ErrorCode> codes;
  world.coordinator.forget_offsets(++world.token, "g", {{"t", 0}}, codes);
  world.pump();
  EXPECT_EQ(world.code(world.token), ErrorCode::non_empty_group);
}

TEST(Forget, a_deleted_topic_s_offsets_go) {
  World world;
  (void)world.commit("g", -1, "", {{0, 1}, {1, 2}});
  world.coordinator.forget_topic("g", "t");
  world.pump();
  EXPECT_EQ(world.offset("g", 0), -1);
  EXPECT_EQ(world.offset("g", 1), -1);
}

TEST(State, survives_a_checkpoint_byte_for_byte) {
  World world;
  const auto ids = world.stable_group("g", 3);
  (void)world.commit("g", 1, ids[0], {{0, 1}, {5, 9}});
  (void)world.join("static", {.instance = "one"});
  std::vector<std::byte> saved;
  world.coordinator.save(saved);
  State loaded;
  ASSERT_TRUE(loaded.load(saved).has_value());
  std::vector<std::byte> again;
  loaded.save(again);
  EXPECT_EQ(saved, again);
  EXPECT_EQ(loaded.bytes(), world.coordinator.state().bytes());
  // What is replayed above the checkpoint has been seen.
  loaded.apply(Index(1), world.wall_ms, world.log[0]);
  again.clear();
  loaded.save(again);
  EXPECT_EQ(saved, again);
}

TEST(State, of_a_damaged_checkpoint_is_refused) {
  World world;
  (void)world.stable_group("g", 2);
  std::vector<std::byte> saved;
  world.coordinator.save(saved);
  for (std::size_t bytes = 0; bytes < saved.size(); ++bytes) {
    State loaded;
    EXPECT_FALSE(loaded.load(ByteView(saved).first(bytes)).has_value()) << bytes;
  }
}

TEST(Command, cut_anywhere_is_no_command) {
  World world;
  const auto ids = world.stable_group("g", 2);
  (void)world.commit("g", 1, ids[0], {{0, 1}, {1, 2}});
  for (const auto& command : world.log) {
    EXPECT_TRUE(valid_command(command));
    for (std::size_t bytes = 0; bytes < command.size(); ++bytes)
      EXPECT_FALSE(valid_command(ByteView(command).first(bytes)));
  }
}

}  // namespace
}  // namespace esc::coord::test
