#include "esc/dedup/id.h"

#include <bit>

#include "esc/base/assert.h"

namespace esc::dedup {
namespace {

struct State {
  std::uint64_t v0, v1, v2, v3;

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }
  void absorb(std::uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }
  [[nodiscard]] std::uint64_t squeeze() {
    for (int i = 0; i < 4; ++i) round();
    return v0 ^ v1 ^ v2 ^ v3;
  }
};

}  // namespace

Id siphash128(const IdKey& key, ByteView bytes) {
  State state{.v0 = key.k0 ^ 0x736f6d6570736575,
              .v1 = key.k1 ^ 0x646f72616e646f6d ^ 0xee,
              .v2 = key.k0 ^ 0x6c7967656e657261,
              .v3 = key.k1 ^ 0x7465646279746573};
  const std::size_t whole = bytes.size() / 8 * 8;
  for (std::size_t at = 0; at < whole; at += 8) state.absorb(load_le<std::uint64_t>(bytes.data() + at));
  std::uint64_t last = static_cast<std::uint64_t>(bytes.size()) << 56;
  for (std::size_t at = whole; at < bytes.size(); ++at)
    last |= static_cast<std::uint64_t>(bytes[at]) << (8 * (at - whole));
  state.absorb(last);
  Id id;
  state.v2 ^= 0xee;
  id.high = state.squeeze();
  state.v1 ^= 0xdd;
  id.low = state.squeeze();
  return id;
}

Id make_id(const IdKey& key, ByteView bytes) {
  Id id = siphash128(key, bytes);
  if (id.none()) id.low = 1;
  return id;
}

IdKey make_key(ByteView topic_id, ByteView cluster_id) {
  ESC_ASSERT(topic_id.size() == 16);
  const IdKey outer{load_le<std::uint64_t>(topic_id.data()), load_le<std::uint64_t>(topic_id.data() + 8)};
  const Id derived = siphash128(outer, cluster_id);
  return {derived.high, derived.low};
}

}  // namespace esc::dedup
