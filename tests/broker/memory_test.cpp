// What clients that hold memory can do to others.
#include "esc/base/bytes.h"
#include "esc/wire/api/create_topics.h"
#include "world.h"

namespace esc::broker::test {
namespace {

TEST(Memory, requests_that_never_end_leave_enough_for_those_that_are_here) {
  constexpr std::size_t kHostile = 200;
  World world(1);
  world.lead();
  std::vector<std::byte> half(80 * kKiB);
  store_be(half.data(), static_cast<std::int32_t>(kMiB));
  for (std::size_t i = 1; i <= kHostile; ++i) {
    world.broker->adopt({});
    world.net.receive(half, i);
  }
  // The memory is full: those who sent more than they got room for wait.
  const std::array topics = {
      wire::CreateTopicsRequest::Topic{.name = "orders", .num_partitions = 1, .replication_factor = -1}};
  wire::CreateTopicsRequest request;
  request.topics = topics;
  world.ask(request, 7);
  ASSERT_TRUE(world.turn_until([&] { return world.answered() || world.net.closed.contains(0); }));
  ASSERT_FALSE(world.net.closed.contains(0));
  EXPECT_EQ(world.answer<wire::CreateTopicsResponse>(7).topics[0].error_code, wire::ErrorCode::none);
}

TEST(Memory, a_large_request_gets_what_it_needs) {
  World world(1);
  world.lead();
  std::vector<std::byte> half(3 * kMiB);
  store_be(half.data(), static_cast<std::int32_t>(half.size()));
  world.broker->adopt({});
  world.net.receive(half, 1);
  EXPECT_GE(world.broker->request_pool().used(), 3 * kMiB);
}

}  // namespace
}  // namespace esc::broker::test
