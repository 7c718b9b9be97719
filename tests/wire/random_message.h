// Fills a message with random values of a version, for round trips.
#pragma once

#include <type_traits>

#include "esc/base/arena.h"
#include "esc/base/prng.h"
#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire::test {

class RandomFiller {
 public:
  RandomFiller(Prng& prng, Arena& arena, std::int16_t version)
      : prng_(prng), arena_(arena), version_(version) {}

  template <class T>
  void operator()(const char*, T& value, Field field = {}) {
    if (field.present(version_)) fill(value, field);
  }
  template <class T>
  void operator()(std::uint32_t, const char*, T& value, Field field) {
    if (field.present(version_) && prng_.chance(1, 2)) fill(value, field);
  }
  template <class T>
  void fill_struct(T& self) {
    T::describe(*this, self);
    constexpr bool kTagged = requires(RandomFiller& visitor) { T::describe_tagged(visitor, self); };
    if constexpr (kTagged) T::describe_tagged(*this, self);
  }

 private:
  template <class T>
  void fill(T& value, Field field) {
    if constexpr (std::is_same_v<T, bool>) {
      value = prng_.chance(1, 2);
    } else if constexpr (std::is_enum_v<T> || std::is_integral_v<T>) {
      value = static_cast<T>(prng_.next() >> prng_.below(64));
    } else if constexpr (std::is_same_v<T, Uuid>) {
      for (std::byte& byte : value.bytes) byte = static_cast<std::byte>(prng_.next());
    } else if constexpr (std::is_same_v<T, String>) {
      value = as_text(bytes());
    } else if constexpr (std::is_same_v<T, Bytes>) {
      value = bytes();
    } else if constexpr (std::is_same_v<T, Records>) {
      value.null = prng_.chance(1, 4);
      if (!value.null) value.bytes = bytes();
    } else if constexpr (requires { value.has_value(); }) {
      value.reset();
      if (!field.nullable(version_) || prng_.chance(2, 3)) fill(value.emplace(), field);
    } else if constexpr (requires { value.size(); }) {
      fill_array(value);
    } else {
      fill_struct(value);
    }
  }

  template <class T>
  void fill_array(std::span<const T>& value) {
    const std::span<T> items = arena_.allocate<T>(prng_.below(4));
    for (T& item : items) fill(item, Field{});
    value = items;
  }
  ByteView bytes() {
    const std::span<std::byte> made = arena_.allocate<std::byte>(prng_.below(prng_.chance(1, 8) ? 300 : 12));
    for (std::byte& byte : made) byte = static_cast<std::byte>(prng_.next());
    return made;
  }

  Prng& prng_;
  Arena& arena_;
  std::int16_t version_;
};

}  // namespace esc::wire::test
