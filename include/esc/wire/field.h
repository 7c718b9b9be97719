// How a message describes itself to the codecs.
//
// Every message struct has one static template
//     describe(auto& field, auto& self) { field("name", self.name, {.since = 3}); ... }
// that lists its fields in wire order; the encoder, the decoder, the size bound of the decoder and the test
// printer all run it. Fields a version does not carry keep their default when decoded and are left out when
// encoded. Structs with tagged fields (KIP-482) also have describe_tagged, which prepends the tag, in
// ascending order; a tagged field at its default value is not sent, and unknown tags are skipped.
#pragma once

#include <cstdint>
#include <limits>

namespace esc::wire {

inline constexpr std::int16_t kNever = std::numeric_limits<std::int16_t>::max();

// Versions are inclusive. A null in a version before nullable_since is refused by the decoder and written as
// an empty value by the encoder.
struct Field {
  std::int16_t since = 0;
  std::int16_t until = kNever;
  std::int16_t nullable_since = kNever;

  [[nodiscard]] constexpr bool present(std::int16_t version) const {
    return version >= since && version <= until;
  }
  [[nodiscard]] constexpr bool nullable(std::int16_t version) const { return version >= nullable_since; }
};

}  // namespace esc::wire
