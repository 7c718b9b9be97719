#include "esc/dedup/pending.h"

#include <gtest/gtest.h>

#include <map>

#include "esc/base/prng.h"

namespace esc::dedup {
namespace {

TEST(Pending, an_id_belongs_to_the_first_record_that_brought_it) {
  Pending pending;
  EXPECT_FALSE(pending.find({1, 2}).has_value());
  EXPECT_FALSE(pending.insert({1, 2}, Offset(7)).has_value());
  const auto first = pending.insert({1, 2}, Offset(8));
  EXPECT_EQ(first, Offset(7));
  pending.erase({1, 2});
  EXPECT_TRUE(pending.empty());
  EXPECT_FALSE(pending.find({1, 2}).has_value());
}

TEST(Pending, clear_forgets_everything) {
  Pending pending;
  for (std::uint64_t i = 1; i < 2000; ++i) static_cast<void>(pending.insert({i, i}, Offset(1)));
  pending.clear();
  for (std::uint64_t i = 1; i < 2000; ++i) EXPECT_FALSE(pending.find({i, i}).has_value());
}

// Few homes and many collisions: erasing must never cut a chain of cells.
TEST(Pending, agrees_with_a_map) {
  Prng prng(1);
  Pending pending;
  std::map<Id, Offset> twin;
  for (int step = 0; step < 200'000; ++step) {
    const Id id{prng.below(3), 1 + prng.below(7) + 64 * prng.below(20)};
    if (prng.chance(1, 2)) {
      const Offset offset(step);
      const auto held = pending.insert(id, offset);
      const auto [at, added] = twin.emplace(id, offset);
      ASSERT_EQ(held.has_value(), !added);
      if (held) {
        ASSERT_EQ(*held, at->second);
      }
    } else {
      pending.erase(id);
      twin.erase(id);
    }
    ASSERT_EQ(pending.size(), twin.size());
    const Id other{prng.below(3), 1 + prng.below(7) + 64 * prng.below(20)};
    ASSERT_EQ(pending.find(other).has_value(), twin.contains(other));
  }
}

}  // namespace
}  // namespace esc::dedup
