// Byte spans, unaligned big- and little-endian loads and stores.
//
// Kafka's wire format is big-endian; our own disk and peer formats are little-endian.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace esc {

using ByteView = std::span<const std::byte>;
using ByteSpan = std::span<std::byte>;

static_assert(std::endian::native == std::endian::little, "escd supports little-endian machines only");

template <std::integral T>
[[nodiscard]] constexpr T byteswap(T value) {
  using U = std::make_unsigned_t<T>;
  auto u = static_cast<U>(value);
  if constexpr (sizeof(T) == 2) u = static_cast<U>(__builtin_bswap16(u));
  if constexpr (sizeof(T) == 4) u = static_cast<U>(__builtin_bswap32(u));
  if constexpr (sizeof(T) == 8) u = static_cast<U>(__builtin_bswap64(u));
  return static_cast<T>(u);
}

template <std::integral T>
[[nodiscard]] inline T load_le(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}
template <std::integral T>
inline void store_le(std::byte* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
template <std::integral T>
[[nodiscard]] inline T load_be(const std::byte* from) {
  return byteswap(load_le<T>(from));
}
template <std::integral T>
inline void store_be(std::byte* to, T value) {
  store_le(to, byteswap(value));
}

[[nodiscard]] inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}
[[nodiscard]] inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Rounds up to a multiple of `alignment`, a power of two.
[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t n, std::uint64_t alignment) {
  return (n + alignment - 1) & ~(alignment - 1);
}
[[nodiscard]] constexpr bool is_aligned(std::uint64_t n, std::uint64_t alignment) {
  return (n & (alignment - 1)) == 0;
}

}  // namespace esc
