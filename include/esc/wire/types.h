// The value types of Kafka messages, as our structs hold them.
//
// Strings, bytes and records of a decoded message point into the bytes it was decoded from; arrays point
// into the arena given to the decoder. A message is therefore a cheap view: copy it freely, keep it no
// longer than both. To encode, point the fields at anything that lives until the encoder returns
// (gathered records: until the bytes are sent).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "esc/base/bytes.h"

namespace esc::wire {

// Null is always std::nullopt, whatever the type and the version's way to spell it.
using String = std::string_view;
using NullableString = std::optional<std::string_view>;
using Bytes = ByteView;
using NullableBytes = std::optional<ByteView>;
template <class T>
using Array = std::span<const T>;
template <class T>
using NullableArray = std::optional<std::span<const T>>;

// 16 bytes in network order; all zero means "none" (Kafka's Uuid.ZERO_UUID).
struct Uuid {
  std::array<std::byte, 16> bytes{};
  friend bool operator==(const Uuid&, const Uuid&) = default;
};

// Record batches of a fetch response: either one run of bytes, or several pieces that together form it
// (tail frames and segment blocks). When `pieces` is not empty it wins and `bytes` is ignored.
// A decoder always fills `bytes`.
struct Records {
  ByteView bytes{};
  std::span<const ByteView> pieces{};
  bool null = false;

  [[nodiscard]] std::size_t size() const {
    if (pieces.empty()) return bytes.size();
    std::size_t total = 0;
    for (const ByteView piece : pieces) total += piece.size();
    return total;
  }
};

}  // namespace esc::wire
