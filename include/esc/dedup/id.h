// An event id as it is remembered: a 128-bit keyed hash of the bytes that the client sent.
//
// SipHash-2-4 with 128 bits of output (Aumasson, Bernstein, 2012; the reference implementation's
// SIPHASH_128). At a billion ids in one window the chance that any two different ones collide is below
// 2^-69. The key is per topic, so equal ids of two topics have nothing in common.
//
// Pure values; no allocation.
#pragma once

#include <compare>
#include <cstdint>

#include "esc/base/bytes.h"

namespace esc::dedup {

struct Id {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  auto operator<=>(const Id&) const = default;
  // A record without an event id.
  [[nodiscard]] bool none() const { return high == 0 && low == 0; }
};
static_assert(sizeof(Id) == 16);

struct IdKey {
  std::uint64_t k0 = 0;
  std::uint64_t k1 = 0;
};

// The plain hash; the value of no bytes is a value like any other.
[[nodiscard]] Id siphash128(const IdKey& key, ByteView bytes);
// Never none().
[[nodiscard]] Id make_id(const IdKey& key, ByteView bytes);
// The key of a topic: of its 16-byte id, and of the cluster's name for itself.
[[nodiscard]] IdKey make_key(ByteView topic_id, ByteView cluster_id);

}  // namespace esc::dedup
