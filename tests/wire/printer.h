// Prints a message as the golden files do: {name=value ...} in wire order, tagged fields last and only when
// they differ from their default.
#pragma once

#include <map>
#include <string>
#include <type_traits>

#include "esc/wire/field.h"
#include "esc/wire/types.h"

namespace esc::wire::test {

template <class T>
std::string print_value(const T& value, std::int16_t version);

class Printer {
 public:
  explicit Printer(std::int16_t version) : version_(version) {}
  template <class T>
  void operator()(const char* name, const T& value, Field field = {}) {
    if (!field.present(version_)) return;
    if (!text_.empty()) text_ += ' ';
    text_ += std::string(name) + "=" + print_value(value, version_);
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::int16_t version_;
  std::string text_;
};

inline std::string print_hex(ByteView bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[static_cast<unsigned>(byte) >> 4];
    text += kDigits[static_cast<unsigned>(byte) & 15];
  }
  return text;
}

inline std::string print_records(const Records& records) {
  if (records.null) return "null";
  if (records.pieces.empty()) return "0x" + print_hex(records.bytes);
  std::string text = "0x";
  for (const ByteView piece : records.pieces) text += print_hex(piece);
  return text;
}

template <class T>
std::map<std::uint32_t, std::pair<std::string, std::string>> print_tagged(const T& self,
                                                                          std::int16_t version) {
  std::map<std::uint32_t, std::pair<std::string, std::string>> texts;
  auto visit = [&](std::uint32_t tag, const char* name, const auto& value, Field field) {
    if (field.present(version)) texts[tag] = {name, print_value(value, version)};
  };
  T::describe_tagged(visit, self);
  return texts;
}

template <class T>
std::string print_struct(const T& self, std::int16_t version) {
  Printer printer(version);
  T::describe(printer, self);
  std::string text = printer.text();
  constexpr bool kTagged = requires(Printer& visitor) { T::describe_tagged(visitor, self); };
  if constexpr (kTagged) {
    const auto defaults = print_tagged(T{}, version);
    for (const auto& [tag, field] : print_tagged(self, version)) {
      if (defaults.at(tag) == field) continue;
      text += (text.empty() ? "" : " ") + field.first + "=" + field.second;
    }
  }
  return "{" + text + "}";
}

template <class T>
std::string print_value(const T& value, std::int16_t version) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "true" : "false";
  } else if constexpr (std::is_enum_v<T>) {
    return std::to_string(static_cast<std::underlying_type_t<T>>(value));
  } else if constexpr (std::is_integral_v<T>) {
    return std::to_string(value);
  } else if constexpr (std::is_same_v<T, Uuid>) {
    return "#" + print_hex(value.bytes);
  } else if constexpr (std::is_same_v<T, String>) {
    return "\"" + std::string(value) + "\"";
  } else if constexpr (std::is_same_v<T, Bytes>) {
    return "0x" + print_hex(value);
  } else if constexpr (std::is_same_v<T, Records>) {
    return print_records(value);
  } else if constexpr (requires { value.has_value(); }) {
    return value.has_value() ? print_value(*value, version) : "null";
  } else if constexpr (requires { value.size(); }) {
    std::string text;
    for (const auto& item : value) text += (text.empty() ? "" : " ") + print_value(item, version);
    return "[" + text + "]";
  } else {
    return print_struct(value, version);
  }
}

}  // namespace esc::wire::test
