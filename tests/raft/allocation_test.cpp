// Steady state takes nothing from the heap: counted, not assumed.
#include <gtest/gtest.h>

#include <memory>

#include "allocation_counter.h"
#include "esc/raft/core.h"

namespace esc::raft {
namespace {

Restored restored_of(std::uint32_t voters) {
  Restored restored;
  for (std::uint32_t id = 1; id <= voters; ++id) restored.configuration.voters.push_back(NodeId(id));
  return restored;
}

TEST(Allocation, a_single_voter_proposes_and_commits_without_the_heap) {
  const auto core = std::make_unique<Core>(Config{.node = NodeId(1)}, restored_of(1));
  const auto effects = std::make_unique<Effects>();
  core->tick(1, *effects);
  for (int i = 0; i < 2; ++i) {
    effects->clear();
    core->persisted(core->mark(), *effects);
  }
  const std::uint64_t before = allocations;
  for (int i = 0; i < 20000; ++i) {
    effects->clear();
    ASSERT_TRUE(core->propose({.count = 4, .bytes = 2048}, *effects).has_value());
    const WriteMark mark = *effects->mark;
    effects->clear();
    core->persisted(mark, *effects);
    core->applied(*effects->commit);
    core->compacted(core->applied_index() - 1);
  }
  EXPECT_EQ(allocations, before);
}

// Three cores joined back to back.
TEST(Allocation, three_nodes_replicate_and_commit_without_the_heap) {
  std::unique_ptr<Core> cores[3];
  const auto effects = std::make_unique<Effects>();
  const auto inbox = std::make_unique<FixedVector<Message, 4096>>();
  std::size_t consumed = 0;
  for (std::uint32_t i = 0; i < 3; ++i) {
    cores[i] = std::make_unique<Core>(Config{.node = NodeId(i + 1), .seed = i + 1}, restored_of(3));
  }
  const auto collect = [&](Core& core) {
    for (const Message& message : effects->messages) inbox->push_back(message);
    const bool write = effects->mark.has_value();
    effects->clear();
    if (write) core.persisted(core.mark(), *effects);
    for (const Message& message : effects->messages) inbox->push_back(message);
    const bool again = effects->mark.has_value();
    effects->clear();
    if (again) core.persisted(core.mark(), *effects);
    for (const Message& message : effects->messages) inbox->push_back(message);
    effects->clear();
  };
  const auto pump = [&] {
    while (consumed < inbox->size()) {
      const Message message = (*inbox)[consumed++];
      Core& to = *cores[message.to.value() - 1];
      to.message(message, *effects);
      collect(to);
    }
    inbox->clear();
    consumed = 0;
  };
  Nanos now = 0;
  const auto leader = [&]() -> Core* {
    for (const auto& core : cores) {
      if (core->is_leader() && core->commit_index() > Index(0)) return core.get();
    }
    return nullptr;
  };
  while (leader() == nullptr) {
    now += 10 * kMillisecond;
    for (const auto& core : cores) {
      core->tick(now, *effects);
      collect(*core);
    }
    pump();
  }
  Core& leads = *leader();
  const std::uint64_t before = allocations;
  for (int i = 0; i < 5000; ++i) {
    ASSERT_TRUE(leads.propose({.count = 4, .bytes = 2048}, *effects).has_value());
    collect(leads);
    pump();
    now += kMillisecond;
    for (const auto& core : cores) {
      core->tick(now, *effects);
      collect(*core);
    }
    pump();
  }
  EXPECT_EQ(allocations, before);
  EXPECT_EQ(leads.commit_index(), leads.last_index());
  EXPECT_GE(leads.commit_index(), Index(20000));
}

}  // namespace
}  // namespace esc::raft
