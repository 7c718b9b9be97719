#include "../../src/broker/in_sync_message.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>

namespace esc::broker {
namespace {

using Ids = std::vector<NodeId>;

std::vector<std::byte> message(const Ids& nodes) {
  std::vector<std::byte> bytes;
  encode_in_sync(nodes, bytes);
  return bytes;
}

Ids heard(const HeardInSync& all, std::uint32_t leader, std::uint64_t term) {
  const auto nodes = all.of(NodeId(leader), Term(term));
  return {nodes.begin(), nodes.end()};
}

TEST(InSyncMessage, is_what_the_protocol_says) {
  constexpr std::array<unsigned char, 12> kGolden = {2, 0, 0, 0, 1, 0, 0, 0, 0x03, 0x02, 0, 0};
  const auto bytes = message({NodeId(1), NodeId(0x203)});
  EXPECT_TRUE(std::ranges::equal(bytes, kGolden, {}, [](std::byte b) { return std::to_integer<int>(b); }));
}

TEST(HeardInSync, what_the_leader_of_this_term_said_counts) {
  HeardInSync all;
  EXPECT_EQ(heard(all, 2, 7), Ids{});
  all.take(NodeId(2), 7, message({NodeId(1), NodeId(2)}));
  EXPECT_EQ(heard(all, 2, 7), (Ids{NodeId(1), NodeId(2)}));
  all.take(NodeId(2), 7, message({NodeId(2)}));
  EXPECT_EQ(heard(all, 2, 7), Ids{NodeId(2)}) << "the newest";
}

TEST(HeardInSync, what_another_node_or_another_term_said_does_not) {
  HeardInSync all;
  all.take(NodeId(2), 7, message({NodeId(1), NodeId(2)}));
  EXPECT_EQ(heard(all, 3, 7), Ids{});
  EXPECT_EQ(heard(all, 2, 8), Ids{});
  EXPECT_EQ(heard(all, 0, 7), Ids{}) << "nobody leads";
  EXPECT_EQ(heard(HeardInSync(), 0, 0), Ids{}) << "nobody leads, nobody has spoken";
}

TEST(HeardInSync, what_does_not_decode_is_ignored) {
  HeardInSync all;
  all.take(NodeId(2), 7, message({NodeId(1)}));
  std::vector<Ids> wrong = {{}, {NodeId(0), NodeId(1)}, {NodeId(2), NodeId(1)}, {NodeId(2), NodeId(2)}, {}};
  for (std::uint32_t id = 1; id <= 12; ++id) wrong.back().push_back(NodeId(id));
  for (const Ids& nodes : wrong) all.take(NodeId(2), 7, message(nodes));
  auto bytes = message({NodeId(2), NodeId(3)});
  bytes.pop_back();
  all.take(NodeId(2), 7, bytes);
  bytes.resize(bytes.size() + 2);
  all.take(NodeId(2), 7, bytes);
  all.take(NodeId(2), 7, {});
  EXPECT_EQ(heard(all, 2, 7), Ids{NodeId(1)});
}

}  // namespace
}  // namespace esc::broker
