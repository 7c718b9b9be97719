// Clients that do what clients do, at random, against a coordinator whose commits lag, whose leader changes
// and loses what was not committed. After every step: one owner per partition and generation; nobody has an
// assignment that the log does not have; committed offsets follow the log's order and never regress; every
// request is answered at most once and, at the end, every one is.
#include <memory>

#include "esc/base/prng.h"
#include "world.h"

namespace esc::coord::test {
namespace {

constexpr std::int32_t kPartitions = 6;

struct Client {
  std::string member;
  std::optional<std::string> instance;
  std::int32_t generation = -1;
  Token joining = 0;
  Token syncing = 0;
  bool leads = false;
  std::vector<std::string> members;           // as its last join told the leader
  std::map<std::int32_t, std::int64_t> owns;  // partition to next offset
};

struct Random {
  explicit Random(std::uint64_t seed)
      : prng(seed), world({.initial_rebalance_delay = seed % 2 == 0 ? 0 : kSecond}) {
    world.held = true;
    for (std::size_t i = 0; i < 5; ++i) {
      auto& client = clients.emplace_back();
      if (i == 4 && seed % 3 == 0) client.instance = "static";
    }
  }

  void forget(Client& client) {
    const auto instance = client.instance;
    client = {};
    client.instance = instance;
  }

  void join(Client& client) {
    client.owns.clear();
    client.joining = world.join("g", {.member = client.member, .instance = client.instance});
    tokens.push_back(client.joining);
  }

  // Everybody gets partitions in turn, as an assignor would have it.
  void sync(Client& client) {
    std::map<std::string, std::string> assignments;
    for (std::int32_t p = 0; client.leads && p < kPartitions; ++p) {
      assignments[client.members[static_cast<std::size_t>(p) % client.members.size()]] +=
          static_cast<char>('0' + p);
    }
    client.syncing = world.sync("g", client.member, client.generation, assignments, client.instance);
    tokens.push_back(client.syncing);
  }

  void own(Client& client, const std::string& assignment) {
    commit_all();  // as a client that reads its offsets when they are committed
    for (const char digit : assignment) {
      const std::int32_t partition = digit - '0';
      const auto [owner, first] =
          owners.try_emplace({client.generation, partition}, client.instance.value_or(client.member));
      ASSERT_EQ(owner->second, client.instance.value_or(client.member))
          << "generation " << client.generation << " partition " << partition;
      client.owns[partition] = std::max<std::int64_t>(0, world.offset("g", partition));
    }
    const StoredGroup* stored = world.coordinator.state().find("g");
    ASSERT_NE(stored, nullptr);
    ASSERT_GE(stored->generation, client.generation);
  }

  void take_answers(Client& client) {
    if (client.joining != 0 && world.answered(client.joining)) {
      const Answer& answer = world.answer(client.joining);
      client.joining = 0;
      if (answer.code == ErrorCode::member_id_required) {
        client.member = answer.member_id;
        return join(client);
      }
      if (answer.code == ErrorCode::not_coordinator || answer.code == ErrorCode::rebalance_in_progress)
        return join(client);
      if (answer.code != ErrorCode::none) return forget(client);
      client.member = answer.member_id;
      client.generation = answer.generation;
      client.leads = answer.leader == answer.member_id && !answer.members.empty();
      client.members.clear();
      for (const auto& each : answer.members) client.members.push_back(each.id);
      return sync(client);
    }
    if (client.syncing != 0 && world.answered(client.syncing)) {
      const Answer& answer = world.answer(client.syncing);
      client.syncing = 0;
      if (answer.code == ErrorCode::none)
        return own(client, std::string(as_text(ByteView(answer.assignment))));
      if (answer.code == ErrorCode::unknown_member_id || answer.code == ErrorCode::fenced_instance_id)
        forget(client);
    }
  }

  void act(Client& client) {
    if (client.joining != 0 || client.syncing != 0) return;
    if (client.member.empty() || client.generation < 0) return join(client);
    switch (prng.below(10)) {
      case 0: return join(client);
      case 1:
        if (prng.chance(1, 3)) {
          (void)world.leave("g", client.member, client.instance);
          return forget(client);
        }
        return;
      case 2:
      case 3:
      case 4: {
        std::map<std::int32_t, std::int64_t> offsets;
        for (auto& [partition, next] : client.owns) offsets[partition] = next += prng.between(0, 3);
        if (offsets.empty()) return;
        const Token token = world.commit("g", client.generation, client.member, offsets);
        tokens.push_back(token);
        commits[token] = offsets;
        return;
      }
      default: {
        const ErrorCode code = world.heartbeat("g", client.member, client.generation, client.instance);
        if (code == ErrorCode::rebalance_in_progress || code == ErrorCode::illegal_generation)
          return join(client);
        if (code == ErrorCode::unknown_member_id || code == ErrorCode::fenced_instance_id) forget(client);
      }
    }
  }

  void commit_all() { commit_until(world.log.size()); }
  void commit_some() { commit_until(world.log.size() - prng.below(world.log.size() - world.committed + 1)); }
  void commit_until(std::size_t until) {
    while (world.committed < until) {
      world.commit_one();
      world.collect();
    }
    for (auto& [token, offsets] : commits) {
      if (!world.answered(token) || world.code(token) != ErrorCode::none) continue;
      for (const auto& [partition, offset] : offsets)
        acknowledged[partition] = std::max(acknowledged[partition], offset);
    }
    std::erase_if(commits, [&](const auto& commit) { return world.answered(commit.first); });
    for (const auto& [partition, offset] : acknowledged)
      ASSERT_GE(world.offset("g", partition), offset) << "regressed";
  }

  void step() {
    Client& client = clients[prng.below(clients.size())];
    switch (prng.below(12)) {
      case 0: world.pass(prng.between(0, 4000) * kMillisecond); break;
      case 1:
        if (prng.chance(1, 10)) world.fail_over();
        break;
      case 2:
        if (prng.chance(1, 10)) forget(client);  // its process is gone
        break;
      case 3:
      case 4:
      case 5: commit_some(); break;
      default: act(client);
    }
    for (Client& each : clients) take_answers(each);
  }

  void run(int steps) {
    for (int i = 0; i < steps && !testing::Test::HasFatalFailure(); ++i) step();
    world.coordinator.lost_leadership();
    world.collect();
    for (const Token token : tokens) EXPECT_TRUE(world.answered(token)) << "never answered";
    std::vector<std::byte> here;
    std::vector<std::byte> there;
    world.coordinator.save(here);
    world.replay().save(there);
    EXPECT_EQ(here, there) << "the state is not what the log says";
  }

  Prng prng;
  World world;
  std::vector<Client> clients;
  std::vector<Token> tokens;
  std::map<Token, std::map<std::int32_t, std::int64_t>> commits;
  std::map<std::int32_t, std::int64_t> acknowledged;
  std::map<std::pair<std::int32_t, std::int32_t>, std::string> owners;
};

TEST(RandomGroup, keeps_its_promises_whatever_clients_and_leaders_do) {
  std::uint64_t rebalances = 0;
  for (std::uint64_t seed = 1; seed <= 150 && !testing::Test::HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Random random(seed);
    random.run(1'500);
    rebalances += random.owners.size();
  }
  EXPECT_GT(rebalances, 1'000U) << "the test does not get anywhere";
}

}  // namespace
}  // namespace esc::coord::test
