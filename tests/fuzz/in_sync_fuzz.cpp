// Arbitrary bytes as what a leader tells of who is in sync (service 69). Decoding reads nothing outside; what
// is accepted is the one encoding of ascending ids.
#include <algorithm>
#include <cstdlib>

#include "../../src/broker/in_sync_message.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const esc::ByteView payload(reinterpret_cast<const std::byte*>(data), size);
  esc::broker::HeardInSync heard;
  heard.take(esc::NodeId(1), 7, payload);
  const auto nodes = heard.of(esc::NodeId(1), esc::Term(7));
  if (nodes.empty()) return 0;
  std::vector<std::byte> again;
  esc::broker::encode_in_sync(nodes, again);
  if (!std::ranges::equal(again, payload) || !std::ranges::is_sorted(nodes)) std::abort();
  return 0;
}
