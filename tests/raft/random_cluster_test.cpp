// Whole clusters under random faults. A seed is a whole run; a failing seed prints itself.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "esc/base/prng.h"
#include "raft/cluster.h"

namespace esc::raft::testing {
namespace {

struct Outcome {
  std::string failure;
  std::uint64_t trace_hash = 0;
  Index committed;
  Term term;
};

class Chaos {
 public:
  explicit Chaos(std::uint64_t seed, Plant plant) : prng_(seed), cluster_(options(seed, plant, prng_)) {
    cluster_.record_late_marks = true;
    // Swarm: each run leaves out some kinds of faults altogether, so that the others get room.
    loss_ = prng_.chance(1, 2) ? prng_.below(20) : 0;
    repeat_ = prng_.chance(1, 2) ? prng_.below(20) : 0;
    reorder_ = prng_.chance(1, 2);
    crashes_ = prng_.chance(2, 3);
    cuts_ = prng_.chance(1, 2);
    changes_ = prng_.chance(1, 3);
    compacts_ = prng_.chance(1, 2);
    slow_disk_ = prng_.chance(1, 2);
    storm_ = prng_.chance(1, 2);
  }

  Outcome run(int steps) {
    for (int i = 0; i < steps && cluster_.failure().empty(); ++i) {
      step();
      if (i % 64 == 0) cluster_.check_logs();
    }
    if (cluster_.failure().empty()) heal_and_expect_progress();
    cluster_.check_logs();
    Term term(0);
    for (auto& [id, node] : cluster_.nodes()) {
      if (node.core) term = std::max(term, node.core->term());
    }
    return {cluster_.failure() + liveness_, cluster_.trace_hash(), cluster_.committed(), term};
  }

 private:
  static Cluster::Options options(std::uint64_t seed, Plant plant, Prng& prng) {
    Cluster::Options options;
    options.seed = seed;
    options.plant = plant;
    if (prng.chance(1, 3)) options.voters = {1, 2, 3, 4, 5};
    if (prng.chance(1, 8)) options.voters = {1, 2};
    options.limits.inflight_messages_max = static_cast<std::uint32_t>(1 + prng.below(8));
    options.limits.message_entries_max = static_cast<std::uint32_t>(1 + prng.below(8));
    options.limits.message_bytes_max = 100 + prng.below(2000);
    options.limits.inflight_bytes_max = 1000 + prng.below(5000);
    if (prng.chance(1, 3)) {  // the no-op of a term queues behind a long tail of earlier terms (figure 8)
      options.limits.inflight_messages_max = options.limits.message_entries_max = 1;
    }
    return options;
  }

  NodeId any_node() {
    const auto position = prng_.below(cluster_.nodes().size());
    return std::next(cluster_.nodes().begin(), static_cast<std::ptrdiff_t>(position))->first;
  }

  void step() {
    const auto dice = prng_.below(100);
    if (storm_ && prng_.chance(1, 15)) return storm_step();
    if (dice < 45) return network_step();
    if (dice < 65) return disk_step();
    if (dice < 80) return cluster_.advance(prng_.between(0, 12) * kMillisecond);
    if (dice < 93) return client_step();
    if (dice < 97) return driver_step();
    fault_step();
  }

  void network_step() {
    auto& network = cluster_.network();
    if (network.empty()) return;
    const std::size_t position = reorder_ ? prng_.below(network.size()) : 0;
    if (loss_ > 0 && prng_.chance(loss_, 100)) {
      network.erase(network.begin() + static_cast<std::ptrdiff_t>(position));
      return;
    }
    if (repeat_ > 0 && network.size() < 200 && prng_.chance(repeat_, 100))
      network.push_back(network[position]);
    cluster_.deliver(position);
  }

  void disk_step() {
    const NodeId id = any_node();
    if (slow_disk_ && prng_.chance(2, 3)) return;
    cluster_.finish_write(id);
    if (prng_.chance(1, 10)) cluster_.repeat_late_mark(id, prng_.below(1000));
  }

  void client_step() {
    const NodeId id = prng_.chance(3, 4) ? cluster_.leader() : any_node();
    if (id == NodeId(0) || !cluster_.up(id)) return;
    const auto dice = prng_.below(12);
    if (dice < 8) {
      static_cast<void>(
          cluster_.propose(id, static_cast<std::uint32_t>(1 + prng_.below(4)), prng_.below(1500)));
    } else if (dice < 11) {
      const std::uint64_t request = next_request_++;
      if (!cluster_.read(id, request)) cluster_.node(id).reads.erase(request);
    } else {
      static_cast<void>(cluster_.transfer(id, prng_.chance(1, 2) ? NodeId(0) : any_node()));
    }
  }

  // Leaders fail half-way through replication, and time passes quickly.
  void storm_step() {
    const NodeId leader = cluster_.leader();
    switch (prng_.below(6)) {
      case 0:
        if (crashes_ && leader != NodeId(0) && cluster_.up(leader)) cluster_.crash(leader, prng_.below(3));
        break;
      case 1:
        if (leader != NodeId(0)) cluster_.isolate(leader);
        break;
      case 2: cluster_.heal(); break;
      case 3:
        for (auto& [id, node] : cluster_.nodes()) {
          if (!node.core) cluster_.restart(id);
        }
        break;
      default: cluster_.advance(prng_.between(50, 200) * kMillisecond); break;
    }
  }

  void driver_step() {
    const NodeId id = any_node();
    if (!cluster_.up(id)) return;
    switch (prng_.below(4)) {
      case 0:
        if (compacts_)
          cluster_.compact(id, Index(prng_.below(cluster_.core(id).applied_index().value() + 1)));
        break;
      case 1: cluster_.finish_fetch(id, prng_.chance(3, 4)); break;
      case 2: cluster_.unreachable(id, any_node()); break;
      case 3: cluster_.connected(id, any_node()); break;
      default: break;
    }
  }

  void fault_step() {
    const NodeId id = any_node();
    switch (prng_.below(4)) {
      case 0:
        if (crashes_ && cluster_.up(id)) cluster_.crash(id, prng_.below(cluster_.node(id).writes.size() + 1));
        break;
      case 1:
        for (auto& [other, node] : cluster_.nodes()) {
          if (!node.core && prng_.chance(1, 2)) cluster_.restart(other);
        }
        break;
      case 2:
        if (!cuts_) break;
        if (prng_.chance(1, 2)) {
          cluster_.heal();
        } else if (prng_.chance(1, 2)) {
          cluster_.isolate(id);
        } else {
          cluster_.cut_one_way(id, any_node());
        }
        break;
      case 3:
        if (changes_) change_members();
        break;
      default: break;
    }
  }

  void change_members() {
    const NodeId leader = cluster_.leader();
    if (leader == NodeId(0)) return;
    const Configuration& configuration = cluster_.core(leader).configuration();
    const auto dice = prng_.below(3);
    if (dice == 0 && cluster_.nodes().size() < 8) {
      const NodeId fresh(100 + static_cast<std::uint32_t>(cluster_.nodes().size()));
      cluster_.add_node(fresh);
      static_cast<void>(cluster_.change(leader, {ChangeKind::add_learner, fresh}));
    } else if (dice == 1 && !configuration.learners.empty()) {
      static_cast<void>(cluster_.change(leader, {ChangeKind::promote, configuration.learners[0]}));
    } else if (configuration.voters.size() > 2) {
      const NodeId out = configuration.voters[prng_.below(configuration.voters.size())];
      static_cast<void>(cluster_.change(leader, {ChangeKind::remove, out}));
    }
  }

  // Everything works again: a new entry must commit within bounded time, on every member.
  void heal_and_expect_progress() {
    cluster_.heal();
    for (auto& [id, node] : cluster_.nodes()) {
      if (!node.core) cluster_.restart(id);
    }
    const Index before = cluster_.committed();
    for (int round = 0; round < 400; ++round) {
      cluster_.run(10 * kMillisecond);
      for (auto& [id, node] : cluster_.nodes()) {
        cluster_.finish_fetch(id, true);
        if (node.core->configurations().full()) cluster_.compact(id, node.core->applied_index());
      }
      const NodeId leader = cluster_.leader();
      if (leader != NodeId(0) && round % 20 == 0) static_cast<void>(cluster_.propose(leader));
      if (!cluster_.failure().empty()) return;
      if (round > 100 && leader != NodeId(0) && cluster_.committed() > before && all_caught_up(leader))
        return;
    }
    liveness_ = "liveness: no progress after healing\n";
    for (auto& [id, node] : cluster_.nodes()) liveness_ += describe_state(*node.core) + "\n";
  }

  bool all_caught_up(NodeId leader) {
    const Configuration& configuration = cluster_.core(leader).configuration();
    const auto caught_up = [&](NodeId id) {
      return cluster_.core(id).commit_index() >= cluster_.committed();
    };
    for (const NodeId id : configuration.voters) {
      if (!caught_up(id)) return false;
    }
    for (const NodeId id : configuration.learners) {
      if (!caught_up(id)) return false;
    }
    return true;
  }

  Prng prng_;
  Cluster cluster_;
  std::uint64_t loss_ = 0;
  std::uint64_t repeat_ = 0;
  bool reorder_ = false;
  bool crashes_ = false;
  bool cuts_ = false;
  bool changes_ = false;
  bool compacts_ = false;
  bool slow_disk_ = false;
  bool storm_ = false;  // leaders change all the time
  std::uint64_t next_request_ = 1;
  std::string liveness_;
};

Outcome run_seed(std::uint64_t seed, Plant plant = Plant::none) {
  return Chaos(seed, plant).run(4000);
}

std::uint64_t from_environment(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

TEST(RandomCluster, keeps_every_safety_property_and_makes_progress_after_healing) {
  const std::uint64_t first = from_environment("ESC_RAFT_SEED", 1);
  const std::uint64_t count = from_environment("ESC_RAFT_SEEDS", 150);
  std::uint64_t committed = 0;
  std::uint64_t terms = 0;
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    const Outcome outcome = run_seed(seed);
    ASSERT_EQ(outcome.failure, "") << "replay with ESC_RAFT_SEED=" << seed << " ESC_RAFT_SEEDS=1";
    committed += outcome.committed.value();
    terms += outcome.term.value();
  }
  // The runs must not be idle: entries are committed and leaders change.
  EXPECT_GT(committed, 50 * count);
  EXPECT_GT(terms, 2 * count);
}

TEST(RandomCluster, equal_seeds_give_equal_runs) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    EXPECT_EQ(run_seed(seed).trace_hash, run_seed(seed).trace_hash) << "seed " << seed;
  }
}

// A planted bug must be found, by a checker or by an assertion of the core itself.
class PlantedBug : public ::testing::TestWithParam<std::pair<Plant, const char*>> {};

constexpr int kFound = 42;
constexpr std::uint64_t kHuntSeedsMax = 4000;

[[noreturn]] void hunt(Plant plant) {
  for (std::uint64_t seed = 1; seed <= kHuntSeedsMax; ++seed) {
    if (!run_seed(seed, plant).failure.empty()) std::_Exit(kFound);
  }
  std::_Exit(0);
}

TEST_P(PlantedBug, is_found) {
  const auto found = [](int status) {
    return (WIFEXITED(status) && WEXITSTATUS(status) == kFound) ||
           (WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
  };
  EXPECT_EXIT(hunt(GetParam().first), found, "");
}

INSTANTIATE_TEST_SUITE_P(Raft, PlantedBug,
                         ::testing::Values(std::pair(Plant::vote_before_durable, "vote_before_durable"),
                                           std::pair(Plant::ack_before_durable, "ack_before_durable"),
                                           std::pair(Plant::stale_mark_counted, "stale_mark_counted"),
                                           std::pair(Plant::old_term_commit, "old_term_commit"),
                                           std::pair(Plant::conflict_off_by_one, "conflict_off_by_one"),
                                           std::pair(Plant::vote_without_log_check, "vote_without_log_check"),
                                           std::pair(Plant::prefix_unchecked, "prefix_unchecked")),
                         [](const auto& plant) { return std::string(plant.param.second); });

}  // namespace
}  // namespace esc::raft::testing
