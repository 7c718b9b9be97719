#include "../../src/broker/node_watch.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace esc::broker {
namespace {

// Node 1 watches; links come and go by hand.
struct Watcher {
  explicit Watcher(std::uint32_t count) {
    for (std::uint32_t id = 1; id <= count; ++id) nodes.emplace_back(id);
    links = nodes;
    look(0);
  }
  bool look(Nanos elapsed) {
    now += elapsed;
    return watch.look(now, nodes, [&](NodeId node) { return std::ranges::find(links, node) != links.end(); });
  }
  void cut(std::uint32_t id) { std::erase(links, NodeId(id)); }

  std::vector<NodeId> nodes;
  std::vector<NodeId> links;
  Nanos now = 5 * kSecond;
  NodeWatch watch{NodeId(1)};
};

using Ids = std::vector<NodeId>;

TEST(NodeWatch, a_node_is_gone_when_its_link_has_been_down_for_a_second) {
  Watcher w(3);
  w.look(kSecond);
  w.cut(3);
  EXPECT_FALSE(w.look(NodeWatch::kGoneAfter - 1));
  EXPECT_TRUE(w.watch.gone().empty());
  EXPECT_TRUE(w.look(1));
  EXPECT_EQ(w.watch.gone(), Ids{NodeId(3)});
  EXPECT_FALSE(w.look(kSecond)) << "told twice";
}

TEST(NodeWatch, a_node_is_back_at_once) {
  Watcher w(3);
  w.cut(2);
  w.look(2 * kSecond);
  ASSERT_EQ(w.watch.gone(), Ids{NodeId(2)});
  w.links.emplace_back(2);
  EXPECT_TRUE(w.look(1));
  EXPECT_TRUE(w.watch.gone().empty());
  // And has all its time again.
  w.cut(2);
  EXPECT_FALSE(w.look(NodeWatch::kGoneAfter - 1));
}

TEST(NodeWatch, a_link_that_flickers_takes_nobody_off_the_list) {
  Watcher w(3);
  for (int i = 0; i < 20; ++i) {
    w.cut(3);
    EXPECT_FALSE(w.look(kSecond / 2));
    w.links.emplace_back(3);
    EXPECT_FALSE(w.look(kSecond / 100));
  }
}

TEST(NodeWatch, a_node_that_never_came_is_gone_after_the_same_time) {
  NodeWatch watch(NodeId(1));
  const Ids nodes{NodeId(1), NodeId(2), NodeId(3)};
  const auto linked = [](NodeId node) { return node == NodeId(2); };
  EXPECT_FALSE(watch.look(7 * kSecond, nodes, linked));
  EXPECT_TRUE(watch.look(8 * kSecond, nodes, linked));
  EXPECT_EQ(watch.gone(), Ids{NodeId(3)});
}

TEST(NodeWatch, who_has_no_majority_names_everybody) {
  Watcher w(3);
  w.cut(3);
  w.look(2 * kSecond);
  ASSERT_EQ(w.watch.gone(), Ids{NodeId(3)});
  w.cut(2);
  EXPECT_TRUE(w.look(1));
  EXPECT_TRUE(w.watch.gone().empty());
  EXPECT_FALSE(w.look(10 * kSecond));
  w.links.emplace_back(2);
  EXPECT_TRUE(w.look(1));
  EXPECT_EQ(w.watch.gone(), Ids{NodeId(3)});
}

TEST(NodeWatch, two_of_five_may_be_gone_and_half_of_four_is_no_majority) {
  Watcher five(5);
  five.cut(2);
  five.cut(4);
  five.look(kSecond);
  EXPECT_EQ(five.watch.gone(), (Ids{NodeId(2), NodeId(4)}));
  Watcher four(4);
  four.cut(2);
  four.cut(4);
  four.look(kSecond);
  EXPECT_TRUE(four.watch.gone().empty());
}

TEST(NodeWatch, a_node_is_never_gone_for_itself) {
  NodeWatch watch(NodeId(1));
  const Ids alone{NodeId(1)};
  watch.look(0, alone, [](NodeId) { return false; });
  watch.look(kSecond * 100, alone, [](NodeId) { return false; });
  EXPECT_TRUE(watch.gone().empty());
}

}  // namespace
}  // namespace esc::broker
