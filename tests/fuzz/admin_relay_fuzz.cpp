// Arbitrary bytes as what nodes tell each other about changes of topics: orders for the leader of group 0,
// and their outcomes. Decoding reads nothing outside; orders that are accepted arrive the same when they are
// passed on again; outcomes settle every order that was asked, or none.
//
// Input: a u16 length (little-endian), so many bytes of orders, and the rest: outcomes.
#include <algorithm>
#include <cstdlib>

#include "../../src/broker/admin_relay.h"

namespace esc::broker {
namespace {

void require(bool condition) {
  if (!condition) std::abort();
}

struct Node {
  std::vector<std::byte> sent;
  std::uint64_t tag = 0;
  bool replied = false;
  AdminRelay relay{{.send =
                        [this](NodeId, peer::Service service, ByteView payload) {
                          sent.assign(payload.begin(), payload.end());
                          tag = service.tag;
                          return true;
                        },
                    .linked = [](NodeId) { return true; },
                    .carry_out = [](AdminCall&) {},
                    .reply = [this](AdminCall&) { replied = true; }},
                   0};

  void turn() {
    relay.do_work({.now = 1, .leader = NodeId(2), .leading = false, .shutting_down = false, .known = kAll});
  }
  static constexpr Index kAll{UINT64_MAX};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ByteView rest(reinterpret_cast<const std::byte*>(data), size);
  if (rest.size() < 2) return 0;
  const std::size_t bytes = std::min<std::size_t>(load_le<std::uint16_t>(rest.data()), rest.size() - 2);
  const ByteView orders = rest.subspan(2, bytes);
  const ByteView outcomes = rest.subspan(2 + bytes);
  Node leader;
  const auto call = leader.relay.accept(NodeId(1), 7, orders);
  if (call == nullptr) return 0;
  Node asker;
  asker.relay.take(*call, 0);
  asker.turn();
  const std::vector<std::byte> first = asker.sent;
  const auto again = leader.relay.accept(NodeId(1), 8, first);
  require(again != nullptr && again->orders.size() == call->orders.size());
  Node other;
  other.relay.take(*again, 0);
  other.turn();
  require(other.sent == first);
  asker.relay.on_outcomes(asker.tag, outcomes);
  const auto settled = std::ranges::count_if(call->orders, &TopicOrder::settled);
  const bool all = static_cast<std::size_t>(settled) == call->orders.size();
  // Changes of a configuration that the other node does not lead any more for are asked again.
  const bool again_asked = std::ranges::any_of(
      call->orders, [](const TopicOrder& order) { return order.kind == TopicOrder::Kind::configure; });
  require(all || settled == 0 || again_asked);
  asker.turn();
  require(!all || asker.replied);
  return 0;
}

}  // namespace esc::broker
