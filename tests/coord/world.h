// One coordinator with a log that commits at once, or when told to.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "esc/coord/coordinator.h"

namespace esc::coord::test {

using wire::ErrorCode;

inline constexpr std::int32_t kSessionMs = 10'000;
inline constexpr std::int32_t kRebalanceMs = 30'000;

struct JoinOptions {
  std::string member;
  std::optional<std::string> instance;
  std::int16_t version = 9;
  std::string type = "consumer";
  std::vector<std::pair<std::string, std::string>> protocols = {{"range", "topics"}};
  std::int32_t session_ms = kSessionMs;
  std::int32_t rebalance_ms = kRebalanceMs;
  std::string client = "c";
};

struct World {
  explicit World(const Options& options = {.initial_rebalance_delay = 0})
      : coordinator(options), options_(options) {
    coordinator.became_leader(now);
  }

  // --- the log ---
  void pump() {
    while (const auto* command = coordinator.proposal()) {
      log.push_back(*command);
      times.push_back(wall_ms);
      coordinator.proposed(Index(log.size()));
    }
    if (!held) commit_all();
    collect();
  }
  void commit_all() {
    while (committed < log.size()) {
      commit_one();
    }
    collect();
  }
  void commit_one() {
    ++committed;
    coordinator.committed(Index(committed), times[committed - 1], log[committed - 1], now);
  }
  void collect() {
    for (Answer& answer : coordinator.take_answers()) {
      EXPECT_FALSE(answers.contains(answer.token)) << "answered twice";
      answers[answer.token] = std::move(answer);
    }
  }
  // What the log says, as another node would have it.
  [[nodiscard]] State replay() const {
    State state;
    for (std::size_t i = 0; i < committed; ++i) state.apply(Index(i + 1), times[i], log[i]);
    return state;
  }
  // This leader is gone; another node, with the same log, takes over.
  void fail_over() {
    coordinator.lost_leadership();
    collect();
    log.resize(committed);
    times.resize(committed);
    std::vector<std::byte> saved;
    coordinator.save(saved);
    coordinator = Coordinator(options_);
    ASSERT_TRUE(coordinator.load(saved).has_value());
    coordinator.became_leader(now);
  }

  // --- time ---
  void pass(Nanos duration) {
    const Nanos end = now + duration;
    while (now < end) {
      now = std::min(end, std::max(coordinator.next_deadline(), now + 1));
      coordinator.tick(now, wall_ms);
      pump();
    }
  }

  // --- requests ---
  Token join(std::string_view group, const JoinOptions& wanted = {}) {
    wire::JoinGroupRequest request;
    std::vector<wire::JoinGroupRequest::Protocol> protocols;
    for (const auto& [name, metadata] : wanted.protocols) protocols.push_back({name, as_bytes(metadata)});
    request.group_id = group;
    request.session_timeout_ms = wanted.session_ms;
    request.rebalance_timeout_ms = wanted.rebalance_ms;
    request.member_id = wanted.member;
    if (wanted.instance) request.group_instance_id = *wanted.instance;
    request.protocol_type = wanted.type;
    request.protocols = protocols;
    const std::string unique = std::to_string(++uniques);
    const JoinContext context{wanted.version, wanted.client, "host", unique};
    coordinator.join(++token, request, context, now);
    pump();
    return token;
  }
  // With an id of its own, as clients do from v4 on.
  std::string new_id(std::string_view group, JoinOptions wanted = {}) {
    const Token asked = join(group, wanted);
    EXPECT_EQ(code(asked), ErrorCode::member_id_required);
    return answers.at(asked).member_id;
  }
  Token join_new(std::string_view group, JoinOptions wanted = {}) {
    if (!wanted.instance) wanted.member = new_id(group, wanted);
    return join(group, wanted);
  }
  Token sync(std::string_view group, const std::string& member, std::int32_t generation,
             const std::map<std::string, std::string>& assignments = {},
             std::optional<std::string> instance = std::nullopt) {
    wire::SyncGroupRequest request;
    std::vector<wire::SyncGroupRequest::Assignment> assigned;
    for (const auto& [id, what] : assignments) assigned.push_back({id, as_bytes(what)});
    request.group_id = group;
    request.generation_id = generation;
    request.member_id = member;
    if (instance) request.group_instance_id = *instance;
    request.assignments = assigned;
    coordinator.sync(++token, request, now);
    pump();
    return token;
  }
  ErrorCode heartbeat(std::string_view group, const std::string& member, std::int32_t generation,
                      std::optional<std::string> instance = std::nullopt) {
    wire::HeartbeatRequest request;
    request.group_id = group;
    request.generation_id = generation;
    request.member_id = member;
    if (instance) request.group_instance_id = *instance;
    const ErrorCode result = coordinator.heartbeat(request, now);
    pump();
    return result;
  }
  ErrorCode leave(std::string_view group, const std::string& member,
                  std::optional<std::string> instance = std::nullopt) {
    wire::LeaveGroupRequest request;
    std::vector<wire::LeaveGroupRequest::Member> members(1);
    members[0].member_id = member;
    if (instance) members[0].group_instance_id = *instance;
    request.group_id = group;
    request.members = members;
    std::vector<ErrorCode> codes;
    const ErrorCode all = coordinator.leave(request, 5, codes, now);
    pump();
    return all != ErrorCode::none ? all : codes.at(0);
  }
  Token commit(std::string_view group, std::int32_t generation, const std::string& member,
               const std::map<std::int32_t, std::int64_t>& offsets, std::string_view topic = "t") {
    CommitRequest request;
    request.group = group;
    request.generation = generation;
    request.member = member;
    for (const auto& [partition, offset] : offsets)
      request.offsets.push_back(
          {.topic = topic, .topic_id = {}, .partition = partition, .offset = offset, .metadata = ""});
    coordinator.commit(++token, request, now);
    pump();
    return token;
  }
  [[nodiscard]] std::int64_t offset(std::string_view group, std::int32_t partition,
                                    std::string_view topic = "t") const {
    const StoredGroup* stored = coordinator.state().find(group);
    if (stored == nullptr) return -1;
    const auto offsets = stored->topics.find(topic);
    if (offsets == stored->topics.end()) return -1;
    const auto found = offsets->second.partitions.find(partition);
    return found == offsets->second.partitions.end() ? -1 : found->second.offset;
  }

  [[nodiscard]] bool answered(Token asked) const { return answers.contains(asked); }
  [[nodiscard]] ErrorCode code(Token asked) const {
    return answered(asked) ? answers.at(asked).code : ErrorCode::unknown_server_error;
  }
  [[nodiscard]] const Answer& answer(Token asked) const { return answers.at(asked); }
  [[nodiscard]] std::string assignment(Token asked) const {
    const auto& bytes = answers.at(asked).assignment;
    return std::string(as_text(ByteView(bytes)));
  }
  [[nodiscard]] Phase phase(std::string_view group) const { return coordinator.describe(group).phase; }

  // A stable group: ids by order of joining, the first one leads.
  std::vector<std::string> stable_group(std::string_view group, std::size_t members) {
    std::vector<std::string> ids;
    std::vector<Token> joins;
    for (std::size_t i = 0; i < members; ++i) ids.push_back(new_id(group));
    for (const std::string& id : ids) joins.push_back(join(group, {.member = id}));
    const std::int32_t generation = answer(joins[0]).generation;
    std::map<std::string, std::string> assignments;
    for (const std::string& id : ids) assignments[id] = "for " + id;
    for (const std::string& id : ids) {
      if (id != answer(joins[0]).leader) (void)sync(group, id, generation);
    }
    (void)sync(group, answer(joins[0]).leader, generation, assignments);
    EXPECT_EQ(phase(group), Phase::stable);
    return ids;
  }
  [[nodiscard]] std::int32_t generation(std::string_view group) const {
    return coordinator.describe(group).generation;
  }

  Coordinator coordinator;
  std::vector<std::vector<std::byte>> log;
  std::vector<WallMs> times;
  std::size_t committed = 0;
  bool held = false;  // commits wait
  std::map<Token, Answer> answers;
  Nanos now = kSecond;
  WallMs wall_ms = 1'700'000'000'000;
  Token token = 0;
  int uniques = 0;

 private:
  Options options_;
};

}  // namespace esc::coord::test
